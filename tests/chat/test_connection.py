from __future__ import annotations

from types import SimpleNamespace

import pytest

from chat.connection import FRAMING, Connection, Letters, letter
from chat.protocol import JSON, MESSAGEPACK, CloseCode, Limits
from project.tls.server import MESSAGE_BYTES, SEND_BACKLOG


@pytest.fixture
def wire():
    return SimpleNamespace(sent=[], backlog=0)


@pytest.fixture
def connection(wire):
    async def transmit(message):
        wire.sent.append(message)

    return Connection(
        identity=None,
        codec=JSON,
        transmit=transmit,
        backlog=lambda: wire.backlog,
        limits=Limits(backlog_bytes=10_000),
    )


async def test_push_that_would_wait_for_a_slow_reader_closes(connection, wire):
    room = 10_000 - FRAMING - 1
    wire.backlog = room
    await connection.push(letter("a"))
    wire.backlog = room + 1
    await connection.push(letter("b"))
    await connection.push(letter("c"))
    assert wire.sent == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.close", "code": 4030, "reason": "You read too slowly."},
    ]


async def test_reply_may_wait(connection, wire):
    wire.backlog = 10_000
    await connection.reply(b"a")
    assert wire.sent == [{"type": "websocket.send", "bytes": b"a"}]


def test_letter_is_weighed_in_bytes():
    assert letter("ä").size == letter(b"aa").size == 2


async def test_closes_once_and_says_nothing_after(connection, wire):
    await connection.close(CloseCode.REVOKED, "Because.")
    await connection.close(CloseCode.EXPIRED)
    await connection.push(letter("a"))
    await connection.reply("a")
    assert wire.sent == [{"type": "websocket.close", "code": 4501, "reason": "Because."}]


def test_letter_is_encoded_once_for_each_subprotocol():
    letters = Letters({"ev": "heads"})
    assert letters.for_(JSON) is letters.for_(JSON)
    assert letters.for_(JSON).message == {"type": "websocket.send", "text": '{"ev":"heads"}'}
    assert letters.for_(MESSAGEPACK).message["bytes"] == MESSAGEPACK.encode({"ev": "heads"})


def test_server_waits_for_no_push_that_the_limits_let_through():
    """A send that the server makes wait would hold up everybody else's push."""
    assert Limits().backlog_bytes <= SEND_BACKLOG


def test_server_takes_every_frame_that_the_limits_allow():
    assert Limits().frame_bytes <= MESSAGE_BYTES
