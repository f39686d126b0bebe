"""OCSP before Django: what is kept leaves at once, and everything else goes on untouched."""

from __future__ import annotations

from base64 import b64encode
from types import SimpleNamespace

import pytest

from pki import ocsp
from pki.answers import Answer
from project.ocsp import OCSPMiddleware

REQUEST = b"\x30\xfb\xff"
KEPT = Answer(b"kept")


@pytest.fixture
def asked(monkeypatch):
    """What memory was asked; it knows REQUEST alone."""
    heard = []

    def from_memory(body, *, slug, at):
        heard.append((body, slug))
        return KEPT if body == REQUEST else None

    monkeypatch.setattr(ocsp, "answer_from_memory", from_memory)
    return heard


async def send_to_django(scope, receive, send):
    body, more = b"", True
    while scope["method"] == "POST" and more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "django", "body": body})


async def ask(path, *, method="GET", parts=(), serves="public", headers=()):
    """Every message sent in answer."""
    waiting = [
        {"type": "http.request", "body": part, "more_body": n + 1 < len(parts)}
        for n, part in enumerate(parts)
    ]
    sent = []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    connection = SimpleNamespace(serves=serves) if serves else None
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": list(headers),
        "extensions": {"signet.connection": connection} if connection else {},
    }
    await OCSPMiddleware(send_to_django)(scope, receive, send)
    return sent


PATH = f"/ocsp/issuing/{b64encode(REQUEST).decode()}"


async def test_get_from_memory(asked):
    start, body = await ask(PATH)
    assert asked == [(REQUEST, "issuing")]
    assert body["body"] == b"kept"
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"Content-Length"] == b"4"
    assert headers[b"Content-Type"] == b"application/ocsp-response"
    assert headers[b"X-Content-Type-Options"] == b"nosniff"


async def test_post_from_memory(asked):
    _, body = await ask("/ocsp/issuing/", method="POST", parts=[REQUEST])
    assert body["body"] == b"kept"


async def test_what_memory_does_not_know_goes_on(asked):
    assert await ask("/ocsp/issuing/AAAA") == [{"type": "django", "body": b""}]
    assert len(asked) == 1


@pytest.mark.parametrize("parts", [[b"other"], [REQUEST, b""], [REQUEST, b"more", b"yet"]])
async def test_a_body_goes_on_whole(asked, parts):
    sent = await ask("/ocsp/issuing/", method="POST", parts=parts)
    assert sent == [{"type": "django", "body": b"".join(parts)}]


@pytest.mark.parametrize(
    "odd",
    [
        {"serves": "main"},
        {"serves": "enrol"},
        {"serves": None},
        {"method": "HEAD"},
        {"headers": [(b"if-none-match", b'"x"')]},
    ],
)
async def test_what_django_has_to_look_at_is_not_looked_at_here(asked, odd):
    assert await ask(PATH, **odd) == [{"type": "django", "body": b""}]
    assert asked == []


@pytest.mark.parametrize("path", ["/ocsp/", "/ocsp/a.b/AAAA", "/crl/issuing.crl", "//ocsp/a/AAAA"])
async def test_other_paths_go_on(asked, path):
    assert await ask(path) == [{"type": "django", "body": b""}]
    assert asked == []
