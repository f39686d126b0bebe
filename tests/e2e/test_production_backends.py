"""The running server on PostgreSQL and Redis: what is promised on SQLite holds there too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.database import own_database
from tests.e2e.server import Signet
from tests.e2e.test_delivery import Client, bodies
from tests.services import skip_without
from tests.test_backends import REDIS, answers


@pytest.fixture
def on_postgresql(tmp_path: Path) -> Iterator[Signet]:
    if not answers(REDIS, port=6379):
        skip_without("Redis")
    with own_database() as (name, url):
        extra = {"DATABASE_URL": url, "REDIS_URL": REDIS, "SIGNET_REDIS_PREFIX": name}
        deployment = Signet(tmp_path / "var", extra=extra)
        deployment.set_up()
        deployment.start()
        yield deployment
        if deployment.process:
            deployment.stop()


async def test_acknowledged_posts_survive_and_revocation_bites(on_postgresql: Signet) -> None:
    alice = Client(on_postgresql, on_postgresql.issue("alice"))
    bob = Client(on_postgresql, on_postgresql.issue("bob"))
    await alice.connect()
    await bob.connect()
    assert (await alice.post("before the kill"))["ok"]

    on_postgresql.kill()
    on_postgresql.start()
    await alice.connect()
    await bob.connect()
    assert (await bob.post("after the kill"))["ok"]
    await alice.catch_up()
    assert bodies(alice.log) == ["before the kill", "after the kill"]

    on_postgresql.manage("revoke_certificate", "--user", "bob", "--reason", "keyCompromise")
    done = time.monotonic()
    await bob.socket.wait_closed()
    assert time.monotonic() - done < 10  # sooner than the next heartbeat would find out
    assert bob.socket.close_code == 4501
    assert (await alice.post("still here"))["ok"]
    await alice.close()


async def test_many_requests_at_once_share_the_connections(on_postgresql: Signet) -> None:
    """Each request has a thread of its own; without a pool they would use up the database's."""
    identity = on_postgresql.issue("alice")

    async def ask() -> int:
        reader, writer = await asyncio.open_connection(
            "localhost", on_postgresql.main, ssl=on_postgresql.client_context(identity)
        )
        writer.write(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["user"]["username"] == "alice"
        return int(answer.split()[1])

    assert set(await asyncio.gather(*(ask() for _ in range(150)))) == {200}
