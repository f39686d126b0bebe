"""Endpoints on a loop of their own thread, with CAs made in memory; clients are plain sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from project.tls import context
from project.tls.endpoint import EndpointSettings
from project.tls.listeners import Listeners, Wanted
from tests.certs import SERVER, Authority, Leaf, make_ca

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True)
class Trust:
    anchors: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class World:
    """Our CA with a server and the cast of client certificates; Mallory has a CA of her own."""

    root: Authority
    issuing: Authority
    server: Leaf
    directory: Path
    clients: dict[str, Leaf]

    def trust(self, *revoked: Leaf, **crl: Any) -> Trust:
        crls = (self.root.crl(**crl), self.issuing.crl(*revoked, **crl))
        return Trust(
            anchors=(self.root.der,),
            intermediates=(self.issuing.der,),
            crls=tuple(each.public_bytes(Encoding.DER) for each in crls),
        )

    def contexts(
        self, mode: str, trust: Trust | None = None, *, policy: str = "intermediate"
    ) -> context.Contexts:
        return context.build(
            policy=policy,
            client_certificate=mode,
            snapshot=None if mode == "none" else trust or self.trust(self.clients["revoked"]),
            load_chain=lambda target: target.load_cert_chain(self.directory / "server.pem"),
        )

    def pem(self, who: str) -> Path:
        return self.clients[who].write_pem(self.directory / f"{who}.pem")

    def client(self, who: str | None = None, version: ssl.TLSVersion = TLS13) -> ssl.SSLContext:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.minimum_version = client.maximum_version = version
        client.load_verify_locations(cadata=self.root.der)
        if who:
            client.load_cert_chain(self.pem(who))
        return client


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = make_ca("Root")
    issuing = root.make_ca("Issuing")
    foreign = make_ca("Mallory CA")
    directory = tmp_path_factory.mktemp("world")
    server = issuing.issue("localhost", purposes=SERVER, hosts=["localhost", "127.0.0.1"])
    server.write_pem(directory / "server.pem")
    (directory / "root.pem").write_bytes(root.pem)
    clients = {
        "good": issuing.issue("alice"),
        "expired": issuing.issue("alice", expired=True),
        "revoked": issuing.issue("bob"),
        "foreign": foreign.issue("mallory"),
        "server-only": issuing.issue("robot", purposes=SERVER),
    }
    return World(root, issuing, server, directory, clients)


class Echo:
    """A Twisted-shaped protocol that answers what it hears, and obeys a few orders."""

    transport: Any

    def __init__(self) -> None:
        self.lost: Any = None
        self.paused = 0
        self.received = 0

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if data == b"close":
            self.transport.write(b"bye")
            self.transport.loseConnection()
        elif data == b"abort":
            self.transport.abortConnection()
        elif data.startswith(b"send "):
            self.transport.write(b"x" * int(data[5:]))
        else:
            self.transport.write(data)

    def connectionLost(self, reason: Any) -> None:
        self.lost = reason

    def going_away(self) -> None:
        self.transport.write(b"going")
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None:
        pass


class Factory:
    def __init__(self) -> None:
        self.built: list[Echo] = []

    def buildProtocol(self, _: object) -> Echo:
        self.built.append(Echo())
        return self.built[-1]


class Ground:
    """Listeners in a thread; `on_loop` runs something there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.ports = Listeners()
        self.ports.factory = self.factory = Factory()

    def on_loop(self, call: Callable[..., Any], *arguments: Any) -> Any:
        async def run() -> Any:
            result = call(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def wanted(
        self,
        mode: str = "none",
        trust: Trust | None = None,
        *,
        port: int = 0,
        name: str = "main",
        policy: str = "intermediate",
        tls: bool = True,
        **fields: Any,
    ) -> Wanted:
        settings = EndpointSettings(
            name=name,
            address="127.0.0.1",
            port=port or free_port(),
            serves="main",
            tls=tls,
            client_certificate=mode,
            certificate=self.world.server.der,
            **fields,
        )
        return Wanted(settings, self.world.contexts(mode, trust, policy=policy) if tls else None)

    def serve(self, mode: str = "none", trust: Trust | None = None, **more: Any) -> int:
        wanted = self.wanted(mode, trust, **more)
        self.on_loop(self.ports.start, [wanted])
        return wanted.settings.port

    def connect(
        self, port: int, who: str | None = None, version: ssl.TLSVersion = TLS13, **wrap: Any
    ) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        client = wrap.pop("client", None) or self.world.client(who, version)
        return client.wrap_socket(plain, server_hostname="localhost", **wrap)

    def close(self) -> None:
        self.on_loop(lambda: self.ports.stop(patience=0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


@pytest.fixture
def ground(world: World) -> Iterator[Ground]:
    ground = Ground(world)
    yield ground
    ground.close()


@dataclass(frozen=True)
class Process:
    """A serving process (tests/project/tls/serving.py)."""

    process: subprocess.Popen[bytes]
    world: World
    secure: int
    plain: int

    def request(self, raw: bytes, who: str | None = None) -> bytes:
        """Everything the server answers until it closes."""
        with self.connect(who) as client:
            client.sendall(raw)
            return receive_all(client)

    def get(self, path: str, who: str | None = None) -> Any:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = self.request(head.encode(), who)
        return json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])

    def connect(self, who: str | None = None) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.secure), timeout=30)
        return self.world.client(who).wrap_socket(raw, server_hostname="localhost")

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)


def start_process(
    world: World, *, last_call: float = 2, drain: float = 5, **limits: float
) -> Process:
    secure, plain = free_port(), free_port()
    directory = world.directory
    command = [sys.executable, "-m", "tests.project.tls.serving"]
    files = [str(directory / "root.pem"), str(directory / "server.pem")]
    arguments = [*files, str(secure), str(plain)]
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        | {"LIMITS": json.dumps(limits), "LAST_CALL": str(last_call), "DRAIN": str(drain)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return Process(process, world, secure, plain)


@pytest.fixture(scope="session")
def serving(world: World) -> Iterator[Process]:
    """One process for all tests that leave it as they found it."""
    process = start_process(world)
    yield process
    process.stop()
    assert process.process.wait(30) == 0


@pytest.fixture(scope="session")
def hasty(world: World) -> Iterator[Process]:
    """One that waits for nobody."""
    process = start_process(world, head_seconds=2, body_seconds=2, idle_seconds=2, body_bytes=1000)
    yield process
    process.stop()
    assert process.process.wait(30) == 0


@contextmanager
def stoppable(world: World, **how: float) -> Iterator[Process]:
    process = start_process(world, **how)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait(30)


@pytest.fixture
def mortal(world: World) -> Iterator[Process]:
    """A process that the test may stop."""
    with stoppable(world) as process:
        yield process


@pytest.fixture
def patient(world: World) -> Iterator[Process]:
    """One that waits long for whoever is still there when it is stopped."""
    with stoppable(world, last_call=30, drain=60) as process:
        yield process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def at_rest(read: Callable[[], int], *, most: int) -> int:
    """What is read once it has risen and then stands still, or is more than it should be."""
    before = 0
    for _ in range(100):
        found = read()
        if found and (found == before or found > most):
            return found
        time.sleep(0.5)
        before = found
    raise AssertionError(f"it does not come to rest: {before}")


def receive_all(connection: socket.socket) -> bytes:
    data = bytearray()
    while part := connection.recv(65536):
        data += part
    return bytes(data)
