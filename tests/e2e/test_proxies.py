"""Behind HAProxy and nginx, as docs/deploy says: who people are, and who they cannot pretend to be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import re
import shlex
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certs import make_ca
from tests.e2e.behind import (
    CLIENT,
    CONSOLE_PASSWORD,
    ENDED,
    HOSTS,
    PASSED,
    WAYS,
    World,
    endpoint_commands,
    exchange,
    speak_tls,
    standing,
)
from tests.e2e.fronts import DEPLOY, STREAM_MODULE
from tests.e2e.server import Signet, free_ports
from tests.services import require, skip_without

PROXY_LINE = b"PROXY TCP4 203.0.113.66 127.0.0.1 1 443\r\n"
PROXY_BINARY = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x42\x7f\x00\x00\x01\x00\x01\x01\xbb"
)
HUNG_UP = (ssl.SSLError, ConnectionError, http.client.HTTPException)
MOVE = """
from pki.changes import announce_change
from pki.models import Endpoint
Endpoint.objects.filter(name="moved").update(proxy_addresses="192.0.2.1")
announce_change()
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require("haproxy", "nginx")
    if not STREAM_MODULE.exists():
        skip_without("libnginx-mod-stream")
    with standing(tmp_path_factory.mktemp("proxies")) as world:
        yield world


SET_UP = """
import json
from django.core.management import call_command
from pki.models import Endpoint
serial = Endpoint.objects.get(name="main").certificate.serial
for name, *words in json.loads({commands!r}):
    words = [serial if word == "$SERIAL" else word for word in words]
    call_command(name, *words, port_is_ours=True)
"""


@pytest.mark.parametrize("kind", ["passed", "ended", "plain"])
def test_links_lead_through_the_proxy_after_the_documented_steps(tmp_path: Path, kind: str) -> None:
    hosts = {"SIGNET_HOST": ",".join(HOSTS), "SIGNET_ENROL_HOST": "enrol.example"}
    signet = Signet(tmp_path / "var", extra=hosts)
    assert "https://enrol.example:" in signet.set_up()
    made = [words for name, words in endpoint_commands().items() if name.startswith(kind)]
    for words, port in zip(made, free_ports(len(made)), strict=True):
        words[words.index("--port") + 1] = str(port)
    page = (DEPLOY / "proxies.md").read_text()
    last = re.findall(r"^manage.py (change_endpoint .+)$", page, re.M)
    commands = [["create_endpoint", *words] for words in made] + [*map(shlex.split, last)]
    signet.shell(SET_UP.format(commands=json.dumps(commands)))

    said = signet.manage("bootstrap").stdout
    assert said.startswith("┌")  # nothing was made or changed
    assert " https://chat.example/ " in said
    assert " https://enrol.example/enrol/" in said
    assert " http://chat.example/ " in said


# --- through real proxies -------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_people_are_who_their_certificates_say(world: World, way: str) -> None:
    port = world.ports[way]
    assert world.ask(port).somebody is None
    for who in ("alice", "bob"):
        answer = world.ask(port, who=who)
        assert answer.somebody == who
        assert answer.json["client"] == CLIENT
        mode = "protocol" if way in PASSED else "header"
        assert answer.json["via"] == {"proxy": "127.0.0.1", "mode": mode}
        assert (answer.json["tls"] is None) is (way in ENDED)
        assert answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("way", WAYS)
def test_certificate_that_counts_no_more_is_explained(world: World, way: str) -> None:
    expired = world.ask(world.ports[way], "/", who="expired")
    assert expired.status == 401
    assert b"expired" in expired.body


@pytest.mark.parametrize("way", WAYS)
def test_certificate_of_others_is_nobody(world: World, way: str) -> None:
    # A large key where it matters: nginx has many lines to join.
    key = rsa.generate_private_key(65537, 4096) if way == "nginx-ends" else None
    foreign = make_ca("Mallory CA").issue("alice", key=key)
    foreign.write_pem(world.folder / "foreign.pem")
    if way == "nginx-ends":
        answer = world.ask(world.ports[way], who="foreign")
        assert answer.somebody is None
        assert answer.json["certificate"]["sha256"] == hashlib.sha256(foreign.der).hexdigest()
        assert world.ask(world.ports[way], "/", who="foreign").status == 401
    else:
        with pytest.raises(HUNG_UP):
            world.ask(world.ports[way], who="foreign")


