"""What attacks cost the server, and what a chatting pair notices of them.

    python benchmarks/attacks.py [--seconds 8] [--only PART_OF_A_NAME]

Sets up a deployment in a temporary folder and serves it. Alice writes to Bob four times a second;
meanwhile a process of its own attacks from the same address. Memory and CPU are the server's, read
from /proc. "Cut" is when the server ended the first and the last of the connections that it ended;
attacks by patience are given three times as long, so that it shows. The deployment is in memory
where there is a /dev/shm, to keep the disk out of the latency; the attacker's own work, above all
its handshakes, is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import socket
import ssl
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import websockets

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.e2e.server import Signet  # noqa: E402
from tests.wsfuzz import BINARY, PING, TEXT, frame, request  # noqa: E402

Attack = Callable[["Attacker"], Awaitable[None]]
TICK = 1024 * 1024
MEMORY = "/dev/shm"  # noqa: S108
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
GET = b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /whoami HTTP/1.1\r\nHost: localhost\r\n"


class Attacker:
    """`many` connections at once; each does the same until the time is over or it is cut."""

    def __init__(self, port: int, root: str, identity: str, seconds: float) -> None:
        self.port, self.end, self.began = port, time.monotonic() + seconds, time.monotonic()
        self.context = ssl.create_default_context(cafile=root)
        self.known = ssl.create_default_context(cafile=root)
        self.known.load_cert_chain(identity)
        self.opened, self.cut = 0, list[float]()

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.end

    async def open(
        self, *, tls: bool = True, known: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = (self.known if known else self.context) if tls else None
        name = "localhost" if tls else None
        pair = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=name, limit=65536
        )
        self.opened += 1
        return pair

    async def keep(
        self,
        first: bytes = b"",
        *,
        drip: bytes = b"",
        every: float = 0.5,
        close_half: bool = False,
        **how: Any,
    ) -> None:
        """Say something, then drip, reading what comes, until it ends."""
        with contextlib.suppress(OSError, ssl.SSLError):
            reader, writer = await self.open(**how)
            since = time.monotonic()
            try:
                writer.write(first)
                if close_half:
                    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
                while self.is_on:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(every):
                            if not await reader.read(65536):
                                break
                            continue
                    if drip:
                        writer.write(drip)
            except OSError:
                pass
            if self.is_on:
                self.cut.append(time.monotonic() - since)
            writer.transport.abort()

    async def crowd(self, many: int, one: Callable[[], Awaitable[None]]) -> None:
        await asyncio.gather(*(one() for _ in range(many)))

    async def again(self, many: int, one: Callable[[], Awaitable[None]]) -> None:
        async def over_and_over() -> None:
            while self.is_on:
                try:
                    await one()
                except (OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.05)

        await self.crowd(many, over_and_over)

    async def say(self, data: bytes) -> None:
        """Send all of it, and wait for the end of the connection."""
        reader, writer = await self.open()
        try:
            writer.write(data)
            while await reader.read(65536):
                pass
        finally:
            writer.transport.abort()

    async def socket(self, *, path: str = "/ws/echo/") -> tuple[Any, asyncio.StreamWriter]:
        reader, writer = await self.open(known=True)
        writer.write(request(path))
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def flood(self, piece: bytes, *, reads: bool) -> None:
        """Pour into a socket what it takes."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await self.socket()
            open_socket, since = writer.get_extra_info("socket"), time.monotonic()
            if not reads:
                writer.transport.pause_reading()
            else:
                swallowing = asyncio.create_task(swallow(reader))
            with contextlib.suppress(OSError, TimeoutError):
                while self.is_on and open_socket.fileno() >= 0:
                    writer.write(piece)
                    async with asyncio.timeout_at(
                        asyncio.get_running_loop().time() + self.end - time.monotonic()
                    ):
                        await writer.drain()
                    await asyncio.sleep(0)
            if self.is_on:
                self.cut.append(time.monotonic() - since)
            if reads:
                swallowing.cancel()
            writer.transport.abort()


