"""OCSP before Django: an answer that is kept in memory leaves from the event loop.

Only on an endpoint that serves `public`, and only where `pki.ocsp` has the answer without asking the
database. Everything else goes on to Django, body and all.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from django.utils import timezone

from pki import ocsp
from pki.answers import Answer
from pki.views.ocsp import decoded, http_headers
from project.tls import tally

PATH = re.compile(r"/ocsp/([-a-zA-Z0-9_]+)/(.*)", re.DOTALL)
CONDITIONS = {b"if-none-match", b"if-match", b"if-modified-since", b"if-unmodified-since"}

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Awaitable[None]]


class OCSPMiddleware:
    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/ocsp/"):
            send = _counting(send)
        asked = _asked(scope)
        if asked is None:
            return await self._application(scope, receive, send)
        slug, encoded = asked
        at, is_get = timezone.now(), scope["method"] == "GET"
        if is_get:
            body: bytes | None = decoded(encoded)
        else:
            first = await receive()
            receive = _again(first, receive)
            body = None if first.get("more_body") else first.get("body")
        known = None if body is None else ocsp.answer_from_memory(body, slug=slug, at=at)
        if known is None:
            return await self._application(scope, receive, send)
        return await _send(send, known, http_headers(known, at=at, is_get=is_get))


def _asked(scope: Message) -> tuple[str, str] | None:
    """Slug and base64 of a question; None for everything that Django has to look at."""
    connection = scope.get("extensions", {}).get("signet.connection")
    if connection is None or connection.serves != "public":
        return None
    if scope["method"] not in ("GET", "POST") or CONDITIONS & {
        name for name, _ in scope["headers"]
    }:
        return None
    found = PATH.fullmatch(scope["path"])
    return (found[1], found[2]) if found else None


def _again(first: Message, receive: Receive) -> Receive:
    """A `receive` that begins with a message that has been received already."""
    waiting = [first]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _counting(send: Send) -> Send:
    async def counting(message: Message) -> None:
        if message["type"] == "http.response.start":
            tally.count("ocsp", str(message["status"]))
        await send(message)

    return counting


async def _send(send: Send, answer: Answer, headers: dict[str, str]) -> None:
    headers = {
        **headers,
        "Content-Length": str(len(answer.der)),
        "X-Content-Type-Options": "nosniff",
    }
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": answer.der})
