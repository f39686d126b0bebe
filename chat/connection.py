"""One socket as the hub sees it: whose it is, how far it is in each room, how to write to it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from chat.protocol import CloseCode, Codec, Frame, Limits, Wire
from chat.session import Pace
from pki.identity import Identity

Message = dict[str, Any]
Transmit = Callable[[Message], Awaitable[None]]


def message_of(frame: Frame) -> Message:
    """The ASGI message that sends a frame."""
    return {"type": "websocket.send", "text" if isinstance(frame, str) else "bytes": frame}


class Connection:
    """One socket: whose it is, how to write to it, and how far it is in each room."""

    def __init__(
        self,
        *,
        identity: Identity,
        codec: Codec,
        transmit: Transmit,
        backlog: Callable[[], int],
        limits: Limits,
    ) -> None:
        self.key = uuid.uuid4().hex
        self.identity = identity
        self.codec = codec
        self.limits = limits
        self.pace: Pace  # set when the hub admits it
        self.positions: dict[int, int] = {}  # room → last number sent
        self.is_open = False
        self.is_closed = False
        self.is_stale = False  # something happened to the person's rooms before it was open
        self._transmit = transmit
        self._backlog = backlog

    async def write(self, message: Message) -> None:
        if self.is_closed:
            return
        if self._backlog() > self.limits.backlog_bytes:
            await self.close(CloseCode.TOO_SLOW)
            return
        await self._transmit(message)

    async def close(self, code: CloseCode, sentence: str | None = None) -> None:
        if not self.is_closed:
            self.is_closed = True
            reason = sentence or code.sentence
            await self._transmit({"type": "websocket.close", "code": int(code), "reason": reason})


class Letters:
    """One message for many connections, encoded at most once per subprotocol."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._encoded: dict[str, Message] = {}

    def for_(self, codec: Codec) -> Message:
        if codec.name not in self._encoded:
            self._encoded[codec.name] = message_of(codec.encode(self._wire))
        return self._encoded[codec.name]
