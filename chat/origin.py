"""Which pages may open a socket: only our own.

A client certificate is sent with every connection, whoever's page opens it, so without this check
any site could speak as its visitor. A program that sends no Origin is no browser and is let through:
it still has to show a certificate. `null` is the origin of files and sandboxes, and is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from chat.denial import deny

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Origins = Iterable[str] | Callable[[Scope], Iterable[str]]


class OriginMiddleware:
    """Refuses WebSocket handshakes of other origins with 403. `allowed` may change while it runs."""

    def __init__(self, application: Application, *, allowed: Origins) -> None:
        self.application = application
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_allowed(scope):
            await self.application(scope, receive, send)
            return
        await receive()
        await deny(scope, send, status=403, reason="This page may not open a socket here.")

    def _is_allowed(self, scope: Scope) -> bool:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if not origins:
            return True
        allowed = self.allowed(scope) if callable(self.allowed) else self.allowed
        return len(origins) == 1 and origins[0].lower() in {o.lower().encode() for o in allowed}