async def swallow(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass


async def knock(attacker: Attacker) -> None:
    _, writer = await attacker.open(tls=False)
    writer.transport.abort()


async def hello(attacker: Attacker) -> None:
    """A whole ClientHello, so that the server computes its part, and then nothing."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = attacker.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    reader, writer = await attacker.open(tls=False)
    writer.write(outgoing.read())
    await reader.read(65536)
    writer.transport.abort()


async def early(attacker: Attacker) -> None:
    """A socket's handshake, and megabytes before it is answered."""
    reader, writer = await attacker.open(known=True)
    writer.write(request("/ws/echo/") + bytes(4 * TICK))
    await swallow(reader)
    writer.transport.abort()


async def pages(attacker: Attacker) -> None:
    """Ask for a large file over and over, and read nothing."""
    _, writer = await attacker.open()
    writer.transport.pause_reading()
    writer.write(b"GET /static/chat/chat.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
    while attacker.is_on:
        await asyncio.sleep(0.2)
    writer.transport.abort()


BODY = POST + b"Content-Length: 200000\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + bytes(TICK) + b"\r\n") * 8
HUGE = GET + b"X: " + b"x" * (4 * TICK)
MANY = GET + b"X: y\r\n" * 100_000
ATTACKS: dict[str, Attack] = {
    "nothing, to compare with": lambda a: asyncio.sleep(a.end - time.monotonic()),
    "1,000 silent connections": lambda a: a.crowd(1000, lambda: a.keep(tls=False)),
    "500 ClientHellos, an octet each half second":
        lambda a: a.crowd(500, lambda: a.keep(HELLO, drip=b"\0", tls=False)),
    "300 silent after the handshake": lambda a: a.crowd(300, a.keep),
    "200 heads, an octet each half second": lambda a: a.crowd(200, lambda: a.keep(GET, drip=b"x")),
    "200 bodies, an octet each half second":
        lambda a: a.crowd(200, lambda: a.keep(BODY, drip=b"x")),
    "300 half-closed after the question":
        lambda a: a.crowd(300, lambda: a.keep(GET + b"\r\n", close_half=True)),
    "headers of 4 MiB, 20 at a time": lambda a: a.again(20, lambda: a.say(HUGE)),
    "100,000 headers, 20 at a time": lambda a: a.again(20, lambda: a.say(MANY)),
    "bodies of 1 GB announced, 20 at a time":
        lambda a: a.again(20, lambda: a.say(POST + b"Content-Length: 1000000000\r\n\r\n")),
    "chunks of 1 MiB, 20 at a time": lambda a: a.again(20, lambda: a.say(CHUNKED)),
    "10 sockets that flood with 60 kB":
        lambda a: a.crowd(10, lambda: a.flood(frame(BINARY, bytes(60_000)), reads=True)),
    "10 that flood and read nothing":
        lambda a: a.crowd(10, lambda: a.flood(frame(BINARY, bytes(60_000)), reads=False)),
    "10 that flood with tiny messages":
        lambda a: a.again(10, lambda: a.flood(frame(TEXT, b"x") * 1000, reads=True)),
    "10 that flood with pings":
        lambda a: a.again(10, lambda: a.flood(frame(PING, bytes(125)) * 100, reads=True)),
    "10 that flood with pings and read nothing":
        lambda a: a.again(10, lambda: a.flood(frame(PING, bytes(125)) * 100, reads=False)),
    "20 that send 4 MiB before the socket's handshake is answered":
        lambda a: a.again(20, lambda: early(a)),
    "50 that ask for 500 files at once and read nothing":
        lambda a: a.crowd(50, lambda: pages(a)),
    "connects that are dropped, 50 at a time": lambda a: a.again(50, lambda: knock(a)),
    "handshakes that are dropped, 50 at a time": lambda a: a.again(50, lambda: hello(a)),
}  # fmt: skip
PATIENCE = 3
PATIENT = list(ATTACKS)[1:6]


def attack(name: str, *arguments: Any) -> None:
    """Run in a process of its own; the last argument takes what happened."""
    logging.disable()  # asyncio complains of each write to a connection that was cut
    *rest, told = arguments
    attacker = Attacker(*rest)
    with contextlib.suppress(OSError, ExceptionGroup):
        asyncio.run(_limited(ATTACKS[name](attacker), attacker))
    told.put((attacker.opened, attacker.cut))


async def _limited(doing: Awaitable[None], attacker: Attacker) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(attacker.end - time.monotonic() + 1):
            await doing


class Process:
    """The server, as the kernel sees it."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}")

    @property
    def megabytes(self) -> float:
        return int((self._path / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def waited(self) -> float:
        """Seconds in which it could have run, but others had the processors."""
        return int((self._path / "schedstat").read_text().split()[1]) / 1e9

    @property
    def cpu(self) -> float:
        fields = (self._path / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pair:
    """Alice posts, Bob hears."""

    def __init__(self, signet: Signet) -> None:
        self._signet = signet
        self._sent: dict[str, float] = {}
        self.delays: list[float] = []

    async def join(self) -> None:
        self._alice, self._bob = [await self._open(who) for who in ("alice", "bob")]
        self._tasks = [asyncio.create_task(one) for one in (self._post(), self._hear())]
        self._tasks.append(asyncio.create_task(swallow_messages(self._alice)))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._alice.close()
        await self._bob.close()

    async def _open(self, who: str) -> Any:
        return await websockets.connect(
            self._signet.url("/ws/chat/").replace("https", "wss"),
            ssl=self._signet.client_context(self._signet.issue(who)),
            subprotocols=[websockets.Subprotocol("signet.v1.json")],
            open_timeout=60,
            ping_interval=None,
        )

    async def _post(self) -> None:
        while True:
            key = uuid.uuid4().hex
            self._sent[key] = time.monotonic()
            fields = {"op": "post", "ref": key, "room": "general", "client_id": key, "body": "Hi"}
            await self._alice.send(json.dumps(fields))
            await asyncio.sleep(0.25)

    async def _hear(self) -> None:
        async for text in self._bob:
            told = json.loads(text)
            key = told.get("data", {}).get("client_id")
            if key in self._sent:
                self.delays.append(time.monotonic() - self._sent.pop(key))


async def swallow_messages(connection: Any) -> None:
    async for _ in connection:
        pass


async def measure(signet: Signet, name: str, seconds: float, identity: Path, pair: Pair) -> str:
    assert signet.process is not None
    server = Process(signet.process.pid)
    before, cpu, waited, peak = server.megabytes, server.cpu, server.waited, 0.0
    pair.delays.clear()
    told: Any = multiprocessing.Queue()
    arguments = (name, signet.main, str(signet.root), str(identity), seconds, told)
    attacking = multiprocessing.Process(target=attack, args=arguments)
    attacking.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peak = max(peak, server.megabytes)
        await asyncio.sleep(0.1)
    spent, idle, delays = server.cpu - cpu, server.waited - waited, list(pair.delays) or [seconds]
    opened, cut = await asyncio.to_thread(told.get, True, 30)
    await asyncio.to_thread(attacking.join, 30)
    await asyncio.sleep(4)
    when = f"{min(cut):.0f}–{max(cut):.0f} s" if cut else ""
    slowest = sorted(delays)[int(len(delays) * 0.95)]
    return (
        f"| {name} | {opened:,} | {len(cut) or ''} | {when} | {before:.0f} | {peak:.0f} "
        f"| {server.megabytes:.0f} | {spent / seconds:.0%} "
        f"| {idle / seconds:.0%} "
        f"| {statistics.median(delays) * 1000:.0f} | {slowest * 1000:.0f} |"
    )


async def run(signet: Signet, seconds: float, only: str) -> None:
    identity = signet.issue("eve")
    pair = Pair(signet)
    await pair.join()
    print(
        "| attack | connections | cut | when | MB before | most | after | CPU "
        "| no CPU free | ms to Bob, half | 95 of 100 |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name in ATTACKS:
        if only in name:
            time_given = seconds * PATIENCE if name in PATIENT else seconds
            print(await measure(signet, name, time_given, identity, pair), flush=True)
    await pair.leave()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each attack")
    parser.add_argument("--only", default="", help="attacks with this in their name")
    arguments = parser.parse_args()
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="signet-benchmark-", dir=memory) as folder:
        signet = Signet(Path(folder) / "var")
        signet.set_up()
        signet.start()
        try:
            asyncio.run(run(signet, arguments.seconds, arguments.only))
        finally:
            signet.stop()


if __name__ == "__main__":
    main()
