"""One connection, without I/O: frames and the clock go in, frames and effects come out.

What always holds:
  1. nothing is sent before `ready`, and nothing after a close;
  2. every frame of the client costs drops of two leaky buckets, its own and the person's: one, or
     as many as its request is charged;
  3. a request gets one reply, with its `ref`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from chat.errors import ChatError, RateLimitedError
from chat.protocol import (
    CloseCode,
    Codec,
    Frame,
    Limits,
    Ref,
    Wire,
    failure,
    push,
    size,
    success,
)
from chat.requests import Ping, Request, UnreadableError, parse

ROUNDING = 1e-9  # drops; who waits exactly as long as told must pass
FORGIVEN = 0.5  # impatient and bad requests a second that are not held against a client


class Bucket:
    """A leaky bucket: `burst` drops fit in, `rate` drops leave each second."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._level, self._at = 0.0, now

    def wait(self, now: float, *, drops: float = 1) -> float:
        """Seconds until so many more drops fit in; more than ever could count as a full bucket."""
        self._leak(now)
        above = self._level + min(drops, self.burst) - self.burst
        return above / self.rate if above > ROUNDING else 0.0

    def add(self, now: float, *, drops: float = 1) -> None:
        self._leak(now)
        self._level += min(drops, self.burst)

    def is_empty(self, now: float) -> bool:
        self._leak(now)
        return self._level == 0.0

    def _leak(self, now: float) -> None:
        self._level = max(0.0, self._level - (now - self._at) * self.rate)
        self._at = now


def person_bucket(limits: Limits, *, now: float) -> Bucket:
    """What all connections of a person share."""
    factor = limits.person_factor
    return Bucket(rate=limits.rate * factor, burst=limits.burst * factor, now=now)


class Pace:
    """How fast and how lately a connection was heard."""

    def __init__(self, *, limits: Limits, person: Bucket, now: float) -> None:
        self._own = Bucket(rate=limits.rate, burst=limits.burst, now=now)
        self._person = person
        self._excess = Bucket(rate=FORGIVEN, burst=limits.burst, now=now)
        self._silence = limits.silence
        self._heard_at = now
        self._retry_at = now

    def take(self, now: float, *, cost: int = 1) -> float:
        """Count one frame; 0 where it may pass, else the seconds after which it might."""
        self._heard_at = now
        wait = max(self._own.wait(now, drops=cost), self._person.wait(now, drops=cost))
        if not wait:
            self._own.add(now, drops=cost)
            self._person.add(now, drops=cost)
            return 0.0
        wait = math.ceil(wait * 1000) / 1000
        if now < self._retry_at:
            self._excess.add(now)
        else:  # whoever waits as told is not blamed for asking again
            self._retry_at = now + wait
        return wait

    def is_hopeless(self, now: float) -> bool:
        """It was told to wait and did not, so often that it will not learn."""
        return self._excess.wait(now) > 0

    def is_silent(self, now: float) -> bool:
        return now - self._heard_at > self._silence


@dataclass(frozen=True)
class Send:
    frame: Frame


@dataclass(frozen=True)
class Perform:
    request: Request


@dataclass(frozen=True)
class Close:
    code: CloseCode


Effect = Send | Perform | Close


class State(Enum):
    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"


class Session:
    def __init__(self, *, codec: Codec, limits: Limits, pace: Pace, now: float) -> None:
        self.codec = codec
        self.limits = limits
        self.state = State.OPENING
        self._pace = pace
        self._unreadable = Bucket(rate=FORGIVEN, burst=limits.unreadable, now=now)

    def open(
        self, *, user: Wire, certificate: Wire, rooms: list[Wire], heartbeat: float, epoch: str
    ) -> Send:
        """The first frame of every connection."""
        assert self.state is State.OPENING, "ready is sent once"
        self.state = State.OPEN
        ready = push("ready", user=user, certificate=certificate, rooms=rooms)
        ready |= {"limits": self.limits.announced(), "heartbeat": heartbeat, "epoch": epoch}
        return self._send(ready)

    def receive(self, frame: Frame, *, now: float) -> list[Effect]:
        """What to do about a frame of the client."""
        if self.state is State.CLOSED:
            return []
        assert self.state is State.OPEN, "frames wait until ready has been sent"
        if size(frame) > self.limits.frame_bytes:
            return [self.close(CloseCode.TOO_LARGE)]
        try:
            request = parse(frame, codec=self.codec, limits=self.limits)
        except UnreadableError as unreadable:
            return self._unread(unreadable, self._pace.take(now), now)
        if wait := self._pace.take(now, cost=request.cost):
            return self._slow_down(request.ref, wait, now)
        if isinstance(request, Ping):
            return [self.succeed(request)]
        return [Perform(request)]

    def succeed(self, request: Request, result: Wire | None = None) -> Send:
        return self._send(success(request.ref, **(result or {})))

    def refuse(self, ref: Ref | None, error: ChatError) -> Send:
        return self._send(failure(ref, error))

    def close(self, code: CloseCode) -> Close:
        self.state = State.CLOSED
        return Close(code)

    def _unread(self, unreadable: UnreadableError, wait: float, now: float) -> list[Effect]:
        self._unreadable.add(now)
        if self._unreadable.wait(now):
            return [self.close(CloseCode.BROKEN_CLIENT)]
        if wait:
            return self._slow_down(unreadable.ref, wait, now)
        return [self.refuse(unreadable.ref, unreadable.error)]

    def _slow_down(self, ref: Ref | None, wait: float, now: float) -> list[Effect]:
        if self._pace.is_hopeless(now):
            return [self.close(CloseCode.TOO_FAST)]
        return [self.refuse(ref, RateLimitedError(wait))]

    def _send(self, message: Wire) -> Send:
        assert self.state is State.OPEN, "nothing is sent before ready or after a close"
        return Send(self.codec.encode(message))
