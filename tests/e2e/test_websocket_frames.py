"""RFC 6455 frame by frame, over TLS, to `/ws/echo/`: what is sent, what comes back, how it ends.

A case is a list of turns, each what the client sends and what it waits for then, and the close code
that the server ends with. Pongs may overtake echoes, so they are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.wsfuzz import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    close,
    close_code,
    fragments,
    frame,
    request,
)

LIMIT = 65536
VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
SEQUENCES = """
    61 c2a2 e282ac f48fbfbf ed9fbf ee8080 efbfbd efbfbe efbfbf f0908080 c3bfc3bf 00 7f
    80 bf c3 c328 e282 e28261 f09f98 c080 c0af c1bf e08080 e09fbf f08080af f08fbfbf eda080 edbfbf
    eda080edb080 f4908080 f5808080 f8888080 fc8484848480 fe ff fffe cebae1bdb9cf83cebcceb5eda080
"""


@dataclass
class Case:
    name: str
    turns: list[tuple[list[bytes], list[Frame]]]
    ends: int | None = 1000  # close code; 1000 is what the client asks for at the end
    asks: bool = True  # whether the client has to close, because nothing was wrong
    piecewise: int | None = field(default=None)


def echo(name: str, sent: list[bytes], *back: Frame, piecewise: int | None = None) -> Case:
    return Case(name, [(sent, list(back))], piecewise=piecewise)


def failure(name: str, code: int | None, *sent: bytes) -> Case:
    return Case(name, [(list(sent), [])], ends=code, asks=False)


def _split(text: bytes) -> list[bytes]:
    return fragments(TEXT, [bytes([octet]) for octet in text])


def framing() -> list[Case]:
    """5.2: lengths, masking, reserved bits, opcodes."""
    cases = []
    for kind in (TEXT, BINARY):
        for size in (0, 1, 125, 126, 127, 128, 65535, LIMIT):
            data = b"*" * size
            cases.append(echo(f"{kind} of {size}", [frame(kind, data)], Frame(kind, data)))
    whole = [frame(TEXT, "grüß dich".encode() * 15), frame(BINARY, bytes(range(256)))]
    heard = [Frame(TEXT, "grüß dich".encode() * 15), Frame(BINARY, bytes(range(256)))]
    for size in (1, 2, 3, 7):
        cases.append(echo(f"in pieces of {size}", whole, *heard, piecewise=size))
    cases.append(echo("in one record", [b"".join(whole)], *heard))
    cases.append(echo("any mask", [frame(TEXT, b"x", mask=b"\0\0\0\0")], Frame(TEXT, b"x")))
    for kind in (TEXT, BINARY, PING, CLOSE):
        cases.append(failure(f"{kind} not masked", 1002, frame(kind, mask=None)))
    for bits in range(1, 8):
        for kind in (TEXT, PING, CLOSE):
            cases.append(failure(f"{kind} reserved {bits}", 1002, frame(kind, reserved=bits)))
    for opcode in (*range(3, 8), *range(11, 16)):
        cases.append(failure(f"opcode {opcode}", 1002, frame(opcode)))
        cases.append(failure(f"opcode {opcode} with data", 1002, frame(opcode, b"data")))
    for length, data in ((b"\x7e\x00\x7d", b"x" * 125), (b"\x7f" + bytes(7) + b"\x7e", b"x" * 126)):
        cases.append(failure("length not minimal", 1002, frame(BINARY, data, length=length)))
    cases.append(failure("length above 2^63", 1002, frame(BINARY, length=b"\x7f" + b"\xff" * 8)))
    return cases


def limits() -> list[Case]:
    """10.4, refused before they are sent: the header says it all."""
    half = b"x" * (LIMIT // 2)
    huge = b"\x7f" + (2**62).to_bytes(8)
    return [
        failure("one octet too many", 1009, frame(BINARY, length=b"\x7f\0\0\0\0\0\1\0\1")),
        failure("huge frame", 1009, frame(TEXT, length=huge)),
        failure(
            "fragments too large together",
            1009,
            frame(BINARY, half, fin=False),
            frame(CONTINUATION, half, fin=False),
            frame(CONTINUATION, b"x"),
        ),
        echo("fragments of the limit", fragments(BINARY, [half, half]), Frame(BINARY, half * 2)),
    ]


def control() -> list[Case]:
    """5.5: pings, pongs."""
    cases = [
        echo(f"ping of {size}", [frame(PING, b"p" * size)], Frame(PONG, b"p" * size))
        for size in (0, 1, 124, 125)
    ]
    ten = [str(number).encode() for number in range(10)]
    pings, pongs = [frame(PING, one) for one in ten], [Frame(PONG, one) for one in ten]
    for wrong in (PING, PONG, CLOSE):
        cases.append(failure(f"{wrong} of 126", 1002, frame(wrong, b"\x03\xe8" + b"x" * 124)))
        cases.append(failure(f"{wrong} in fragments", 1002, frame(wrong, fin=False)))
    return [
        *cases,
        echo("binary ping", [frame(PING, b"\x00\xff\xfe")], Frame(PONG, b"\x00\xff\xfe")),
        echo("ten pings", pings, *pongs),
        echo("ten pings in one record", [b"".join(pings)], *pongs),
        echo("ping in pieces", [frame(PING, b"p" * 125)], Frame(PONG, b"p" * 125), piecewise=1),
        echo("pong nobody asked for", [frame(PONG, b"x"), frame(PING)], Frame(PONG)),
    ]


def fragmentation() -> list[Case]:
    """5.4."""
    start, end = frame(TEXT, b"one ", fin=False), frame(CONTINUATION, b"two")
    between = frame(CONTINUATION, b"and ", fin=False)
    ping, whole = frame(PING, b"p"), Frame(TEXT, b"one two")
    many = [bytes([number]) for number in range(200)]
    return [
        echo("two", [start, end], whole),
        echo("two in pieces", [start, end], whole, piecewise=1),
        echo("three", [start, between, end], Frame(TEXT, b"one and two")),
        echo("many", fragments(BINARY, many), Frame(BINARY, b"".join(many))),
        echo("all empty", fragments(TEXT, [b"", b"", b""]), Frame(TEXT)),
        echo("empty binary", fragments(BINARY, [b"", b""]), Frame(BINARY)),
        echo("empty ends", fragments(TEXT, [b"", b"x", b""]), Frame(TEXT, b"x")),
        echo("ping within", [start, ping, end], Frame(PONG, b"p"), whole),
        echo("pings within", [start, ping, between, ping, end], Frame(PONG, b"p"),
             Frame(PONG, b"p"), Frame(TEXT, b"one and two")),
        echo("ping before the end comes", [start + ping], Frame(PONG, b"p")),
        failure("continuation of nothing", 1002, frame(CONTINUATION, b"x")),
        failure("continuation of nothing, going on", 1002, frame(CONTINUATION, b"x", fin=False)),
        failure("start within", 1002, start, frame(TEXT, b"x")),
        failure("start within, going on", 1002, start, frame(BINARY, b"x", fin=False)),
        Case("continuation after the end", [([start, end], [whole]), ([end], [])], 1002, False),
        failure("close within", 1000, start, close(1000)),
    ]  # fmt: skip


def encoding() -> list[Case]:
    """8.1, judged by Python; and wherever a fragment ends."""
    cases = []
    for sequence in SEQUENCES.split():
        data = bytes.fromhex(sequence)
        whole, split = [frame(TEXT, data)], _split(b"<" + data + b">")
        try:
            data.decode()
        except UnicodeDecodeError:
            cases.append(failure(sequence, 1007, *whole))
            cases.append(failure(f"{sequence}, split", 1007, *split))
        else:
            cases.append(echo(sequence, whole, Frame(TEXT, data)))
            cases.append(echo(f"{sequence}, split", split, Frame(TEXT, b"<" + data + b">")))
    bad, long = b"\xce\xba\xed\xa0\x80", b"\x7e\x03\xe8"
    return [
        *cases,
        failure("fails before the message ends", 1007, frame(TEXT, bad, fin=False)),
        failure("fails before the frame ends", 1007, frame(TEXT, bad, length=long)),
        failure("fails in the second fragment", 1007, frame(TEXT, b"fine", fin=False),
                frame(CONTINUATION, bad, fin=False)),
    ]  # fmt: skip


def closing() -> list[Case]:
    """5.5.1, 7.4."""
    reason = "ü".encode() * 61 + b"x"  # 123 octets, as many as there may be
    ping, bad = frame(PING, b"late"), frame(3)
    return [
        *[failure(f"code {code}", code, close(code)) for code in VALID_CODES],
        *[failure(f"code {code}", 1002, close(code)) for code in INVALID_CODES],
        failure("without code", None, close(None)),
        failure("half a code", 1002, frame(CLOSE, b"\x03")),
        failure("longest reason", 1000, close(1000, reason)),
        failure("reason not UTF-8", 1007, close(1000, b"\xce\xba\xed")),
        failure("in pieces", 1000, *[bytes([octet]) for octet in close(1000, b"bye")]),
        failure("ping after close", 1000, close(1000) + ping),
        failure("message after close", 1000, close(1000) + frame(TEXT, b"late")),
        failure("close after close", 1000, close(1000) + close(1001)),
        failure("rubbish after close", 1000, close(1000) + bad),
        failure("nothing is answered after a failure", 1002, bad + ping + frame(TEXT, b"late")),
        failure("one failure is enough", 1002, bad + frame(TEXT, b"\xff") + bad),
    ]


GROUPS = [framing, limits, control, fragmentation, encoding, closing]
CASES = [
    pytest.param(case, id=f"{group.__name__}: {case.name}") for group in GROUPS for case in group()
]


@pytest.fixture(scope="module")
def context(signet):
    return signet.client_context(signet.issue("fuzzer"))


@pytest.mark.parametrize("case", CASES)
def test_frames(signet, context, case):
    with Client(signet.main, context) as client:
        assert client.ask(request("/ws/echo/")).status == 101
        for sent, expected in case.turns:
            client.send(*sent, piecewise=case.piecewise)
            heard = [client.receive() for _ in expected]
            assert apart(heard) == apart(expected)
        if case.asks:
            client.send(close())
        (end,) = client.receive_all()  # and then TLS and TCP end in order
        assert end.opcode == CLOSE
        assert close_code(end.payload) == case.ends


def apart(frames: list[Frame | None]) -> tuple[list[Frame | None], list[Frame | None]]:
    pongs = [one for one in frames if one and one.opcode == PONG]
    return pongs, [one for one in frames if one not in pongs]
