"""A WebSocket client that says exactly what it is told, also what no client should say."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3


class Frame(NamedTuple):
    opcode: int
    payload: bytes = b""
    fin: bool = True


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = MASK,
    length: bytes | None = None,
) -> bytes:
    """`length` is the second octet without the mask bit, with what extends it; else the right one."""
    if length is None:
        length = _length(len(payload))
    first, second = fin << 7 | reserved << 4 | opcode, length[0] | (0x80 if mask else 0)
    return bytes([first, second]) + length[1:] + (mask or b"") + _masked(payload, mask)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def request(path: str, *more: str, **change: str | None) -> bytes:
    """A good opening handshake; `Some_Header=None` leaves that one out."""
    headers: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    headers |= {name.replace("_", "-"): value for name, value in change.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, *more, "", ""]).encode("latin-1")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One TLS connection; `limit` is how long anything may take."""

    def __init__(self, port: int, context: ssl.SSLContext, *, limit: float = 30) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=limit)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = context.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )
        self._data = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.tls.close()

    def ask(self, head: bytes) -> Answer:
        """Send an opening handshake; the body is read to the end of the connection."""
        self.tls.sendall(head)
        while b"\r\n\r\n" not in self._data:
            self._data += self._more()
        top, self._data = self._data.split(b"\r\n\r\n", 1)
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}
        answer = Answer(int(first.split()[1]), headers, b"")
        if answer.status != 101:
            while part := self.tls.recv(65536):
                self._data += part
            answer.body = self._data
        return answer

    def send(self, *pieces: bytes, piecewise: int | None = None) -> None:
        """`piecewise` octets in each TLS record, or each piece in one."""
        for piece in pieces:
            size = piecewise or len(piece)
            for start in range(0, len(piece), size):
                self.tls.sendall(piece[start : start + size])

    def receive(self) -> Frame | None:
        """The next frame; None at the end of the connection, which must be an orderly one."""
        while (found := _cut(self._data)) is None:
            part = self.tls.recv(65536)
            if not part:
                assert not self._data, f"cut in the middle of a frame: {self._data!r}"
                return None
            self._data += part
        received, self._data = found
        return received

    def receive_all(self) -> list[Frame]:
        return list(iter(self.receive, None))

    def _more(self) -> bytes:
        part = self.tls.recv(65536)
        assert part, f"closed after {self._data!r}"
        return part


def close_code(payload: bytes) -> int | None:
    payload[2:].decode()  # a reason is UTF-8
    return struct.unpack("!H", payload[:2])[0] if payload else None


def fragments(opcode: int, parts: Iterable[bytes]) -> list[bytes]:
    *first, last = parts
    opcodes = [opcode] + [CONTINUATION] * len(first)
    frames = [frame(code, part, fin=False) for code, part in zip(opcodes, first, strict=False)]
    return [*frames, frame(opcodes[-1], last)]


def _length(size: int) -> bytes:
    if size < 126:
        return bytes([size])
    return b"\x7e" + struct.pack("!H", size) if size < 65536 else b"\x7f" + struct.pack("!Q", size)


def _masked(payload: bytes, mask: bytes | None) -> bytes:
    if not mask:
        return payload
    key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)])
    return (int.from_bytes(payload) ^ key).to_bytes(len(payload))


def _cut(data: bytes) -> tuple[Frame, bytes] | None:
    """The first frame in `data` and the rest; a server's frames are not masked."""
    if len(data) < 2:
        return None
    assert not data[1] & 0x80, "the server masks"
    assert not data[0] & 0x70, "the server sets reserved bits"
    size, start = data[1], 2
    if size > 125:
        wide = 2 if size == 126 else 8
        size, start = int.from_bytes(data[2 : 2 + wide]), 2 + wide
    if len(data) < start + size:
        return None
    cut = Frame(data[0] & 0x0F, data[start : start + size], bool(data[0] & 0x80))
    return cut, data[start + size :]
