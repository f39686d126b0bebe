"""What each kind of endpoint answers to people, and what it does not."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync

from project.asgi import application
from tests.client import Visitor
from tests.factories import make_device

FOUND = {
    "main": {"/", "/console/", "/devices/", "/whoami", "/healthz", "/readyz"},
    "chat": {"/", "/devices/", "/whoami", "/healthz", "/readyz"},
    "console": {"/", "/console/", "/devices/", "/whoami", "/healthz", "/readyz"},
    "enrol": {"/", "/healthz"},
    "line": set(),
    "something new": set(),
}
PATHS = FOUND["main"]


@pytest.fixture
def admin(pki, people):
    return make_device(people.admin, pki.issuing).chain


@pytest.mark.parametrize("serves", FOUND)
def test_endpoint_answers_what_it_serves_and_nothing_else(admin, serves):
    visitor = Visitor(admin, serves=serves)
    answers = {path: visitor.get(path) for path in sorted(PATHS)}
    missing = {path for path, answer in answers.items() if answer.status_code == 404}
    assert missing == PATHS - FOUND[serves]


def test_public_endpoint_says_whether_it_is_ready(pki):
    """For a load balancer that has no certificate, where every other endpoint requires one."""
    ready = Visitor(serves="public").get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == Visitor(serves="main").get("/readyz").json()
    assert Visitor(serves="public").get("/metrics").status_code == 302  # the way to main


def test_console_endpoint_leads_to_the_console_and_hides_the_chat(admin):
    visitor = Visitor(admin, serves="console")
    assert visitor.get("/")["Location"] == "/console/"
    page = visitor.get("/devices/").content.decode()
    assert ">Chat</a>" not in page
    assert ">Console</a>" in page


def test_chat_endpoint_hides_the_console(admin):
    page = Visitor(admin, serves="chat").get("/devices/").content.decode()
    assert ">Chat</a>" in page
    assert ">Console</a>" not in page


@pytest.mark.parametrize("serves", ["main", "chat", "console", "enrol", "public", "line"])
def test_sockets_exist_where_the_chat_is(admin, serves):
    """401 and 403 are answers of a socket that exists: here, to an origin that is not ours."""
    visitor = Visitor(admin, serves=serves)
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/ws/chat/",
        "headers": [(b"origin", b"https://elsewhere.example")],
        "subprotocols": [],
        "server": ("127.0.0.1", 8443),
        "extensions": {**visitor.client.extensions, "websocket.http.response": {}},
    }
    async_to_sync(application)(scope, receive, send)
    assert sent[0]["status"] == (403 if serves in ("main", "chat") else 404)
