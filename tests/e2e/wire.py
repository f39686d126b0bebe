"""Everything that a browser sends to a server, as it arrives: a TLS proxy that writes it down."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Wire:
    """Plain bytes from all connections, in one heap; who searches it needs no framing."""

    def __init__(self, listener: socket.socket, inside: ssl.SSLContext, target: int) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener, self._inside, self._target = listener, inside, target
        self._outside = ssl.create_default_context()
        self._outside.check_hostname, self._outside.verify_mode = False, ssl.CERT_NONE
        self._heard: list[bytes] = []

    @property
    def heard(self) -> bytes:
        return b"".join(self._heard)

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        with suppress(OSError):
            near = self._inside.wrap_socket(caller, server_side=True)
            far = self._outside.wrap_socket(
                socket.create_connection(("127.0.0.1", self._target)), server_hostname="localhost"
            )
            back = threading.Thread(target=_copy, args=(far, near, None), daemon=True)
            back.start()
            _copy(near, far, self._heard)
            back.join()


def _copy(source: ssl.SSLSocket, sink: ssl.SSLSocket, heard: list[bytes] | None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if heard is not None:
                heard.append(data)
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def recorded(target: int, identity: Path) -> Iterator[Wire]:
    """A proxy in front of a port of localhost, which shows the certificate in `identity`."""
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(identity)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(listener, inside, target)
        threading.Thread(target=wire.accept, daemon=True).start()
        yield wire
        listener.shutdown(socket.SHUT_RDWR)
