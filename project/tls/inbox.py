"""What the application has yet to receive; a full one stops the reading of the socket."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from project.tls.note import Note

FULL_MESSAGES, FULL_BYTES = 32, 256 * 1024
ROOM_MESSAGES, ROOM_BYTES = 8, 64 * 1024

Message = dict[str, Any]


class Reader(Protocol):
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Inbox:
    """Between a Daphne protocol (`put_nowait`) and an ASGI application (`get`)."""

    def __init__(self, reader: Reader, note: Note | None = None) -> None:
        self._reader, self._note = reader, note
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._bytes = 0
        self._is_full = False

    def put_nowait(self, message: Message) -> None:
        self._queue.put_nowait(message)
        self._bytes += weight(message)
        if self._note is not None and message["type"] == "websocket.receive":
            self._note.heard()
        if message["type"] == "websocket.receive" and (
            self._queue.qsize() > FULL_MESSAGES or self._bytes > FULL_BYTES
        ):
            self._is_full = True
            self._reader.pause_reading()

    async def get(self) -> Message:
        message = await self._queue.get()
        self._bytes -= weight(message)
        if self._is_full and self._queue.qsize() <= ROOM_MESSAGES and self._bytes <= ROOM_BYTES:
            self._is_full = False
            self._reader.resume_reading()
        return message


def weight(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or message.get("body") or b"")
