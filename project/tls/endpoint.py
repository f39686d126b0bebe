"""A port of ours: accepts on the event loop, each connection with the context of the moment."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any

from pki.description import UNREADABLE
from project.tls import scope, tally
from project.tls.admission import Admission
from project.tls.binding import BACKLOG, ListenError, Place, Sockets, written
from project.tls.connection import Connection
from project.tls.context import Contexts
from project.tls.failures import FailureLog, completed
from project.tls.note import Note
from project.tls.proxy import Network

AT_ONCE = 16  # accepted in a row, so that a rush is shared with the other workers
TOO_MANY = "too many connections"
TOO_MANY_FROM_ONE = "too many connections from one address"
RAISE = "End some under System → Connections, or raise the limit of the endpoint."
NOT_READABLE = "the client's certificate cannot be read"
ANEW = "It holds a name or a number that no rule allows. Have its CA issue it anew."
RAISE_FOR_ONE = "If many people share this address, raise the limit of the endpoint."


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
    max_connections: int = 5000
    max_per_address: int = 500
    handshake_seconds: float = 10.0
    proxy: str = "none"
    proxies: tuple[Network, ...] = ()  # whose connections alone are taken, where there is a proxy

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} {'https' if self.tls else 'http'}://{host}:{self.port}"


class Endpoint:
    def __init__(self, settings: EndpointSettings, contexts: Contexts | None) -> None:
        self.settings, self.contexts = settings, contexts
        self.failures = FailureLog()
        self.connections: set[Connection] = set()
        self._admission = Admission()
        self._server: asyncio.Server | None = None
        self.is_gone = False  # what is still in its handshake is told so when it opens

    @property
    def place(self) -> Place:
        return self.settings.address, self.settings.port

    def swap(self, settings: EndpointSettings, contexts: Contexts | None) -> None:
        """Use these for every connection from now on; those that live go on as they are."""
        self.settings, self.contexts = settings, contexts

    async def listen(self, factory: Any, sockets: Sockets) -> None:
        """Accept connections and let `factory` build their protocols; raises ListenError."""
        listener = await sockets.take(self.settings.name, self.place)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self, factory), sock=listener, backlog=AT_ONCE
            )
            listener.listen(BACKLOG)  # asyncio has one number for both
        except OSError as error:
            self.stop()
            listener.close()
            sockets.give_back(self.place)
            raise ListenError(
                f"Endpoint {self.settings.name} cannot listen on {written(self.place)}: "
                f"{error.strerror}."
            ) from None

    def stop(self) -> None:
        """Accept no more. Connections that live go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def is_full(self, peer: str) -> bool:
        """Whether this process holds as many connections here as the endpoint may have."""
        if len(self.connections) < self.settings.max_connections:
            return False
        self._turned_away(peer, "connections", TOO_MANY, RAISE)
        return True

    def admit(self, address: str) -> bool:
        """Count one more connection of this address in, unless it holds as many as it may.

        Who was counted in is counted out by `release`, once. Behind a proxy the address is the one
        that the proxy told.
        """
        if self._admission.admit(address, limit=self.settings.max_per_address):
            return True
        self._turned_away(address, "address", TOO_MANY_FROM_ONE, RAISE_FOR_ONE)
        return False

    def release(self, address: str) -> None:
        self._admission.release(address)

    def _turned_away(self, peer: str, limit: str, reason: str, advice: str) -> None:
        tally.count("turned_away", self.settings.name, limit)
        self.failures.record(endpoint=self.settings.name, peer=peer, reason=reason, advice=advice)

    def opened(self, connection: Connection, tls: scope.TLS | None) -> bool:
        """The handshake is complete: note once what every request on the connection may know.

        False where the client's certificate cannot be read, though a trusted CA signed it; that is
        recorded, and nothing is noted.
        """
        settings = connection.settings
        told = None if settings.proxy == "header" else tls
        extensions: dict[str, Any] = {}
        if told is not None:
            now = dt.datetime.now(dt.UTC)
            try:
                extensions["tls"] = scope.tls_extension(
                    told, server_certificate=settings.certificate, at=now
                )
            except UNREADABLE:
                connection.complain(NOT_READABLE, ANEW)
                return False
        connection.note = Note(kind="line" if settings.serves == "line" else "web")
        if tls is not None:
            tally.count("handshakes", settings.name, "ok")
            peer = f"{connection.peer[0]}:{connection.peer[1]}"
            completed(endpoint=settings.name, peer=peer, tls=tls)
        facts = scope.Connection(
            endpoint=settings.name,
            serves=settings.serves,
            client_certificate=settings.client_certificate,
            tls=told,
            backlog=connection.backlog,
            note=connection.note,
            proxy=settings.proxy,
            via=connection.origin.via,
        )
        connection.facts = facts
        connection.extensions = {**extensions, "signet.connection": facts}
        return True
