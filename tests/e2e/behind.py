"""One Signet with HAProxy and nginx in front of it, as the documents under docs/deploy say."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shlex
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.certs import SERVER, Leaf, make_ca
from tests.e2e.fronts import DEPLOY, haproxy, nginx, rendered
from tests.e2e.server import Signet, free_ports

HOSTS = ["chat.example", "console.example", "enrol.example"]
PASSED, ENDED = ["haproxy-passes", "nginx-passes"], ["haproxy-ends", "nginx-ends"]
WAYS = [*PASSED, *ENDED]
CAS = ["signet-root", "signet-issuing"]
CONSOLE_PASSWORD = "correct horse battery staple"
CLIENT = "127.0.0.2"  # where people come from; the proxies are at 127.0.0.1
# Endpoints beside those that the documents make, as one makes them by command.
FURTHER = """
strict --no-tls --client-certificate required --proxy-addresses 127.0.0.1 --max-per-address 10
moved --no-tls --client-certificate optional --proxy-addresses 127.0.0.1
elsewhere --no-tls --client-certificate optional --proxy-addresses 192.0.2.0/24
"""
ALIKE = "--serves chat --address 127.0.0.1 --port 0 --truststore chat --proxy header"
SET_UP = """
import dataclasses, datetime as dt, json
from django.utils import timezone
from django.core.management import call_command
from pki import catalogue, enrolment, people
from pki.handout import Format
from pki.models import Endpoint
Endpoint.objects.update(address="127.0.0.1")
serial = Endpoint.objects.get(name="main").certificate.serial
for command in json.loads({commands!r}):
    words = [serial if word == "$SERIAL" else word for word in command]
    call_command("create_endpoint", *words, port_is_ours=True)
person, now = catalogue.named("person"), timezone.now()
short = dataclasses.replace(person, validity=dt.timedelta(minutes=6))
for who in {people!r}:
    # in this process alone; five minutes of it are backdated
    catalogue.named = lambda _: short if who == "expired" else person
    at = now - dt.timedelta(minutes=2) if who == "expired" else now
    user = people.create_person(actor="test", username=who, at=at)
    made = enrolment.hand_out(
        actor="test", user=user, device="d", format=Format.PEM, password=None, at=at
    )
    if who == "carol":
        user.is_staff = True
        user.set_password({password!r})
        user.save()
    open({folder!r} + f"/{{who}}.pem", "wb").write(made.handout.content)
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def somebody(self) -> str | None:
        user = self.json["user"]
        return str(user["username"]) if user else None


@dataclass
class World:
    """One Signet, what stands in front of it, and people with their certificates."""

    signet: Signet
    folder: Path
    ports: dict[str, int]  # of endpoints, and of the proxies by their ways
    plain: dict[str, int]  # port 80 of each way

    def context(self, who: str | None) -> ssl.SSLContext:
        context = self.signet.client_context(self.folder / f"{who}.pem" if who else None)
        context.load_verify_locations(self.folder / "front-root.pem")
        return context

    def field(self, who: str) -> str:
        """A person's certificate as RFC 9440 writes it."""
        pem = (self.folder / f"{who}.pem").read_text()
        start = pem.index("-----BEGIN CERTIFICATE")
        end = pem.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return f":{base64.b64encode(ssl.PEM_cert_to_DER_cert(pem[start:end])).decode()}:"

    def connect(
        self, port: int, who: str | None = None, *, host: str = HOSTS[0], tls: bool = True
    ) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(CLIENT, 0))
        return self.context(who).wrap_socket(raw, server_hostname=host) if tls else raw

    def ask(
        self,
        port: int,
        path: str = "/whoami",
        *,
        who: str | None = None,
        host: str = HOSTS[0],
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        tls: bool = True,
    ) -> Answer:
        with self.connect(port, who, host=host, tls=tls) as connection:
            more = {**(headers or {}), "Connection": "close"}
            return exchange(connection, port, path, host=host, headers=more, form=form)


