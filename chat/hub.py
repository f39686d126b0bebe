"""The hub: all connections of one process (of one event loop), and how the log reaches them.

What always holds, besides what delivery.py promises:
  1. nobody stays whose identity could not be looked at twice in a row, or not in time;
  2. news may be lost: every heartbeat reads heads, memberships and identities from the database.
One slow reader must not hold up the others: a push that would have to wait ends its connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from chat import fanout, lanes
from chat.company import Company
from chat.connection import Connection, Letters
from chat.delivery import Delivery
from chat.protocol import CloseCode, push
from chat.recheck import Recheck
from chat.session import Bucket, Pace, person_bucket
from chat.standing import Standing, standings, with_mentions

logger = logging.getLogger(__name__)

HEARTBEAT: float = 25  # seconds
CATCH_UP = 100  # events a connection gets of a room that it comes into late
INSISTING = 2.0  # seconds until what was cancelled and still runs is cancelled again
REREADS = 5  # while memberships change faster than they are read
PATIENCE = 25.0  # seconds until a heartbeat that has not ended counts as failed
FAILURES = 2  # heartbeats in a row that may fail before everybody is sent away


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
        self.delivery = Delivery(self)
        self.rooms = self.delivery.rooms
        self.company = Company(self)
        self.recheck = Recheck(self)
        self._buckets: dict[int, Bucket] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._settling = asyncio.Lock()
        self._turn = 0  # rises with every change of memberships that is heard of
        self._unsettled: set[int] = set()
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
            self.delivery.subscribe(connection, standing, position=standing.head)
        self.company.welcome(connection, list(connection.positions))
        if connection.is_stale:
            self.spawn(self.settle([connection.identity.user_id]))

    def remove(self, connection: Connection) -> None:
        """Forget the connection."""
        connection.is_closed = True
        for room_id in list(connection.positions):
            self.delivery.unsubscribe(connection, room_id)
        user_id = connection.identity.user_id
        if connection in self.people.get(user_id, ()):
            self.people[user_id].remove(connection)
            if not self.people[user_id]:
                del self.people[user_id]
            self.company.look_at(user_id)
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
            self.delivery.wake(room_id, seq, news.event)
        people = [user_id for user_id in news.people if user_id in self.people]
        if people:
            self._turn += 1
            self.settle_later(people)
        self.company.replace(news.people)
        if news.leases is not None:
            self.company.hear(news.leases, origin=news.origin)
        for note in news.notes:
            self.spawn(self._pass_on(note))

    def hear_presence(self, *, user_id: int, key: str, state: str) -> None:
        """The peer of this connection says whether somebody sits there."""
        for connection in self.people.get(user_id, ()):
            if connection.key == key and connection.presence != state:
                connection.presence = state
                self.company.look_at(user_id)

    async def _pass_on(self, note: fanout.Note) -> None:
        letters = Letters(note.frame)
        for connection in self._reached_by(note):
            is_left_out = (
                connection.key == note.but_connection
                or connection.identity.user_id == note.but_user
            )
            if connection.is_open and not is_left_out:
                await self.send(connection, letters)

    def _reached_by(self, note: fanout.Note) -> list[Connection]:
        if note.user_id is not None:
            return list(self.people.get(note.user_id, ()))
        feed = self.rooms.get(note.room_id) if note.room_id is not None else None
        return list(feed.connections) if feed is not None else []

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
                if any(connection.is_open for connection in self.people.get(user_id, ())):
                    self.company.place(user_id, places[user_id])
            await self._tell_terms(people, places)
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

    def settle_later(self, people: Iterable[int]) -> None:
        """The same for those who are here, in a task of its own."""
        self._unsettled.update(user_id for user_id in people if user_id in self.people)
        if self._unsettled:
            self.spawn(self._settle_unsettled())

    async def _settle_unsettled(self) -> None:
        """Settle once what is under way is out: a farewell goes to who leaves, too."""
        await self.delivery.done()
        unsettled, self._unsettled = self._unsettled, set()
        if unsettled:  # otherwise another task took them along
            await self.settle(unsettled)

    async def _align(self, connection: Connection, places: dict[int, Standing]) -> None:
        if not connection.is_open:
            connection.is_stale = True
            return
        for room_id in connection.positions.keys() - places.keys():
            slug = self.rooms[room_id].slug
            self.delivery.unsubscribe(connection, room_id)
            await self.send(connection, Letters(push("gone", room=slug)))
        for room_id in places.keys() - connection.positions.keys():
            standing = places[room_id]
            position = max(standing.joined_seq - 1, standing.head - CATCH_UP, 0)
            told = standing._replace(head=position)
            await self.send(connection, Letters(push("room", **told.wire)))
            if not connection.is_closed:
                self.delivery.subscribe(connection, standing, position=position)

    async def _tell_terms(
        self, people: set[int], places: Mapping[int, Mapping[int, Standing]]
    ) -> None:
        """A fresh `room` for each whose terms are not what a connection was told. One query."""
        changed = [
            (connection, places[user_id][room_id])
            for user_id in people
            for connection in self.people.get(user_id, ())
            for room_id, terms in connection.told.items()
            if room_id in places[user_id] and places[user_id][room_id].terms != terms
        ]
        counted = await _with_mentions([standing for _, standing in changed]) if changed else ()
        for (connection, _), standing in zip(changed, counted, strict=True):
            position = connection.positions.get(standing.room_id)
            if position is None:
                continue  # gone while we read
            connection.told[standing.room_id] = standing.terms
            told = standing._replace(head=position)
            await self.send(connection, Letters(push("room", **told.wire)))

    # --- Heartbeat ---

    async def beat(self) -> None:
        """Look everything up in the database, so that whatever was lost is found."""
        await self.recheck.look()
        await self.line.renew()
        found = await self.settle(self.people)
        await self._catch_up(found)
        await self._tell_heads(found)
        self.company.beat()
        now = self.clock()
        for connection in self._everybody():
            if connection.pace.is_silent(now):
                await self.close(connection, CloseCode.SILENT)
        for user_id in [u for u, bucket in self._buckets.items() if bucket.is_empty(now)]:
            if user_id not in self.people:
                del self._buckets[user_id]

    async def _catch_up(self, found: Iterable[Standing]) -> None:
        heads = {standing.room_id: standing.head for standing in found}
        for room_id, head in heads.items():
            self.delivery.wake(room_id, head)
        await self.delivery.done()

    async def _tell_heads(self, found: Iterable[Standing]) -> None:
        """Of the rooms that each is still in: a farewell may have come after they were found."""
        places: dict[int, list[Standing]] = defaultdict(list)
        for standing in found:
            places[standing.user_id].append(standing)
        for connection in self._everybody():
            if connection.is_open:
                known = places[connection.identity.user_id]
                heads = {s.slug: s.head for s in known if s.room_id in connection.positions}
                await self.send(connection, Letters(push("heads", rooms=heads)))

    async def _missed(self) -> None:
        """News may have been missed: look at everything once."""
        self.company.renew(asks=True)
        await self._catch_up(await self.settle(self.people))

    async def _beat_for_ever(self) -> None:
        while not fanout.is_cancelled():
            await asyncio.sleep(self.heartbeat)
            try:
                async with asyncio.timeout(PATIENCE):  # a database may never answer
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
        self.recheck.begin()
        self.spawn(self._beat_for_ever())
        self.spawn(self.recheck.tell_of_certificates())
        self.spawn(self.line.listen(self.hear, missed=self._missed))

    def _stop(self) -> None:
        fanout.detach(self)
        self.company.stop()
        self.delivery.forget()
        self._unsettled.clear()
        self._failures = 0
        # Also the task that closed the last connection and runs this: it ends at its next pause.
        # A heartbeat that lived on would beat beside the one of whoever comes next.
        self._end(tuple(self._tasks))

    def _end(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Cancel until they have ended: channels_redis can swallow a cancellation and wait on."""
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            self.loop.call_later(INSISTING, self._end, running)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do this beside the rest; it is given up when nobody is here any more."""
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

    async def send(self, connection: Connection, letters: Letters) -> None:
        """Push to one connection; who cannot be written to is sent away."""
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
            hub.recheck.soon()


def show_presence(*, user_id: int, connection: str, state: str) -> None:
    """Whether somebody sits at this connection. From any thread; it is known to its hub alone."""
    for hub in list(_hubs.values()):
        if not hub.loop.is_closed():
            hear = partial(hub.hear_presence, user_id=user_id, key=connection, state=state)
            fanout.call_in(hub.loop, hear)


async def _standings(user_ids: set[int]) -> list[Standing]:
    return await lanes.HUB.run(standings, user_ids)


async def _with_mentions(found: list[Standing]) -> list[Standing]:
    return await lanes.HUB.run(with_mentions, found)
