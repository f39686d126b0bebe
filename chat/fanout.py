"""How news of the log reaches the hubs. The only module that names channel-layer groups.

News is a wake-up and no more: it may be lost, doubled or late, and a hub reads the log itself. The
hubs of this process are told directly; other processes through the channel layer, where each has
one channel in one group. No message text passes the layer. Its failure is logged and never fails
what is announced: the heads that every hub reads at each heartbeat make up for it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer

from chat.models import Event
from chat.protocol import Wire

logger = logging.getLogger(__name__)
GROUP = "hubs"
TYPE = "hub.news"
PATIENCE = 5.0  # seconds until the layer counts as failed
PAUSE = 1.0  # seconds before it is tried again
TRIES = 3  # to send, before news is given up


@dataclass(frozen=True)
class Note:
    """Something that is shown now or never: to a person's or a room's connections, but not to all."""

    frame: Wire
    user_id: int | None = None
    room_id: int | None = None
    but_connection: str = ""
    but_user: int | None = None


@dataclass(frozen=True)
class Leases:
    """Who is there by the connections of one hub: what changed, or (`is_all`) everybody.

    `asks`: the hub has not heard the others for a while and would like to know theirs.
    """

    people: tuple[tuple[int, str], ...] = ()
    is_all: bool = False
    asks: bool = False


@dataclass(frozen=True)
class News:
    """Rooms with their newest number, people whose memberships changed, notes to pass on, leases.

    `event` is the event itself; it stays within the process. `origin` is whose leases they are.
    """

    rooms: tuple[tuple[int, int], ...] = ()
    people: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    leases: Leases | None = None
    event: Event | None = None
    origin: str = ""


class Listener(Protocol):
    loop: asyncio.AbstractEventLoop
    line: Line

    def hear(self, news: News) -> None: ...


_listeners: list[Listener] = []


def attach(listener: Listener) -> None:
    _listeners.append(listener)


def detach(listener: Listener) -> None:
    _listeners.remove(listener)


def announce(news: News) -> None:
    """Tell every hub, here and elsewhere. From any thread; never raises."""
    try:
        listeners = [listener for listener in _listeners if not listener.loop.is_closed()]
        for listener in listeners:
            call_in(listener.loop, partial(listener.hear, news))
        if listeners:
            call_in(listeners[0].loop, partial(listeners[0].line.put, news))
        elif (layer := _layer()) is not None:
            async_to_sync(_send)(layer, _packed(news, origin=""))
    except Exception:
        logger.exception("News could not be announced; the next heartbeat makes up for it.")


def call_in(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    """Call from any thread, in a context of its own.

    The context of a thread that serves async code says that waiting for that thread would
    dead-lock; a task that inherited it could never use the database.
    """
    loop.call_soon_threadsafe(work, context=Context())


def is_cancelled() -> bool:
    """Whether the running task was told to end.

    Asked in every endless loop around the channel layer, which can turn a cancellation into an
    error of its own: channels_redis asserts that a lock is free that another task just took.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Line:
    """One hub's end of the channel layer."""

    def __init__(self) -> None:
        self._origin = uuid.uuid4().hex
        self._channel: str | None = None
        self._waiting: list[News] = []
        self._sending: asyncio.Task[None] | None = None

    def put(self, news: News) -> None:
        """Send soon. What is put while the layer is busy goes together, in one message."""
        if _layer() is None:
            return
        self._waiting.append(news)
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send_waiting())

    async def listen(
        self, hear: Callable[[News], None], *, missed: Callable[[], Awaitable[None]]
    ) -> None:
        """Pass on the news of other processes until cancelled; `missed` after each gap in hearing."""
        while (layer := _layer()) is not None and not is_cancelled():
            try:
                await self._join(layer)
                await missed()
                while not is_cancelled():
                    message = await layer.receive(self._channel)
                    if message["origin"] != self._origin:
                        hear(_unpacked(message))
            except Exception as error:
                if not is_cancelled():
                    logger.warning(
                        "The channel layer fails; heartbeats go on without it: %r", error
                    )
                    await asyncio.sleep(PAUSE)

    async def renew(self) -> None:
        """Stay in the group, where membership expires."""
        if (layer := _layer()) is not None:
            try:
                await self._join(layer)
            except Exception as error:
                logger.warning("The channel layer fails: %r", error)

    async def _join(self, layer: Any) -> None:
        if self._channel is None:
            self._channel = await layer.new_channel("hub")
        async with asyncio.timeout(PATIENCE):
            await layer.group_add(GROUP, self._channel)

    async def _send_waiting(self) -> None:
        try:
            while self._waiting and (layer := _layer()) is not None:
                waiting, self._waiting = self._waiting, []
                await self._send_or_give_up(layer, _packed(*waiting, origin=self._origin))
        finally:
            self._waiting = []
            self._sending = None

    async def _send_or_give_up(self, layer: Any, message: dict[str, Any]) -> None:
        for _ in range(TRIES):
            try:
                await _send(layer, message)
            except Exception as error:
                logger.warning("The channel layer fails; heartbeats make up for it: %r", error)
                await asyncio.sleep(PAUSE)
            else:
                return


def _layer() -> Any:
    """The layer to other processes; None where there can be no other."""
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


async def _send(layer: Any, message: dict[str, Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        await layer.group_send(GROUP, message)


def _packed(*many: News, origin: str) -> dict[str, Any]:
    heads: dict[int, int] = {}
    for room_id, seq in (pair for news in many for pair in news.rooms):
        heads[room_id] = max(seq, heads.get(room_id, 0))
    return {
        "type": TYPE,
        "origin": origin,
        "rooms": [list(pair) for pair in heads.items()],
        "people": sorted({user_id for news in many for user_id in news.people}),
        "notes": [vars(note) for news in many for note in news.notes],
        "leases": _together([news.leases for news in many if news.leases is not None]),
    }


def _together(many: list[Leases]) -> dict[str, Any] | None:
    """What they come to one after the other."""
    people: dict[int, str] = {}
    for leases in many:
        people = dict(leases.people) if leases.is_all else people | dict(leases.people)
    is_all, asks = any(one.is_all for one in many), any(one.asks for one in many)
    together = {"people": [list(pair) for pair in people.items()], "is_all": is_all, "asks": asks}
    return together if many else None


def _unpacked(message: dict[str, Any]) -> News:
    return News(
        rooms=tuple((room_id, seq) for room_id, seq in message["rooms"]),
        people=tuple(message["people"]),
        notes=tuple(Note(**note) for note in message["notes"]),
        leases=_leases(message.get("leases")),
        origin=message["origin"],
    )


def _leases(found: dict[str, Any] | None) -> Leases | None:
    """A process of an older version sends none."""
    if found is None:
        return None
    people = tuple((user_id, state) for user_id, state in found["people"])
    return Leases(people, is_all=found["is_all"], asks=found["asks"])