def exchange(
    connection: socket.socket,
    port: int,
    path: str = "/whoami",
    *,
    host: str = HOSTS[0],
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> Answer:
    """One request and its answer on a connection that may have had others."""
    body = urlencode(form or {})
    lines = [f"{'POST' if form else 'GET'} {path} HTTP/1.1", f"Host: {host}:{port}"]
    if form:
        lines.append("Content-Type: application/x-www-form-urlencoded")
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    connection.sendall("\r\n".join([*lines, "", body]).encode())
    response = http.client.HTTPResponse(connection)
    response.begin()
    return Answer(response.status, response.headers, response.read())


def endpoint_commands() -> dict[str, list[str]]:
    """Name → arguments of `create_endpoint`, as the documents say."""
    said = "".join((DEPLOY / name).read_text() for name in ("haproxy.md", "nginx.md"))
    lines = re.findall(r"^manage.py create_endpoint (.+)$", said, re.M)
    lines += [f"{line} {ALIKE}" for line in FURTHER.split("\n") if line]
    return {words[0]: words for words in map(shlex.split, lines)}


def speak_tls(world: World, raw: socket.socket, port: int, *, who: str | None) -> Answer:
    """A handshake and a request: over a connection that was reset, Python forgets the former."""
    with world.context(who).wrap_socket(raw, server_hostname=HOSTS[0]) as tls:
        return exchange(tls, port)


@contextmanager
def standing(folder: Path) -> Iterator[World]:
    """All of it, as long as one is inside."""
    signet = Signet(folder / "var", extra={"SIGNET_HOST": ",".join(HOSTS)})
    signet.set_up()
    commands = endpoint_commands()
    numbers = free_ports(len(commands) + 2 * len(WAYS))
    ports = dict(zip([*commands, *WAYS], numbers, strict=False))
    for name, words in commands.items():
        words[words.index("--port") + 1] = str(ports[name])
    revoked = [f"revoked-{way}" for way in (*WAYS, "kept")]
    people = ["alice", "bob", "carol", "expired", *revoked]
    facts = {"people": people, "password": CONSOLE_PASSWORD, "folder": str(folder)}
    signet.shell(SET_UP.format(commands=json.dumps([*commands.values()]), **facts))
    signet.start()
    with ExitStack() as stack:
        stack.callback(signet.stop)
        world = World(signet, folder, ports, dict(zip(WAYS, numbers[-len(WAYS) :], strict=True)))
        _write_certificates(world)
        for front in _fronts(world):
            stack.enter_context(front)
        yield world


def _write_certificates(world: World) -> None:
    root = make_ca("Front Root")
    front: Leaf = root.issue(HOSTS[0], purposes=SERVER, hosts=[HOSTS[0]])
    front.write_pem(world.folder / "chat.example.pem")
    (world.folder / "front-root.pem").write_bytes(root.pem)
    (world.folder / "signet-root.pem").write_bytes(world.signet.root.read_bytes())
    with (world.folder / "signet-cas.pem").open("w") as file:
        for slug in CAS:
            answer = world.ask(world.signet.public, f"/ca/{slug}.cer", tls=False)
            file.write(ssl.DER_cert_to_PEM_cert(answer.body))


def _fronts(world: World) -> Iterator[Any]:
    ports, folder = world.ports, world.folder

    def passing(way: str) -> dict[str, str]:
        return {
            "127.0.0.1:9443": f"127.0.0.1:{ports['passed-chat']}",
            "127.0.0.1:9444": f"127.0.0.1:{ports['passed-console']}",
            "127.0.0.1:9445": f"127.0.0.1:{ports['passed-enrol']}",
            "127.0.0.1:9080": f"127.0.0.1:{ports['passed-public']}",
        }

    way = "haproxy-passes"
    places = {":443\n": f"127.0.0.1:{ports[way]}\n", ":80\n": f"127.0.0.1:{world.plain[way]}\n"}
    text = rendered("haproxy/passthrough.cfg", {**passing(way), **places})
    yield haproxy(folder / way, text, ports[way])

    way = "nginx-passes"
    places = {
        "listen 443;": f"listen 127.0.0.1:{ports[way]};",
        "listen 80;": f"listen 127.0.0.1:{world.plain[way]};",
    }
    text = rendered("nginx/passthrough.conf", {**passing(way), **places})
    yield nginx(folder / way, stream=text, port=ports[way])

    way = "haproxy-ends"
    places = {
        "bind :443": f"bind 127.0.0.1:{ports[way]}",
        "bind :80": f"bind 127.0.0.1:{world.plain[way]}",
        "127.0.0.1:9080": f"127.0.0.1:{ports['ended-public']}",
        "/etc/haproxy/": f"{folder}/",
        "127.0.0.1:9543": f"127.0.0.1:{ports['ended-chat']}",
        "127.0.0.1:9544": f"127.0.0.1:{ports['ended-console']}",
        "127.0.0.1:9545": f"127.0.0.1:{ports['ended-enrol']}",
    }
    yield haproxy(folder / way, rendered("haproxy/terminate.cfg", places), ports[way])

    way = "nginx-ends"
    places = {
        "listen 443 ssl;": f"listen 127.0.0.1:{ports[way]} ssl;",
        "listen 80;": f"listen 127.0.0.1:{world.plain[way]};",
        "127.0.0.1:9080": f"127.0.0.1:{ports['plain-public']}",
        "/etc/nginx/signet/": f"{folder}/",
        "127.0.0.1:9643": f"127.0.0.1:{ports['plain-chat']}",
        "127.0.0.1:9644": f"127.0.0.1:{ports['plain-console']}",
        "127.0.0.1:9645": f"127.0.0.1:{ports['plain-enrol']}",
    }
    (folder / "client-cert.conf").write_text(rendered("nginx/client-cert.conf", {}))
    text = rendered("nginx/terminate.conf", places)
    yield nginx(folder / way, http=text, port=ports[way])
