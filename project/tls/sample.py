"""Failed handshakes until they are written down: counted, and never more than fits.

Within a minute, those of one endpoint, reason and address are one entry with a count. A minute has
60 entries; whatever comes beyond is counted by endpoint and reason alone. What waits to be written
is bounded as well, for a database that is away.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from project.tls.overheard import NOTHING, Overheard

MOST_A_MINUTE = 60
MOST_WAITING = 300
MINUTE = dt.timedelta(minutes=1)
NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
SEVERAL = "several addresses"

Key = tuple[str, str, str, dt.datetime]


@dataclass(frozen=True)
class Failure:
    """A handshake that failed, or `count` of the same kind since `since`; `at` is the last."""

    endpoint: str
    peer: str
    reason: str
    advice: str
    at: dt.datetime
    since: dt.datetime
    heard: Overheard = NOTHING
    count: int = 1

    @property
    def key(self) -> Key:
        address = self.peer.rpartition(":")[0] or self.peer
        return self.endpoint, self.reason, address, self.since


@dataclass
class Sample:
    """Filled on the event loop, emptied by the thread that writes."""

    lost: int = 0  # found no room, not even to be counted
    _began: dt.datetime = NEVER
    _seen: set[Key] = field(default_factory=set)
    _waiting: dict[Key, Failure] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self,
        *,
        endpoint: str,
        peer: str,
        reason: str,
        advice: str,
        heard: Overheard = NOTHING,
        at: dt.datetime,
    ) -> None:
        with self._lock:
            if not self._began <= at < self._began + MINUTE:
                self._began, self._seen = at, set()
            failure = Failure(endpoint, peer, reason, advice, at, self._began, heard)
            if failure.key not in self._seen and len(self._seen) >= MOST_A_MINUTE:
                failure = replace(failure, peer=SEVERAL, heard=NOTHING)
            else:
                self._seen.add(failure.key)
            self._put(failure)

    def take(self) -> list[Failure]:
        with self._lock:
            taken, self._waiting = list(self._waiting.values()), {}
        return taken

    def put_back(self, failures: Iterable[Failure]) -> None:
        """They could not be written; as many as there is room for wait on."""
        with self._lock:
            for failure in failures:
                self._put(failure)

    def _put(self, failure: Failure) -> None:
        known = self._waiting.get(failure.key)
        if known is not None:
            at, count = max(known.at, failure.at), known.count + failure.count
            self._waiting[failure.key] = replace(known, at=at, count=count)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[failure.key] = failure
        else:
            self.lost += failure.count
