"""Signed OCSP answers in memory, bounded, and given out only while they are known to be right.

What always holds here:
  1. `get` returns an answer only in the generation in which its facts were last read from the
     database. Every change that others must notice begins a new generation (`outdate`).
  2. `put` is refused when the generation is no longer the one in which the caller began to read.
     So an answer worked out before a revocation cannot come back in after it.
  3. No answer is given out before its time: one that was signed while the clock was ahead.
  4. There are never more than `room` answers; the one that was not asked for the longest goes.

An answer of an older generation is not lost: `recall` finds it, and whoever has read that its facts
still hold puts it again, without a signature.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import sha256

Key = tuple[int, str, int]  # CA, hash of the question, serial number
Facts = tuple[dt.datetime | None, str, str]  # revoked when and why, and who signed


@dataclass(frozen=True, slots=True)
class Answer:
    """The DER of a response. One without times must not be kept by anybody."""

    der: bytes
    this_update: dt.datetime | None = None
    next_update: dt.datetime | None = None

    @property
    def entity_tag(self) -> str:
        return f'"{sha256(self.der).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, what it says, and until when it is given out (before its own end)."""

    answer: Answer
    facts: Facts
    until: dt.datetime
    generation: int = 0

    def is_current(self, at: dt.datetime) -> bool:
        begins = self.answer.this_update
        return begins is not None and begins <= at < self.until


class AnswerCache:
    def __init__(self, *, room: int) -> None:
        self.room = room
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0
        self._version = -1
        self._checked_at = float("-inf")

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def generation(self) -> int:
        """Take it before reading what an answer will say."""
        return self._generation

    def get(self, key: Key, *, at: dt.datetime) -> Answer | None:
        """The answer to give at `at`, if one is kept and known to be right."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.generation != self._generation or not kept.is_current(at):
                return None
            self._kept.move_to_end(key)
            return kept.answer

    def recall(self, key: Key) -> Kept | None:
        """What is kept, right or not; the caller compares its facts."""
        return self._kept.get(key)

    def put(self, key: Key, kept: Kept, *, generation: int) -> bool:
        """Keep an answer whose facts were read in `generation`; False when that one is over."""
        with self._lock:
            if generation != self._generation:
                return False
            self._kept[key] = replace(kept, generation=generation)
            self._kept.move_to_end(key)
            while len(self._kept) > self.room:
                self._kept.popitem(last=False)
            return True

    def outdate(self) -> None:
        """Something changed: nothing is known to be right until it has been read again."""
        with self._lock:
            self._generation += 1

    def clear(self) -> None:
        with self._lock:
            self._generation += 1
            self._kept.clear()
            self._checked_at = float("-inf")

    # --- What other processes changed -----------------------------------------------------------

    def compare(self, version: int, *, read_at: float) -> None:
        """Note the trust version, and the monotonic time just before it was read. Another one than
        before means that some process made a change."""
        with self._lock:
            if version != self._version:
                self._version = version
                self._generation += 1
            self._checked_at = max(self._checked_at, read_at)

    def is_compared(self, *, since: float) -> bool:
        """Whether the trust version was read at the monotonic time `since` or later."""
        return self._checked_at >= since
