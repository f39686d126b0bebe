"""A port of ours: accepts on the event loop, each connection with the context of the moment."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import socket
from dataclasses import dataclass
from typing import Any

from project.tls import scope
from project.tls.connection import Connection
from project.tls.context import Contexts
from project.tls.failures import FailureLog

BACKLOG = 512


class ListenError(Exception):
    """A port cannot be had; str() says which and what to do."""


@dataclass(frozen=True)
class EndpointSettings:
    """A row of `pki.models.Endpoint` as it was read."""

    name: str
    address: str
    port: int
    serves: str
    tls: bool = True
    client_certificate: str = "none"
    certificate: bytes = b""  # the server's own, DER

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} {'https' if self.tls else 'http'}://{host}:{self.port}"


class Endpoint:
    def __init__(self, settings: EndpointSettings, contexts: Contexts | None) -> None:
        self.settings, self.contexts = settings, contexts
        self.failures = FailureLog()
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def place(self) -> tuple[str, int]:
        return self.settings.address, self.settings.port

    def swap(self, settings: EndpointSettings, contexts: Contexts | None) -> None:
        """Use these for every connection from now on; those that live go on as they are."""
        self.settings, self.contexts = settings, contexts

    async def listen(self, factory: Any) -> None:
        """Accept connections and let `factory` build their protocols; raises ListenError."""
        listener = _bind(self.settings)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, factory), sock=listener, backlog=BACKLOG
        )

    def stop(self) -> None:
        """Accept no more. Connections that live go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def opened(self, connection: Connection, tls: scope.TLS | None) -> None:
        """The handshake is complete: note once what every request on the connection may know."""
        settings = connection.settings
        facts = scope.Connection(
            endpoint=settings.name,
            serves=settings.serves,
            client_certificate=settings.client_certificate,
            tls=tls,
            backlog=connection.backlog,
        )
        connection.extensions = {"signet.connection": facts}
        if tls is not None:
            connection.extensions["tls"] = scope.tls_extension(
                tls, server_certificate=settings.certificate, at=dt.datetime.now(dt.UTC)
            )


def _bind(settings: EndpointSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    try:
        listener = socket.create_server(
            (settings.address, settings.port),
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=settings.address == "::",
        )
        # Inherited by every connection: an answer does not wait for the peer's next ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ListenError(_why_not(settings, error)) from None


def _why_not(settings: EndpointSettings, error: OSError) -> str:
    name, address, port = settings.name, settings.address, settings.port
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {address} (endpoint {name}) is taken by another program. "
            "Stop that one, or give the endpoint another port."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} (endpoint {name}) needs special rights. Choose one above 1023."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"This machine has no address {address} (endpoint {name})."
    return f"Endpoint {name} cannot listen on {address} port {port}: {error.strerror}."