@pytest.mark.parametrize("way", WAYS)
def test_nobody_becomes_somebody_by_headers(world: World, way: str) -> None:
    port, forged = world.ports[way], forgeries(world.field("bob"))
    assert world.ask(port, headers=forged).somebody is None
    mine = world.ask(port, who="alice", headers=forged)
    assert mine.somebody == "alice"
    assert mine.json["client"] == CLIENT


@pytest.mark.parametrize("way", WAYS)
async def test_chat_goes_through_and_ends_with_the_certificate(world: World, way: str) -> None:
    who, port = f"revoked-{way}", world.ports[way]

    async def enter(who: str) -> Any:
        chat = await websockets.connect(
            f"wss://{HOSTS[0]}:{port}/ws/chat/",
            host="127.0.0.1",
            port=port,
            ssl=world.context(who),
            origin=websockets.Origin(f"https://{HOSTS[0]}:{port}"),
            subprotocols=[websockets.Subprotocol("signet.v1.json")],
        )
        ready = json.loads(await chat.recv())
        assert ready["user"]["username"] == who
        return chat

    mine, theirs = await enter(who), await enter("alice")
    said = {"op": "post", "ref": "1", "room": "general", "client_id": way, "body": f"via {way}"}
    await mine.send(json.dumps(said))
    async with asyncio.timeout(30):
        async for frame in theirs:
            event = json.loads(frame)
            if event.get("type") == "message.posted" and event["by"]["username"] == who:
                assert event["data"]["body"] == f"via {way}"
                break

    file = str(world.folder / f"{who}.pem")
    command = ("revoke_certificate", "--file", file, "--reason", "keyCompromise")
    await asyncio.to_thread(world.signet.manage, *command)
    async with asyncio.timeout(10):
        await mine.wait_closed()
    assert mine.close_code == 4501
    await theirs.close()
    answer = await asyncio.to_thread(world.ask, port, "/", who=who)
    assert answer.status == 401
    assert b"revoked" in answer.body


@pytest.mark.parametrize("way", WAYS)
async def test_pages_of_others_open_no_socket(world: World, way: str) -> None:
    port = world.ports[way]
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(
            f"wss://{HOSTS[0]}:{port}/ws/chat/",
            host="127.0.0.1",
            port=port,
            ssl=world.context("alice"),
            origin=websockets.Origin("https://mallory.example"),
        )
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("way", PASSED)
def test_endpoints_have_their_sub_domains(world: World, way: str) -> None:
    port = world.ports[way]
    enrolment = world.ask(port, "/", host="enrol.example")
    assert enrolment.status == 200
    assert b"enrol" in enrolment.body.lower()
    for host, path, status in (
        ("console.example", "/console/", 302),
        ("console.example", "/rooms/general/", 404),
        ("chat.example", "/console/", 404),
        ("chat.example", "/rooms/general/", 200),
    ):
        assert world.ask(port, path, who="carol", host=host).status == status, (host, path)


@pytest.mark.parametrize("way", WAYS)
def test_public_data_is_there_without_tls_and_the_rest_is_not(world: World, way: str) -> None:
    crl = world.ask(world.plain[way], "/crl/signet-issuing.crl", tls=False)
    assert crl.headers["Content-Type"] == "application/pkix-crl"
    redirect = world.ask(world.plain[way], "/rooms/general/", tls=False)
    assert redirect.headers["Location"].startswith("https://chat.example")


