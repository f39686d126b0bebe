"""What WebSocket handshakes pass that the chat knows nothing of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from chat.denial import deny
from pki.identity import Identity

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
WITH_SOCKETS = frozenset({"main", "chat"})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a WebSocket handshake with 404 (ASGI's denial response)."""
    await receive()
    await deny(scope, send, status=404, reason="There is no socket here.")


class EndpointSocketMiddleware:
    """Lets WebSockets through on endpoints that serve the chat; everywhere else there are none."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["extensions"].get("signet.connection")
        has_sockets = connection is not None and connection.serves in WITH_SOCKETS
        await (self.application if has_sockets else not_found)(scope, receive, send)


class NoteSocketMiddleware:
    """Tells the connection whose it is; stands after the identity."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = scope["identity"]
        if isinstance(identity, Identity):
            scope["extensions"]["signet.connection"].note.user_id = identity.user_id
        await self.application(scope, receive, send)
