"""Whom the people of one hub see coming and going: those with whom they share a room, nobody else.

What always holds:
  1. a connection learns of a person only while it is in a room of theirs; who shares no room with it
     any more is offline to it;
  2. what is told is gathered for a moment and encoded once for all who are in the same rooms;
  3. no connection costs a query: one query places all people of other processes who are new here, and
     one at each heartbeat all of them.
Nothing of this is stored: a process that dies takes what it knew along, and the leases that others
have of its people run out.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Protocol

from chat import fanout, lanes
from chat.connection import Connection, Letters
from chat.fanout import Leases, News
from chat.models import Membership
from chat.presence import Presence, State, best
from chat.protocol import push

HERE = ""
GATHER = 0.05  # seconds that a change waits for others
TURN = 0.5  # seconds between two tellings
LEASE = 2.5  # heartbeats
NO_ROOM: frozenset[int] = frozenset()


class Feed(Protocol):
    connections: set[Connection]


class Host(Protocol):
    """What is asked of the hub."""

    loop: asyncio.AbstractEventLoop
    heartbeat: float
    line: fanout.Line
    people: dict[int, set[Connection]]
    clock: Callable[[], float]

    @property
    def rooms(self) -> Mapping[int, Feed]: ...

    def spawn(self, work: Coroutine[Any, Any, Any]) -> Awaitable[Any]: ...

    async def send(self, connection: Connection, letters: Letters) -> None: ...


class Company:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._forget()

    def _forget(self) -> None:
        self._presence = Presence(clock=self._host.clock, store={})
        self._places: dict[int, frozenset[int]] = {}  # person → rooms
        self._members: dict[int, set[int]] = defaultdict(set)  # room → people of whom we know
        self._announced: dict[int, State] = {}  # to other processes
        self._unplaced: set[int] = set()
        self._newcomers: set[Connection] = set()
        self._met: list[
            tuple[int, frozenset[int]]
        ] = []  # a person, and the rooms that they came into
        self._parted: dict[Connection, dict[int, State]] = defaultdict(dict)
        self._timer: asyncio.TimerHandle | None = None
        self._is_telling = False
        self._told_at = float("-inf")

    # --- Here ---

    def welcome(self, connection: Connection, rooms: Iterable[int]) -> None:
        """A connection is open: somebody is active, who learns of their company."""
        self.place(connection.identity.user_id, rooms)
        self._newcomers.add(connection)
        self.look_at(connection.identity.user_id)

    def look_at(self, user_id: int) -> None:
        """Connections of the person came, went, or say something else now."""
        group = self._host.people.get(user_id, ())
        state = best(State(c.presence) for c in group if c.is_open)
        self._presence.hold(HERE, {user_id: state}, until=float("inf"))
        self._soon()

    def place(self, user_id: int, rooms: Iterable[int]) -> None:
        """Note in which rooms somebody is, and who meets or parts by that."""
        now, before = frozenset(rooms), self._places.get(user_id, NO_ROOM)
        self._unplaced.discard(user_id)
        self._places[user_id] = now
        if now == before:
            return
        for room_id in before - now:
            self._members[room_id].discard(user_id)
            self._part(user_id, room_id)
        for room_id in now - before:
            self._members[room_id].add(user_id)
        if now - before:
            self._met.append((user_id, now - before))
        self._soon()

    def stop(self) -> None:
        """Nobody is here any more; nothing is heard from now on."""
        if self._timer is not None:
            self._timer.cancel()
        if self._announced:
            self._host.line.put(News(leases=Leases(is_all=True)))
        self._forget()

    # --- Elsewhere ---

    def hear(self, leases: Leases, *, origin: str) -> None:
        """Another process tells who is there."""
        until = self._host.clock() + LEASE * self._host.heartbeat
        people = {user_id: State(state) for user_id, state in leases.people}
        self._presence.hold(origin, people, until=until, is_all=leases.is_all)
        self._unplaced.update(people.keys() - self._places.keys())
        if leases.asks:
            self.renew()
        self._soon()

    def replace(self, user_ids: Iterable[int]) -> None:
        """Something happened to the places of these people."""
        self._unplaced |= set(user_ids) & (self._places.keys() - self._host.people.keys())
        if self._unplaced:
            self._soon()

    def renew(self, *, asks: bool = False) -> None:
        """Tell the other processes everything, and ask them for the same."""
        self._announced = self._own()
        people = tuple(self._announced.items())
        self._host.line.put(News(leases=Leases(people, is_all=True, asks=asks)))

    def beat(self) -> None:
        """Renew the leases, and look where everybody is whose lease we have."""
        self._presence.expire()
        self.renew()
        elsewhere = self._presence.held_by_others(HERE) - self._host.people.keys()
        for user_id in self._places.keys() - elsewhere - self._host.people.keys():
            if self._presence.shown(user_id) is State.OFFLINE:
                self._lose(user_id)
        self._unplaced |= elsewhere
        self._soon()

    # --- Telling ---

    def _soon(self) -> None:
        if not self._is_telling:
            self._call_after(max(GATHER, self._told_at + TURN - self._host.clock()))

    def _call_after(self, seconds: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= self._host.loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = self._host.loop.call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._is_telling = True
        self._host.spawn(self._tell())

    async def _tell(self) -> None:
        try:
            await self._place_strangers()
            self._presence.expire()
            self._announce()
            for connection, letters in self._letters():
                await self._host.send(connection, letters)
        finally:
            self._is_telling = False
            self._told_at = self._host.clock()
            self._wait_for_next()

    def _wait_for_next(self) -> None:
        at = self._presence.next_at()
        if self._newcomers or self._met or self._parted or self._unplaced:
            self._soon()
        elif at is not None:
            self._call_after(max(TURN, at - self._told_at))

    async def _place_strangers(self) -> None:
        wanted = {user_id for user_id in self._unplaced if user_id not in self._host.people}
        self._unplaced = set()
        if wanted:
            places = await _places(wanted)
            for user_id in wanted:
                self.place(user_id, places[user_id])

    def _own(self) -> dict[int, State]:
        people: dict[int, State] = {}
        for user_id, group in self._host.people.items():
            state = best(State(c.presence) for c in group if c.is_open)
            if state is not State.OFFLINE:
                people[user_id] = state
        return people

    def _announce(self) -> None:
        now, before = self._own(), self._announced
        changed = {u: s for u, s in now.items() if before.get(u) is not s}
        changed |= dict.fromkeys(before.keys() - now.keys(), State.OFFLINE)
        self._announced = now
        if changed:
            self._host.line.put(News(leases=Leases(tuple(changed.items()))))

    def _letters(self) -> list[tuple[Connection, Letters]]:
        """What each connection is told now. Who is in the same rooms gets the same letter."""
        by_room = self._news_by_room()
        whole = self._rooms_to_tell_whole()
        parted, self._parted = self._parted, defaultdict(dict)
        concerned = set(whole) | set(parted)
        for room_id in by_room:
            feed = self._host.rooms.get(room_id)
            concerned |= feed.connections if feed is not None else set()
        written: dict[tuple[frozenset[int], frozenset[int]], Letters | None] = {}
        letters = []
        for connection in concerned:
            if not connection.is_open or connection.is_closed:
                continue
            rooms = connection.positions.keys()
            key = (
                frozenset(rooms & by_room.keys()),
                frozenset(rooms & whole.get(connection, NO_ROOM)),
            )
            if connection in parted:
                letter = _letter({**parted[connection], **self._people_of(*key, by_room)})
            else:
                if key not in written:
                    written[key] = _letter(self._people_of(*key, by_room))
                letter = written[key]
            if letter is not None:
                letters.append((connection, letter))
        return letters

    def _news_by_room(self) -> dict[int, dict[int, State]]:
        by_room: dict[int, dict[int, State]] = defaultdict(dict)
        for user_id, state in self._presence.changes().items():
            for room_id in self._places.get(user_id, ()):
                by_room[room_id][user_id] = state
            if state is State.OFFLINE:
                self._lose(user_id)
        for user_id, rooms in self._met:
            if self._presence.shown(user_id) is not State.OFFLINE:
                for room_id in rooms & self._places.get(user_id, NO_ROOM):
                    by_room[room_id][user_id] = self._presence.shown(user_id)
        return by_room

    def _rooms_to_tell_whole(self) -> dict[Connection, frozenset[int]]:
        """The rooms into which connections came, of whose people they know nothing yet."""
        whole: dict[Connection, frozenset[int]] = defaultdict(lambda: NO_ROOM)
        for user_id, rooms in self._met:
            for connection in self._host.people.get(user_id, ()):
                whole[connection] |= rooms
        for connection in self._newcomers:
            whole[connection] = frozenset(connection.positions)
        self._newcomers, self._met = set(), []
        return dict(whole)

    def _people_of(
        self,
        changed: Collection[int],
        whole: Collection[int],
        by_room: Mapping[int, Mapping[int, State]],
    ) -> dict[int, State]:
        people: dict[int, State] = {}
        for room_id in changed:
            people |= by_room[room_id]
        for room_id in whole:
            for user_id in self._members.get(room_id, ()):
                state = self._presence.shown(user_id)
                if state is not State.OFFLINE:
                    people[user_id] = state
        return people

    def _part(self, user_id: int, room_id: int) -> None:
        """Who shared only this room with somebody sees no more of them, and they of who stays."""
        rooms = self._places[user_id]
        for other in self._members[room_id]:
            if rooms.isdisjoint(self._places.get(other, NO_ROOM)):
                self._hide(user_id, other)
                self._hide(other, user_id)

    def _hide(self, user_id: int, other: int) -> None:
        if self._presence.shown(user_id) is not State.OFFLINE:
            for connection in self._host.people.get(other, ()):
                self._parted[connection][user_id] = State.OFFLINE

    def _lose(self, user_id: int) -> None:
        for room_id in self._places.pop(user_id, ()):
            self._members[room_id].discard(user_id)


def _letter(people: Mapping[int, State]) -> Letters | None:
    if not people:
        return None
    return Letters(push("presence", people={str(u): str(state) for u, state in people.items()}))


async def _places(user_ids: set[int]) -> dict[int, set[int]]:
    """The rooms of these people, in one query."""

    def read() -> dict[int, set[int]]:
        places: dict[int, set[int]] = defaultdict(set)
        rows = Membership.objects.filter(user_id__in=user_ids).order_by()
        for user_id, room_id in rows.values_list("user_id", "room_id"):
            places[user_id].add(room_id)
        return places

    return await lanes.HUB.run(read)
