"""TLS without I/O: bytes from the wire in, plain bytes out, and the other way round.

`PlainChannel` does nothing in the same shape, for endpoints without TLS.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from project.tls import overheard
from project.tls.context import Contexts
from project.tls.scope import TLS, facts

CHUNK = 65536


class Channel(Protocol):
    def handshake(self) -> bool: ...
    def feed(self, data: bytes) -> None: ...
    def read(self) -> bytes | None: ...
    def write(self, data: bytes | memoryview) -> None: ...
    def take(self) -> bytes: ...
    def close(self) -> None: ...
    def facts(self) -> TLS | None: ...
    def heard(self) -> overheard.Overheard: ...


class TLSChannel:
    def __init__(self, contexts: Contexts) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = contexts.wrap(self._incoming, self._outgoing)

    def handshake(self) -> bool:
        """True once it is complete. Raises ssl.SSLError; the alert is then in `take()`."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        self._incoming.write(data)

    def read(self) -> bytes | None:
        """Plain bytes; None when more must come in first, b"" after the peer's close_notify."""
        try:
            return self._tls.read(CHUNK)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):  # a record at a time
            view = view[self._tls.write(view) :]

    def take(self) -> bytes:
        return self._outgoing.read()

    def close(self) -> None:
        """Put close_notify into `take()`. The peer's own need not have come."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            return

    def facts(self) -> TLS | None:
        found = facts(self._tls)
        overheard.forget(self._tls)
        return found

    def heard(self) -> overheard.Overheard:
        return overheard.of(self._tls)


class PlainChannel:
    def __init__(self) -> None:
        self._incoming: list[bytes] = []
        self._outgoing: list[bytes] = []

    def handshake(self) -> bool:
        return True

    def feed(self, data: bytes) -> None:
        self._incoming.append(data)

    def read(self) -> bytes | None:
        return self._incoming.pop(0) if self._incoming else None

    def write(self, data: bytes | memoryview) -> None:
        self._outgoing.append(bytes(data))

    def take(self) -> bytes:
        data, self._outgoing = b"".join(self._outgoing), []
        return data

    def close(self) -> None:
        pass

    def facts(self) -> TLS | None:
        return None

    def heard(self) -> overheard.Overheard:
        return overheard.NOTHING
