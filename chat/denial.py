"""Refusing a WebSocket handshake with a status and a sentence (ASGI's denial response)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

EXTENSION = "websocket.http.response"


async def deny(
    scope: MutableMapping[str, Any],
    send: Callable[[Any], Awaitable[None]],
    *,
    status: int,
    reason: str,
) -> None:
    """Answer the handshake; where the server cannot say more than no, it says no (403)."""
    if EXTENSION not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = f"{reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": f"{EXTENSION}.start", "status": status, "headers": headers})
    await send({"type": f"{EXTENSION}.body", "body": body})
