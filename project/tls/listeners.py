"""All ports of this process, and how they follow what is wanted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from project.tls.connection import Connection
from project.tls.context import Contexts
from project.tls.endpoint import Endpoint, EndpointSettings, ListenError

logger = logging.getLogger("project.tls")


@dataclass(frozen=True)
class Wanted:
    """An endpoint to serve; without TLS it has no contexts."""

    settings: EndpointSettings
    contexts: Contexts | None


class Listeners:
    def __init__(self) -> None:
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
        names = {one.settings.name: one.settings for one in wanted}
        for name, endpoint in list(self.endpoints.items()):
            settings = names.get(name)
            if settings is None or (settings.address, settings.port) != endpoint.place:
                self._retire(endpoint, is_gone=settings is None)
        return all([await self._follow(one) for one in wanted])

    async def stop(self, *, patience: float) -> None:
        """Accept no more and ask everybody to come to an end (a WebSocket with 1001, HTTP after
        the answer it is giving); after `patience` seconds cut who is left."""
        for endpoint in list(self.endpoints.values()):
            self._retire(endpoint, is_gone=True)
        end = time.monotonic() + patience
        while time.monotonic() < end and not all(one.is_done for one in self.connections()):
            await asyncio.sleep(0.02)
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
            if name not in self._complained:
                logger.error("%s It is tried again until it works.", error)
            self._complained.add(name)
            return False
        logger.info("Listening: %s", one.settings)
        self._complained.discard(name)
        return True

    async def _listen(self, one: Wanted) -> None:
        endpoint = Endpoint(one.settings, one.contexts)
        await endpoint.listen(self.factory)
        self.endpoints[one.settings.name] = endpoint

    def _retire(self, endpoint: Endpoint, *, is_gone: bool) -> None:
        endpoint.stop()
        del self.endpoints[endpoint.settings.name]
        self._retired = [old for old in self._retired if old.connections] + [endpoint]
        logger.info("No longer listening: %s", endpoint.settings)
        for connection in list(endpoint.connections):
            if connection.transport is None:
                connection.abort()  # in its handshake, with a context that nobody will renew
            elif is_gone:
                connection.transport.protocol.going_away()
