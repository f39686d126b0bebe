"""One socket as the hub sees it: whose it is, how far it is in each room, how to write to it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from chat.protocol import CloseCode, Codec, Frame, Limits, Wire, size
from chat.session import Pace
from chat.standing import Terms
from pki.identity import Identity

Message = dict[str, Any]
Transmit = Callable[[Message], Awaitable[None]]
FRAMING = 1024  # bytes, more than what WebSocket and TLS add to any frame of ours


class Letter(NamedTuple):
    """A frame as the ASGI message that sends it, and its bytes."""

    message: Message
    size: int


def letter(frame: Frame) -> Letter:
    kind = "text" if isinstance(frame, str) else "bytes"
    return Letter({"type": "websocket.send", kind: frame}, size(frame))


class Connection:
    """`transmit` waits for a peer that is far behind, which a reply may do and a push must not."""

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
        self.told: dict[int, Terms] = {}  # room → what the peer was told of it
        self.is_open = False
        self.is_closed = False
        self.presence = "active"  # or "away", as the peer says
        self.is_stale = False  # something happened to the person's rooms before it was open
        self._transmit = transmit
        self._backlog = backlog

    async def reply(self, frame: Frame) -> None:
        """Answer this peer; a slow one slows down itself."""
        if not self.is_closed:
            await self._transmit(letter(frame).message)

    async def push(self, letter: Letter) -> None:
        """Send without waiting; who reads so slowly that this cannot be is sent away."""
        if self.is_closed:
            return
        if self._backlog() + letter.size + FRAMING > self.limits.backlog_bytes:
            await self.close(CloseCode.TOO_SLOW)
        else:
            await self._transmit(letter.message)

    async def close(self, code: CloseCode, sentence: str | None = None) -> None:
        if not self.is_closed:
            self.is_closed = True
            reason = sentence or code.sentence
            await self._transmit({"type": "websocket.close", "code": int(code), "reason": reason})


class Letters:
    """One message for many connections, encoded at most once per subprotocol."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._encoded: dict[str, Letter] = {}

    def for_(self, codec: Codec) -> Letter:
        if codec.name not in self._encoded:
            self._encoded[codec.name] = letter(codec.encode(self._wire))
        return self._encoded[codec.name]
