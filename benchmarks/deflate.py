"""What permessage-deflate would save and cost: bytes, CPU for each delivery, memory for each socket.

    python benchmarks/deflate.py [--receivers 200] [--messages 300]

The same events of a chat go to every receiver as the endpoint sends them: encoded once, framed and
put through TLS for each. Then the same with autobahn's compressor, of which each connection has its
own, because its window is what that connection was sent before.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import os
import random
import ssl
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from autobahn.websocket.compress_deflate import PerMessageDeflate

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from chat import protocol  # noqa: E402
from tests.certs import SERVER, make_ca  # noqa: E402

WORDS = """the a to of and in is it that for on you this with be are have we can I not at as or by
will from if there an do which but what all when one more has so would about please could thanks
build failed again deploy server meeting tomorrow review merged branch tests green certificate expires
Monday ticket customer database slow query index release notes lunch anyone looking into morning""".split()  # noqa: SIM905
PEOPLE = [(number, name) for number, name in enumerate("alice bob charlie dana erin frank".split())]  # noqa: SIM905
KINDS: dict[str, dict[str, object] | None] = {
    "none": None,
    "as browsers offer it": {"bits": 0, "fresh": False, "level": None},
    "smallest window": {"bits": 9, "fresh": False, "level": 1},
    "no context kept": {"bits": 0, "fresh": True, "level": None},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--receivers", type=int, default=200)
    parser.add_argument("--messages", type=int, default=300)
    arguments = parser.parse_args()
    frames = events(arguments.messages)
    sizes = sorted(len(frame) for frame in frames)
    print(
        f"{len(frames)} events of {sizes[0]} to {sizes[-1]} bytes, half of them up to "
        f"{sizes[len(sizes) // 2]}, to {arguments.receivers} receivers\n\n"
        "| compression | bytes on the wire | CPU for a delivery | memory for a connection |\n"
        "|---|---|---|---|"
    )
    for name, kind in KINDS.items():
        print(row(name, kind, frames, arguments.receivers), flush=True)


def events(many: int) -> list[bytes]:
    """What a room's members are pushed, in the words of docs/protocol.md."""
    chance, at = random.Random(6455), dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC)  # noqa: S311
    frames = []
    for seq in range(many):
        number, name = chance.choice(PEOPLE)
        body = " ".join(chance.choices(WORDS, k=chance.choice([2, 4, 8, 12, 20, 40])))
        event = protocol.push(
            "event",
            room="general",
            seq=seq + 1,
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            type="message.posted",
            at=protocol.moment(at + dt.timedelta(seconds=seq * 7.3)),
            by=protocol.person(number, name, name.title()),
            certificate={"serial": f"{chance.getrandbits(152):038x}"},
            data={
                "body": body,
                "html": f"<p>{body}</p>",
                "client_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            },
        )
        frames.append(str(protocol.JSON.encode(event)).encode())
    return frames


def row(name: str, kind: dict[str, object] | None, frames: list[bytes], receivers: int) -> str:
    channels = tls(receivers)
    gc.collect()
    before = resident()
    packers = [packer(kind) for _ in range(receivers)]
    sent, began = 0, time.process_time()
    for frame in frames:
        for pack, (channel, out) in zip(packers, channels, strict=True):
            channel.write(framed(pack(frame)))
            sent += out.pending
            out.read()
    spent = time.process_time() - began
    deliveries = len(frames) * receivers
    memory = (resident() - before) / receivers
    return (
        f"| {name} | {sent / deliveries:.0f} | {spent / deliveries * 1e6:.0f} µs "
        f"| {max(memory, 0) / 1000:.0f} kB |"
    )


def packer(kind: dict[str, object] | None) -> Callable[[bytes], bytes]:
    if kind is None:
        return lambda frame: frame
    bits, fresh = kind["bits"], kind["fresh"]
    deflate = PerMessageDeflate(True, fresh, fresh, bits, bits, kind["level"])

    def pack(frame: bytes) -> bytes:
        deflate.start_compress_message()
        packed: bytes = deflate.compress_message_data(frame)
        return packed + bytes(deflate.end_compress_message())

    return pack


def framed(payload: bytes) -> bytes:
    size = len(payload)
    return (b"\xc1" + bytes([size]) if size < 126 else b"\xc1\x7e" + size.to_bytes(2)) + payload


def tls(many: int) -> list[tuple[ssl.SSLObject, ssl.MemoryBIO]]:
    """So many connections, shaken hands with, each with what it writes into."""
    authority = make_ca("Benchmark")
    leaf = authority.issue("localhost", purposes=SERVER, hosts=["localhost"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        server.load_cert_chain(leaf.write_pem(Path(folder) / "server.pem"))
    client = ssl.create_default_context(cadata=authority.der)
    return [shaken(server, client) for _ in range(many)]


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    far = client.wrap_bio(back, there, server_hostname="localhost")
    near = server.wrap_bio(there, back, server_side=True)
    for _ in range(2):
        for side in (far, near):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    back.read()
    return near, back


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
