"""The hub: all connections of one process (of one event loop), and how the log reaches them.

What always holds:
  1. a connection gets the events of a room in their order, each once and without holes, beginning
     after the number that it was told with the room;
  2. after the event by which somebody leaves a room, nothing of it reaches their connections;
  3. one query reads new events for all connections, and each event is encoded once per subprotocol;
  4. news may be lost: every heartbeat reads heads, memberships and identities from the database.
One slow reader must not hold up the others: a push that would have to wait ends its connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from channels.db import database_sync_to_async
from django.utils import timezone

from chat import fanout
from chat.connection import Connection, Letters
from chat.models import Event
from chat.protocol import IDENTITY_CLOSES, CloseCode, push
from chat.session import Bucket, Pace, person_bucket
from chat.standing import Standing, standings
from pki.identity import Identity, IdentityError, refusals

logger = logging.getLogger(__name__)

HEARTBEAT: float = 25  # seconds
BATCH = 200  # events read at once
CATCH_UP = 100  # events a connection gets of a room that it comes into late
REREADS = 5  # while memberships change faster than they are read
FAILURES = 2  # heartbeats in a row that may fail before everybody is sent away


class RoomFeed:
    """A room in which somebody here is: up to where it was read, and what is known beyond."""

    def __init__(self, room_id: int, slug: str, head: int) -> None:
        self.room_id = room_id
        self.slug = slug
        self.head = head  # everybody here has been sent everything up to this number
        self.wanted = head
        self.connections: set[Connection] = set()
        self.fresh: dict[int, Event] = {}  # events that were announced within this process
        self.pumping: asyncio.Task[None] | None = None

    def take_fresh(self) -> list[Event]:
        taken: list[Event] = []
        while (event := self.fresh.pop(self.head + 1 + len(taken), None)) is not None:
            taken.append(event)
        return taken


class TooManyConnectionsError(Exception):
    pass


class Hub:
    def __init__(
        self,
        *,
        heartbeat: float = HEARTBEAT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.heartbeat = heartbeat
        self.clock = clock
        self.line = fanout.Line()
        self.people: dict[int, set[Connection]] = defaultdict(set)
        self.rooms: dict[int, RoomFeed] = {}
        self._buckets: dict[int, Bucket] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._settling = asyncio.Lock()
        self._turn = 0  # rises with every change of memberships that is heard of
        self._unsettled: set[int] = set()
        self._rechecking = False
        self._failures = 0

    # --- Connections come and go ---

    def admit(self, connection: Connection) -> None:
        """Count the connection in: from now on it is closed when its identity ends.

        Raises TooManyConnectionsError.
        """
        identity, limits, now = connection.identity, connection.limits, self.clock()
        if len(self.people.get(identity.user_id, ())) >= limits.connections:
            raise TooManyConnectionsError
        person = self._buckets.setdefault(identity.user_id, person_bucket(limits, now=now))
        connection.pace = Pace(limits=limits, person=person, now=now)
        if not self.people:
            self._start()
        self.people[identity.user_id].add(connection)

    def open(self, connection: Connection, rooms: Iterable[Standing]) -> None:
        """Deliver from now on. `rooms` is what the connection was told in `ready`.

        What happened between that reading and now is made up for at once.
        """
        if connection.is_closed:
            return
        connection.is_open = True
        for standing in rooms:
            self._subscribe(connection, standing, position=standing.head)
        if connection.is_stale:
            self._spawn(self.settle([connection.identity.user_id]))

    def remove(self, connection: Connection) -> None:
        """Forget the connection."""
        connection.is_closed = True
        for room_id in list(connection.positions):
            self._unsubscribe(connection, room_id)
        user_id = connection.identity.user_id
        if connection in self.people.get(user_id, ()):
            self.people[user_id].remove(connection)
            if not self.people[user_id]:
                del self.people[user_id]
            if not self.people:
                self._stop()

    async def close(self, connection: Connection, code: CloseCode, why: str | None = None) -> None:
        """Tell the peer why and forget the connection, whether or not it can still be told."""
        try:
            await connection.close(code, why)
        except Exception:
            logger.debug("A connection was lost while it was closed.", exc_info=True)
        self.remove(connection)

    async def close_all(self, code: CloseCode) -> None:
        """Send everybody away, as for a restart."""
        for connection in self._everybody():
            await self.close(connection, code)

    # --- News ---

    def hear(self, news: fanout.News) -> None:
        """Act on news, in tasks of its own; what is not known here concerns nobody here."""
        for room_id, seq in news.rooms:
            self._wake(room_id, seq, news.event)
        people = [user_id for user_id in news.people if user_id in self.people]
        if people:
            self._turn += 1
            self._settle_later(people)
        for note in news.notes:
            self._spawn(self._pass_on(note))

    async def _pass_on(self, note: fanout.Note) -> None:
        letters = Letters(note.frame)
        for connection in self._reached_by(note):
            is_left_out = (
                connection.key == note.but_connection
                or connection.identity.user_id == note.but_user
            )
            if connection.is_open and not is_left_out:
                await self._push(connection, letters)

    def _reached_by(self, note: fanout.Note) -> list[Connection]:
        if note.user_id is not None:
            return list(self.people.get(note.user_id, ()))
        feed = self.rooms.get(note.room_id) if note.room_id is not None else None
        return list(feed.connections) if feed is not None else []

    # --- Events of a room ---

    def _wake(self, room_id: int, seq: int, event: Event | None = None) -> None:
        feed = self.rooms.get(room_id)
        if feed is None or seq <= feed.head:
            return
        feed.wanted = max(feed.wanted, seq)
        if event is not None:
            feed.fresh[event.seq] = event
        if feed.pumping is None:
            feed.pumping = self._spawn(self._pump(feed))

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
        finally:
            feed.pumping = None
            feed.wanted = feed.head
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
                self._unsubscribe(connection, feed.room_id)
            await self._push(connection, letters)
        if leaver is not None:
            self._settle_later([leaver])  # they may come back further on

    def _subscribe(self, connection: Connection, standing: Standing, *, position: int) -> None:
        feed = self.rooms.get(standing.room_id)
        if feed is None:
            feed = RoomFeed(standing.room_id, standing.slug, position)
            self.rooms[standing.room_id] = feed
        connection.positions[standing.room_id] = position
        feed.connections.add(connection)
        newest = max(feed.head, feed.wanted, standing.head)
        feed.head = min(feed.head, position)
        self._wake(standing.room_id, newest)

    def _unsubscribe(self, connection: Connection, room_id: int) -> None:
        connection.positions.pop(room_id, None)
        feed = self.rooms.get(room_id)
        if feed is not None:
            feed.connections.discard(connection)
            if not feed.connections:
                del self.rooms[room_id]

    # --- Who is in which room ---

    async def settle(self, user_ids: Iterable[int]) -> list[Standing]:
        """Bring the subscriptions of these people in line with the database."""
        people = set(user_ids)
        async with self._settling:
            found = await self._standings(people)
            places: dict[int, dict[int, Standing]] = defaultdict(dict)
            for standing in found:
                places[standing.user_id][standing.room_id] = standing
            for user_id in people:
                for connection in list(self.people.get(user_id, ())):
                    await self._align(connection, places[user_id])
        return found

    async def _standings(self, people: set[int]) -> list[Standing]:
        """As they are, not as they were before somebody came or went while we read."""
        found: list[Standing] = []
        for _ in range(REREADS):
            turn = self._turn
            found = await _standings(people)
            if turn == self._turn:
                break
        return found

    def _settle_later(self, people: Iterable[int]) -> None:
        self._unsettled.update(user_id for user_id in people if user_id in self.people)
        if self._unsettled:
            self._spawn(self._settle_unsettled())

    async def _settle_unsettled(self) -> None:
        """Settle once what is under way is out: a farewell goes to who leaves, too."""
        await self._pumped()
        unsettled, self._unsettled = self._unsettled, set()
        if unsettled:  # otherwise another task took them along
            await self.settle(unsettled)

    async def _align(self, connection: Connection, places: dict[int, Standing]) -> None:
        if not connection.is_open:
            connection.is_stale = True
            return
        for room_id in connection.positions.keys() - places.keys():
            slug = self.rooms[room_id].slug
            self._unsubscribe(connection, room_id)
            await self._push(connection, Letters(push("gone", room=slug)))
        for room_id in places.keys() - connection.positions.keys():
            standing = places[room_id]
            position = max(standing.joined_seq - 1, standing.head - CATCH_UP, 0)
            told = standing._replace(head=position)
            await self._push(connection, Letters(push("room", **told.wire)))
            if not connection.is_closed:
                self._subscribe(connection, standing, position=position)

    # --- Heartbeat ---

    async def beat(self) -> None:
        """Look everything up in the database, so that whatever was lost is found."""
        await self.recheck()
        await self.line.renew()
        found = await self.settle(self.people)
        await self._catch_up(found)
        await self._tell_heads(found)
        now = self.clock()
        for connection in self._everybody():
            if connection.pace.is_silent(now):
                await self.close(connection, CloseCode.SILENT)
        for user_id in [u for u, bucket in self._buckets.items() if bucket.is_empty(now)]:
            if user_id not in self.people:
                del self._buckets[user_id]

    async def recheck(self) -> None:
        """Close every connection whose identity is none any more."""
        everybody = self._everybody()
        identities = {connection.identity for connection in everybody}
        refused = await _refusals(identities)
        for connection in everybody:
            error = refused.get(connection.identity.sha256)
            if error is not None:
                await self.close(connection, IDENTITY_CLOSES[error.code], str(error))

    def recheck_soon(self) -> None:
        """From any thread: something happened to certificates or accounts."""
        fanout.call_in(self.loop, self._recheck_soon)

    def _recheck_soon(self) -> None:
        if self.people and not self._rechecking:
            self._rechecking = True
            self._spawn(self._recheck_now())

    async def _recheck_now(self) -> None:
        self._rechecking = False  # news from here on wants another look
        await self.recheck()

    async def _catch_up(self, found: Iterable[Standing]) -> None:
        heads = {standing.room_id: standing.head for standing in found}
        for room_id, head in heads.items():
            self._wake(room_id, head)
        await self._pumped()

    async def _pumped(self) -> None:
        pumps = [feed.pumping for feed in self.rooms.values() if feed.pumping is not None]
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _tell_heads(self, found: Iterable[Standing]) -> None:
        heads: dict[int, dict[str, int]] = defaultdict(dict)
        for standing in found:
            heads[standing.user_id][standing.slug] = standing.head
        for user_id, connections in list(self.people.items()):
            letters = Letters(push("heads", rooms=heads[user_id]))
            for connection in list(connections):
                if connection.is_open:
                    await self._push(connection, letters)

    async def _missed(self) -> None:
        """News may have been missed: look at everything once."""
        await self._catch_up(await self.settle(self.people))

    async def _beat_for_ever(self) -> None:
        while not fanout.is_cancelled():
            await asyncio.sleep(self.heartbeat)
            try:
                await self.beat()
                self._failures = 0
            except Exception:
                if not fanout.is_cancelled():
                    logger.exception("A heartbeat failed.")
                    await self._fail()

    async def _fail(self) -> None:
        """Nobody stays on whose identity could not be looked at twice in a row."""
        self._failures += 1
        if self._failures >= FAILURES:
            await self.close_all(CloseCode.OVERLOADED)

    # --- Running ---

    def _start(self) -> None:
        fanout.attach(self)
        self._spawn(self._beat_for_ever())
        self._spawn(self.line.listen(self.hear, missed=self._missed))

    def _stop(self) -> None:
        fanout.detach(self)
        self._rechecking = False
        self._unsettled.clear()
        self._failures = 0
        # Also the task that closed the last connection and runs this: it ends at its next pause.
        # A heartbeat that lived on would beat beside the one of whoever comes next.
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("The hub failed; the next heartbeat makes up for it.", exc_info=error)

    def _everybody(self) -> list[Connection]:
        return [connection for group in self.people.values() for connection in group]

    async def _push(self, connection: Connection, letters: Letters) -> None:
        try:
            await connection.push(letters.for_(connection.codec))
        except Exception:
            logger.debug("A connection could not be written to.", exc_info=True)
            await self.close(connection, CloseCode.FAILED)  # deaf, it would wait for ever
        if connection.is_closed:
            self.remove(connection)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def current() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        for finished in [other for other in _hubs if other.is_closed()]:
            del _hubs[finished]
        _hubs[loop] = Hub()
    return _hubs[loop]


def recheck_all() -> None:
    """Let every hub of this process look at all identities again. From any thread."""
    for hub in list(_hubs.values()):
        if not hub.loop.is_closed():
            hub.recheck_soon()


async def _events_after(room_id: int, seq: int) -> list[Event]:
    def read() -> list[Event]:
        return list(Event.objects.in_room(room_id).after(seq)[:BATCH])

    events: list[Event] = await database_sync_to_async(read)()
    return events


async def _standings(user_ids: set[int]) -> list[Standing]:
    found: list[Standing] = await database_sync_to_async(standings)(user_ids)
    return found


async def _refusals(identities: set[Identity]) -> dict[str, IdentityError]:
    refused: dict[str, IdentityError] = await database_sync_to_async(refusals)(
        identities, at=timezone.now()
    )
    return refused
