"""Looking again at the people of one hub: who may still be here, and how the certificates that they
see stand now."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from django.utils import timezone

from chat import fanout, lanes
from chat.certificates import Watch
from chat.connection import Connection, Letters
from chat.delivery import RoomFeed
from chat.protocol import IDENTITY_CLOSES, CloseCode, Wire
from pki.identity import Identity, IdentityError, refusals


class Host(Protocol):
    """What is asked of the hub."""

    loop: asyncio.AbstractEventLoop
    people: dict[int, set[Connection]]

    @property
    def rooms(self) -> Mapping[int, RoomFeed]: ...

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]: ...

    async def send(self, connection: Connection, letters: Letters) -> None: ...

    async def close(self, connection: Connection, code: CloseCode, why: str) -> None: ...


class Recheck:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._looking = asyncio.Lock()
        self.begin()

    def begin(self) -> None:
        """What has happened to certificates until now is no news; nothing is under way."""
        self._watch = Watch(at=timezone.now())
        self._is_due = False

    def soon(self) -> None:
        """From any thread: something happened to certificates or accounts."""
        fanout.call_in(self._host.loop, self._soon)

    async def look(self) -> None:
        """Close every connection whose identity is none any more; tell the others of certificates."""
        everybody = [c for group in self._host.people.values() for c in group]
        refused = await _refusals({connection.identity for connection in everybody})
        for connection in everybody:
            error = refused.get(connection.identity.sha256)
            if error is not None:
                await self._host.close(connection, IDENTITY_CLOSES[error.code], str(error))
        await self.tell_of_certificates()

    async def tell_of_certificates(self) -> None:
        """Tell those who see what was signed with a certificate that it stands otherwise now."""
        host = self._host
        async with self._looking:
            found = await _certificate_news(self._watch, set(host.rooms))
        for frame, owner, room_ids in found:
            feeds = [host.rooms[room_id] for room_id in room_ids if room_id in host.rooms]
            letters = Letters(frame)
            for connection in host.people.get(owner, set()).union(*(f.connections for f in feeds)):
                if connection.is_open:
                    await host.send(connection, letters)

    def _soon(self) -> None:
        if self._host.people and not self._is_due:
            self._is_due = True
            self._host.spawn(self._look_now())

    async def _look_now(self) -> None:
        self._is_due = False  # news from here on wants another look
        await self.look()


async def _refusals(identities: set[Identity]) -> dict[str, IdentityError]:
    return await lanes.RECHECK.run(refusals, identities, at=timezone.now())


async def _certificate_news(watch: Watch, rooms: set[int]) -> list[tuple[Wire, int, set[int]]]:
    return await lanes.RECHECK.run(watch.look, at=timezone.now(), rooms=rooms)
