"""All ports of this process, and how they follow what is wanted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from project.tls.binding import ListenError, OwnSockets, Sockets
from project.tls.connection import Connection
from project.tls.context import Contexts
from project.tls.endpoint import Endpoint, EndpointSettings

logger = logging.getLogger("project.tls")
TICK_SECONDS = 0.02


@dataclass(frozen=True)
class Wanted:
    """An endpoint to serve; without TLS it has no contexts."""

    settings: EndpointSettings
    contexts: Contexts | None


class Listeners:
    def __init__(self, sockets: Sockets | None = None) -> None:
        self._sockets = sockets or OwnSockets()
        self.factory: Any = None
        self.endpoints: dict[str, Endpoint] = {}
        self._retired: list[Endpoint] = []  # not accepting any more, with connections left
        self._complained: set[str] = set()

    async def start(self, wanted: Sequence[Wanted]) -> None:
        """Listen on all of them; raises ListenError at the first that cannot be had."""
        for one in wanted:
            await self._listen(one)

    async def apply(self, wanted: Sequence[Wanted]) -> bool:
        """Follow a change: swap contexts, open and close ports. Live connections go on, except
        those of an endpoint that is gone. False if a port could not be had; ask again later."""
        self._retired = [old for old in self._retired if old.connections]
        names = {one.settings.name: one.settings for one in wanted}
        for name, endpoint in list(self.endpoints.items()):
            settings = names.get(name)
            if settings is None or (settings.address, settings.port) != endpoint.place:
                self._retire(endpoint, is_gone=settings is None)
                self._sockets.give_back(endpoint.place)
        return all([await self._follow(one) for one in wanted])

    async def stop(self, *, patience: float) -> None:
        """Accept no more and ask everybody to come to an end (a WebSocket with 1001, HTTP after
        what it is answering); after `patience` seconds cut who is left.

        What was accepted is served, even where its handshake is only beginning.
        """
        for endpoint in list(self.endpoints.values()):
            self._retire(endpoint, is_gone=True, is_stop=True)
        end = time.monotonic() + patience
        # At least once: what was accepted in this very moment is not among them yet.
        await asyncio.sleep(min(patience, TICK_SECONDS))
        while time.monotonic() < end and not all(one.is_done for one in self.connections()):
            await asyncio.sleep(TICK_SECONDS)
        for connection in self.connections():
            connection.abort()
        await asyncio.sleep(0)

    def connections(self) -> list[Connection]:
        everywhere = [*self.endpoints.values(), *self._retired]
        return [connection for endpoint in everywhere for connection in endpoint.connections]

    async def _follow(self, one: Wanted) -> bool:
        name = one.settings.name
        if name in self.endpoints:
            self.endpoints[name].swap(one.settings, one.contexts)
            return True
        try:
            await self._listen(one)
        except ListenError as error:
            self._complain(name, str(error))
            return False
        except Exception as error:  # what is wrong with one must keep no other from following
            self._complain(name, f"Endpoint {name} cannot listen.", exc_info=error)
            return False
        logger.info("Listening: %s", one.settings)
        self._complained.discard(name)
        return True

    def _complain(self, name: str, trouble: str, *, exc_info: Exception | None = None) -> None:
        if name not in self._complained:
            logger.error("%s It is tried again until it works.", trouble, exc_info=exc_info)
        self._complained.add(name)

    async def _listen(self, one: Wanted) -> None:
        endpoint = Endpoint(one.settings, one.contexts)
        await endpoint.listen(self.factory, self._sockets)
        self.endpoints[one.settings.name] = endpoint

    def _retire(self, endpoint: Endpoint, *, is_gone: bool, is_stop: bool = False) -> None:
        endpoint.stop()
        del self.endpoints[endpoint.settings.name]
        self._retired.append(endpoint)
        if not is_stop:  # then the parent, or systemd, may listen on
            logger.info("No longer listening: %s", endpoint.settings)
        endpoint.is_gone = is_gone
        for connection in list(endpoint.connections):
            if connection.transport is not None:
                if is_gone:
                    connection.transport.protocol.going_away()
            elif not is_stop:
                connection.abort()  # in its handshake, with a context that nobody will renew
