from __future__ import annotations

from types import SimpleNamespace

import pytest

from chat.connection import Connection, Letters, message_of
from chat.protocol import JSON, MESSAGEPACK, CloseCode, Limits


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
        limits=Limits(backlog_bytes=10),
    )


async def test_writes_until_the_peer_reads_too_slowly(connection, wire):
    wire.backlog = 10
    await connection.write(message_of("a"))
    wire.backlog = 11
    await connection.write(message_of("b"))
    await connection.write(message_of("c"))
    assert wire.sent == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.close", "code": 4030, "reason": "You read too slowly."},
    ]


async def test_closes_once_and_says_nothing_after(connection, wire):
    await connection.close(CloseCode.REVOKED, "Because.")
    await connection.close(CloseCode.EXPIRED)
    await connection.write(message_of("a"))
    assert wire.sent == [{"type": "websocket.close", "code": 4501, "reason": "Because."}]


def test_letter_is_encoded_once_for_each_subprotocol():
    letters = Letters({"ev": "heads"})
    assert letters.for_(JSON) is letters.for_(JSON)
    assert letters.for_(JSON) == {"type": "websocket.send", "text": '{"ev":"heads"}'}
    assert letters.for_(MESSAGEPACK)["bytes"] == MESSAGEPACK.encode({"ev": "heads"})
