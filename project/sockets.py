"""WebSocket handshakes that are refused before any route is tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from chat.denial import deny

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a WebSocket handshake with 404 (ASGI's denial response)."""
    await receive()
    await deny(scope, send, status=404, reason="There is no socket here.")


class EndpointSocketMiddleware:
    """Lets WebSockets through on endpoints that serve `main`; everywhere else there are none."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["extensions"].get("signet.connection")
        serves_main = connection is not None and connection.serves == "main"
        await (self.application if serves_main else not_found)(scope, receive, send)
