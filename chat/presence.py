"""Who is there: leases that expire. No I/O; the clock and the store are arguments.

What always holds:
  1. a person is as present as the best of what is known of them, and offline where nothing is;
  2. what a holder (this process, or another one) said lasts as long as its lease and no longer;
  3. of a person who comes and goes, others learn at most once in `PAUSE`, and that they are gone only
     after `GRACE`, so that whoever reloads a page does not blink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum

PAUSE = 2.0  # seconds between two changes of a person that others learn of
GRACE = 5.0  # seconds that somebody is away from every connection before they are offline

SPARE = 100  # times of telling that are kept beside those of who is there


class State(StrEnum):
    ACTIVE = "active"
    AWAY = "away"
    OFFLINE = "offline"


RANKS = {state: rank for rank, state in enumerate(State)}


def best(states: Iterable[State]) -> State:
    return min(states, key=RANKS.__getitem__, default=State.OFFLINE)


@dataclass
class Lease:
    """What one holder says of its people, and until when it counts."""

    until: float
    people: dict[int, State] = field(default_factory=dict)


Store = MutableMapping[str, Lease]


class Presence:
    def __init__(self, *, clock: Callable[[], float], store: Store) -> None:
        self._clock = clock
        self._store = store
        self._shown: dict[int, State] = {}  # what others were told; who is offline is left out
        self._told_at: dict[int, float] = {}
        self._gone_at: dict[int, float] = {}
        self._unsettled: set[int] = set()  # of whom something may have to be told

    # --- What is known ---

    def hold(
        self,
        holder: str,
        people: Mapping[int, State],
        *,
        until: float,
        is_all: bool = False,
    ) -> None:
        """A holder says how these people are; `is_all`: and that it has no others."""
        lease = self._store.setdefault(holder, Lease(until))
        lease.until = until
        told = dict(people)
        if is_all:
            told = dict.fromkeys(lease.people, State.OFFLINE) | told
        for person, state in told.items():
            if state is State.OFFLINE:
                lease.people.pop(person, None)
            else:
                lease.people[person] = state
        self._look_at(told)

    def expire(self) -> None:
        """Forget the holders whose lease is over: their processes are gone."""
        now = self._clock()
        for holder in [name for name, lease in self._store.items() if lease.until <= now]:
            self._look_at(self._store.pop(holder).people)

    def held_by_others(self, holder: str) -> set[int]:
        """The people of whom somebody other than this holder says something."""
        return {p for name, lease in self._store.items() if name != holder for p in lease.people}

    def now(self, person: int) -> State:
        leases = self._store.values()
        return best(lease.people[person] for lease in leases if person in lease.people)

    # --- What others learn ---

    def shown(self, person: int) -> State:
        """How others see the person."""
        return self._shown.get(person, State.OFFLINE)

    def changes(self) -> dict[int, State]:
        """Those of whom something is to be told now; they count as told."""
        now = self._clock()
        told: dict[int, State] = {}
        for person in list(self._unsettled):
            state = self.now(person)
            if state is self.shown(person):
                self._settle(person)
            elif self._may_tell_at(person, state) <= now:
                told[person] = state
                self._tell(person, state, now)
        return told

    def next_at(self) -> float | None:
        """When there is something to tell or a lease is over; None while nothing is awaited."""
        moments = [self._may_tell_at(person, self.now(person)) for person in self._unsettled]
        moments += [lease.until for lease in self._store.values() if lease.until != float("inf")]
        return min(moments, default=None)

    def _look_at(self, people: Iterable[int]) -> None:
        now = self._clock()
        for person in people:
            state = self.now(person)
            if state is self.shown(person):
                self._settle(person)
                continue
            self._unsettled.add(person)
            if state is State.OFFLINE:
                self._gone_at.setdefault(person, now)
            else:
                self._gone_at.pop(person, None)

    def _may_tell_at(self, person: int, state: State) -> float:
        rested = self._told_at.get(person, float("-inf")) + PAUSE
        if state is not State.OFFLINE:
            return rested
        return max(rested, self._gone_at.get(person, float("-inf")) + GRACE)

    def _tell(self, person: int, state: State, now: float) -> None:
        self._told_at[person] = now
        if state is State.OFFLINE:
            self._shown.pop(person, None)
        else:
            self._shown[person] = state
        self._settle(person)
        if len(self._told_at) > 2 * len(self._shown) + SPARE:
            self._told_at = {p: at for p, at in self._told_at.items() if now - at < PAUSE}

    def _settle(self, person: int) -> None:
        self._unsettled.discard(person)
        self._gone_at.pop(person, None)
