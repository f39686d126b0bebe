"""How the log of a room reaches the connections of one hub.

What always holds:
  1. a connection gets the events of a room in their order, each once and without holes, beginning
     after the number that it was told with the room;
  2. after the event by which somebody leaves a room, nothing of it reaches their connections;
  3. one query reads new events for all connections, and each event is encoded once per subprotocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from chat import lanes
from chat.connection import Connection, Letters
from chat.models import Event
from chat.standing import Standing

BATCH = 200  # events read at once
LOOK = 0.05  # seconds between two looks whether a room that never rests is far enough
TAKING_BACK = (Event.Type.MESSAGE_DELETED, Event.Type.MESSAGES_EXPIRED)


class RoomFeed:
    """A room in which somebody here is: up to where it was read, and what is known beyond."""

    def __init__(self, room_id: int, slug: str, head: int) -> None:
        self.room_id = room_id
        self.slug = slug
        self.head = head  # everybody here has been sent everything up to this number
        self.wanted = head
        self.sent = head  # the same as `head`, once all pushes of a round are out
        self.connections: set[Connection] = set()
        self.fresh: dict[int, Event] = {}  # events that were announced within this process
        self.pumping: asyncio.Task[None] | None = None

    def take_fresh(self) -> list[Event]:
        taken: list[Event] = []
        while (event := self.fresh.pop(self.head + 1 + len(taken), None)) is not None:
            taken.append(event)
        return taken


class Host(Protocol):
    """What is asked of the hub."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]: ...

    async def send(self, connection: Connection, letters: Letters) -> None: ...

    def settle_later(self, people: Iterable[int]) -> None: ...


class Delivery:
    def __init__(self, host: Host) -> None:
        self._host = host
        self.rooms: dict[int, RoomFeed] = {}
        self._heard: dict[int, int] = {}  # room of nobody here → the newest number heard of

    def subscribe(self, connection: Connection, standing: Standing, *, position: int) -> None:
        """Send what is written after `position` from now on.

        Also what was heard of between the reading of `standing` and now.
        """
        feed = self.rooms.get(standing.room_id)
        if feed is None:
            feed = RoomFeed(standing.room_id, standing.slug, position)
            self.rooms[standing.room_id] = feed
        connection.positions[standing.room_id] = position
        connection.told[standing.room_id] = standing.terms
        feed.connections.add(connection)
        heard = self._heard.pop(standing.room_id, 0)
        newest = max(feed.head, feed.wanted, standing.head, heard)
        feed.head = min(feed.head, position)
        feed.sent = min(feed.sent, position)
        self.wake(standing.room_id, newest)

    def unsubscribe(self, connection: Connection, room_id: int) -> None:
        connection.positions.pop(room_id, None)
        connection.told.pop(room_id, None)
        feed = self.rooms.get(room_id)
        if feed is not None:
            feed.connections.discard(connection)
            if not feed.connections:
                del self.rooms[room_id]
                self._heard[room_id] = max(feed.head, feed.wanted)

    def wake(self, room_id: int, seq: int, event: Event | None = None) -> None:
        """There is an event with this number; of a room of nobody here it is only remembered."""
        feed = self.rooms.get(room_id)
        if feed is None:
            self._heard[room_id] = max(seq, self._heard.get(room_id, 0))
            return
        if seq <= feed.head:
            return
        if event is None or event.type in TAKING_BACK:
            feed.fresh.clear()  # words in it may be gone; the log knows
        if event is not None and seq > feed.wanted:  # what is late may have been taken back before
            feed.fresh[seq] = event
        feed.wanted = max(feed.wanted, seq)
        if feed.pumping is None:
            feed.pumping = self._host.spawn(self._pump(feed))

    async def done(self) -> None:
        """Wait until what is under way now is out; what comes meanwhile is not waited for."""
        for feed, wanted in [(feed, feed.wanted) for feed in self.rooms.values()]:
            while feed.pumping is not None and feed.sent < wanted:
                await asyncio.wait([feed.pumping], timeout=LOOK)

    def forget(self) -> None:
        """Nobody is here, and nothing is heard any more."""
        self._heard.clear()

    async def _pump(self, feed: RoomFeed) -> None:
        """Deliver until everything wanted is out."""
        try:
            while feed.connections and feed.head < feed.wanted:
                head, wanted = feed.head, feed.wanted
                events = feed.take_fresh() or await _events_after(feed.room_id, head)
                if feed.head != head:
                    continue  # somebody came in further back while the events were read
                if not events:
                    if feed.wanted == wanted:
                        break  # announced but not to be seen: the next heartbeat looks again
                    continue
                feed.head = events[-1].seq
                for event in events:
                    await self._deliver(feed, event)
                feed.sent = feed.head
        finally:
            feed.pumping = None
            feed.wanted = feed.sent = feed.head
            feed.fresh.clear()

    async def _deliver(self, feed: RoomFeed, event: Event) -> None:
        letters = Letters(event.wire)
        leaver = event.about_id if event.type == Event.Type.MEMBER_LEFT else None
        for connection in list(feed.connections):
            # Who was sent it already is ahead; who came in further back gets it in their turn.
            if connection.positions.get(feed.room_id) != event.seq - 1:
                continue
            connection.positions[feed.room_id] = event.seq
            if connection.identity.user_id == leaver:
                self.unsubscribe(connection, feed.room_id)
            await self._host.send(connection, letters)
        if leaver is not None:
            self._host.settle_later([leaver])  # they may come back further on
        if event.type == Event.Type.ROOM_CHANGED:
            self._host.settle_later({reader.identity.user_id for reader in feed.connections})


async def _events_after(room_id: int, seq: int) -> list[Event]:
    def read() -> list[Event]:
        return list(Event.objects.in_room(room_id).after(seq)[:BATCH])

    return await lanes.HUB.run(read)
