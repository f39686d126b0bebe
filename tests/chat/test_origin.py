"""A page of another site may not use its visitor's certificate."""

from __future__ import annotations

import pytest
from channels.testing import WebsocketCommunicator

from chat.origin import OriginMiddleware

OURS = ["https://chat.example:8443", "https://10.0.0.1:8443", "https://[::1]:8443"]


async def inner(_scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})


async def status(*origins, allowed=OURS):
    guarded = OriginMiddleware(inner, allowed=allowed)
    headers = [(b"origin", origin.encode()) for origin in origins]
    socket = WebsocketCommunicator(guarded, "/ws/chat/", headers=headers)
    socket.scope["extensions"] = {"websocket.http.response": {}}
    await socket.send_input({"type": "websocket.connect"})
    first = await socket.receive_output()
    return "accepted" if first["type"] == "websocket.accept" else first["status"]


@pytest.mark.parametrize("origin", [*OURS, "HTTPS://Chat.Example:8443"])
async def test_our_own_pages_may(origin):
    assert await status(origin) == "accepted"


async def test_program_without_an_origin_may():
    assert await status() == "accepted"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://chat.example:8443",
        "https://chat.example",
        "https://chat.example:8444",
        "https://chat.example:8443.evil.example",
        "https://chat.example:8443/",
        "https://evil.chat.example:8443",
        "https://chat.example:8443@evil.example",
        "wss://chat.example:8443",
        "file://",
    ],
)
async def test_everybody_else_may_not(origin):
    assert await status(OURS[0]) == "accepted"
    assert await status(origin) == 403


async def test_two_origins_are_none():
    assert await status(OURS[0], "https://evil.example") == 403
    assert await status(OURS[0], OURS[0]) == 403


async def test_list_may_change_while_it_runs():
    allowed = []
    assert await status(OURS[0], allowed=lambda _scope: allowed) == 403
    allowed.append(OURS[0])
    assert await status(OURS[0], allowed=lambda _scope: allowed) == "accepted"