@pytest.mark.parametrize("way", ENDED)
def test_endpoints_have_their_paths(world: World, way: str) -> None:
    port = world.ports[way]
    unlock = world.ask(port, "/console/", who="carol").headers["Location"]
    assert unlock.startswith("/console/")
    assert world.ask(port, "/rooms/general/", who="carol").status == 200
    assert b"link" in world.ask(port, "/enrol/no-such-token/").body
    with as_proxy(world, "plain-chat") as connection:
        headers = {"Client-Cert": world.field("carol")}
        straight = exchange(connection, port, "/console/", headers=headers)
    assert straight.status == 404  # so it was another endpoint that answered above


@pytest.mark.parametrize("way", WAYS)
def test_forms_are_for_our_own_pages(world: World, way: str) -> None:
    port = world.ports[way]
    host = "console.example" if way in PASSED else HOSTS[0]
    path = world.ask(port, "/console/", who="carol", host=host).headers["Location"]
    page = world.ask(port, path, who="carol", host=host)
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("__Host-signet-csrf=")
    assert "Secure" in cookie
    found = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert found
    headers = {"Cookie": cookie.partition(";")[0]}
    form = {"csrfmiddlewaretoken": found[1].decode(), "password": CONSOLE_PASSWORD}
    for origin, status in (("https://mallory.example", 400), (f"https://{host}:{port}", 302)):
        headers["Origin"] = origin
        answer = world.ask(port, path, who="carol", host=host, headers=headers, form=form)
        assert answer.status == status
    assert "__Host-signet-session=" in str(answer.headers)


# --- straight at the endpoints, as somebody would who goes round the proxy -------------------


def forgeries(field: str) -> dict[str, str]:
    return {
        "Client-Cert": field,
        "Client-Cert-Chain": field,
        "Client_Cert": field,
        "X-Client-Cert": field,
        "X-SSL-Client-Cert": field,
        "X-Forwarded-For": "203.0.113.66",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "mallory.example",
        "X-Real-IP": "203.0.113.66",
        "Forwarded": "for=203.0.113.66;proto=https;host=mallory.example",
    }


def test_headers_of_proxies_mean_nothing_on_other_endpoints(world: World) -> None:
    forged, signet = forgeries(world.field("alice")), world.signet
    answer = world.ask(signet.main, headers=forged)
    assert answer.somebody is None
    assert answer.json["certificate"]["presented"] is False
    assert (answer.json["client"], answer.json["via"]) == (CLIENT, None)
    assert world.ask(signet.main, who="bob", headers=forged).somebody == "bob"
    assert world.ask(signet.main, "/", headers=forged).status == 401
    for port, tls in ((signet.enrol, True), (signet.public, False)):
        for path in ("/", "/devices/", "/whoami"):
            plain = world.ask(port, path, tls=tls)
            bold = world.ask(port, path, tls=tls, headers=forged)
            assert (bold.status, bold.headers["Location"]) == (
                plain.status,
                plain.headers["Location"],
            )
            assert b"alice" not in bold.body
            assert b"mallory" not in bold.body


def test_endpoint_answers_its_proxies_alone(world: World) -> None:
    headers = {"Client-Cert": world.field("alice")}
    with pytest.raises(HUNG_UP):
        world.ask(world.ports["elsewhere"], tls=False, headers=headers)
    port = world.ports["passed-chat"]
    with world.connect(port, tls=False) as raw:
        raw.sendall(PROXY_LINE)
        with pytest.raises(HUNG_UP):
            speak_tls(world, raw, port, who="alice")


def as_proxy(world: World, name: str) -> socket.socket:
    """A connection from the address of the proxies."""
    return socket.create_connection(("127.0.0.1", world.ports[name]), timeout=30)


def test_each_request_on_one_connection_is_somebody_of_its_own(world: World) -> None:
    port = world.ports["plain-chat"]
    with as_proxy(world, "plain-chat") as connection:
        for who in ("alice", None, "bob", "alice", None):
            headers = {"Client-Cert": world.field(who)} if who else {}
            answer = exchange(connection, port, headers=headers)
            assert answer.somebody == who
            assert answer.json["client"] is None


def test_proxy_that_is_listed_no_more_is_not_believed_on_a_kept_connection(world: World) -> None:
    port, headers = world.ports["moved"], {"Client-Cert": world.field("alice")}
    with as_proxy(world, "moved") as connection:
        assert exchange(connection, port, headers=headers).somebody == "alice"
        world.signet.shell(MOVE)
        deadline = time.monotonic() + 30
        while (answer := exchange(connection, port, headers=headers)).status == 200:
            assert time.monotonic() < deadline
        assert answer.status == 403
        assert connection.recv(100) == b""


def test_address_is_the_one_that_the_proxy_saw(world: World) -> None:
    with as_proxy(world, "plain-chat") as connection:
        headers = {"X-Forwarded-For": "127.0.0.1, 203.0.113.7", "Forwarded": "for=10.0.0.1"}
        answer = exchange(connection, world.ports["plain-chat"], headers=headers)
    assert answer.json["client"] == "203.0.113.7"


def test_revocation_counts_on_a_connection_that_is_kept(world: World) -> None:
    port, headers = world.ports["plain-chat"], {"Client-Cert": world.field("revoked-kept")}
    with as_proxy(world, "plain-chat") as connection:
        assert exchange(connection, port, headers=headers).somebody == "revoked-kept"
        file = str(world.folder / "revoked-kept.pem")
        world.signet.manage("revoke_certificate", "--file", file, "--reason", "superseded")
        answer = exchange(connection, port, headers=headers)
        assert answer.json["certificate"]["authorization_error"] == "certificate_revoked"


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    "Sec-WebSocket-Protocol": "signet.v1.json",
}


def test_sockets_are_counted_by_the_address_that_the_proxy_saw(world: World) -> None:
    port, field = world.ports["strict"], world.field("alice")  # which allows ten for an address

    def enter(connection: socket.socket, address: str) -> int:
        headers = {**HANDSHAKE, "Client-Cert": field, "X-Forwarded-For": address}
        return exchange(connection, port, "/ws/chat/", headers=headers).status

    with ExitStack() as stack:
        for _ in range(10):
            one = stack.enter_context(as_proxy(world, "strict"))
            assert enter(one, "203.0.113.7") == 101
        with as_proxy(world, "strict") as eleventh:
            assert enter(eleventh, "203.0.113.7") == 503
            assert eleventh.recv(100) == b""
        other = stack.enter_context(as_proxy(world, "strict"))
        assert enter(other, "203.0.113.8") == 101


@pytest.mark.parametrize("upgrade", [False, True])
def test_bad_client_cert_is_refused(world: World, upgrade: bool) -> None:
    port, field = world.ports["plain-chat"], world.field("alice")
    for bad in (f"{field}, {field}", f"{field};a=1", field[1:], field[:-20] + ":", ""):
        with as_proxy(world, "plain-chat") as connection:
            headers = {"Client-Cert": bad, **(HANDSHAKE if upgrade else {})}
            answer = exchange(connection, port, "/ws/chat/" if upgrade else "/", headers=headers)
            assert answer.status == 400
            assert b"Client-Cert" in answer.body


def test_where_certificates_are_required_nobody_sees_a_page_without(world: World) -> None:
    port = world.ports["strict"]
    with as_proxy(world, "strict") as connection:
        for headers in ({}, {"Client-Cert": world.field("expired")}):
            for path in ("/whoami", "/", "/healthz"):
                assert exchange(connection, port, path, headers=headers).status == 401
        answer = exchange(connection, port, headers={"Client-Cert": world.field("alice")})
        assert answer.somebody == "alice"


@pytest.mark.parametrize("header", [PROXY_LINE, PROXY_BINARY], ids=["v1", "v2"])
def test_forged_proxy_header_is_refused_where_none_is_expected(world: World, header: bytes) -> None:
    for port in (world.signet.main, world.signet.enrol, world.ports["ended-chat"]):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
            raw.sendall(header)
            with pytest.raises(HUNG_UP):
                speak_tls(world, raw, port, who=None)
    for port in (world.signet.public, world.ports["plain-chat"]):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
            raw.sendall(header + b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")
