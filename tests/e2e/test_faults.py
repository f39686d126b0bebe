"""Whatever breaks, every client ends with exactly the database's log, and no message is lost.

Twenty clients write while sockets, server processes, Redis and database connections are killed at
random. FAULT_SECONDS says for how long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.e2e.crowd import Member
from tests.e2e.database import own_database
from tests.e2e.server import Signet, free_ports
from tests.e2e.test_workers import Company, until
from tests.services import require
from tests.test_backends import POSTGRESQL, answers

SECONDS = float(os.environ.get("FAULT_SECONDS", "25"))
CLIENTS = 20
NAMES = ("ada", "ben", "cleo", "dan", "eve")
SETTLING = 60  # seconds for everything to be delivered once the last thing was done
HEARTBEAT = 25
LOCKING = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
time.sleep(2)
"""
Fault = Callable[[], Awaitable[object]]


class Redis:
    """A Redis of our own, which may be killed."""

    def __init__(self, directory: Path) -> None:
        self.port = free_ports(1)[0]
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        require("redis-server")
        self.process = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
                *("--save", "", "--appendonly", "no", "--dir", str(self.directory)),
            ],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: answers(self.url, port=self.port))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def company(tmp_path: Path, redis: Redis) -> Iterator[Company]:
    """Two workers on PostgreSQL and a Redis that is theirs alone."""
    with own_database() as (_, url):
        deployment = Company(tmp_path / "var", extra={"DATABASE_URL": url, "REDIS_URL": redis.url})
        deployment.set_up()
        yield deployment
        if deployment.process:
            deployment.kill()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Signet]:
    """One process on SQLite."""
    deployment = Signet(tmp_path / "var")
    deployment.set_up()
    yield deployment
    if deployment.process:
        deployment.kill()


async def gather_crowd(signet: Signet) -> list[Member]:
    """Twenty clients of five people, all in the same two rooms."""
    identities = [signet.issue(name) for name in NAMES]
    url = f"wss://localhost:{signet.main}/ws/chat/"
    crowd = [
        Member(
            url, signet.client_context(identities[n % len(NAMES)]), ["general", "workshop"], seed=n
        )
        for n in range(CLIENTS)
    ]
    staying = [asyncio.create_task(crowd[n].stay()) for n in range(len(NAMES))]
    made = await crowd[0].ask("create", room="workshop", name="Workshop", kind="public")
    assert made["ok"], made
    for member in crowd[1 : len(NAMES)]:
        assert (await member.ask("join", room="workshop"))["ok"]
    for task in staying:
        task.cancel()
    await asyncio.wait(staying)
    for member in crowd:
        member._lost()
    return crowd


async def plague(faults: Sequence[Fault], *, until: float, seed: int) -> int:
    """Let something break every one to three seconds."""
    chance, count = random.Random(seed), 0
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(0.5, 2.5))
        await chance.choice(faults)()
        count += 1
    return count


async def endure(crowd: list[Member], faults: Sequence[Fault]) -> int:
    """The crowd lives through the plague, and has time to settle then; how much went wrong."""
    end = time.monotonic() + SECONDS
    background = [asyncio.create_task(m.stay()) for m in crowd]
    background += [asyncio.create_task(m.catch_up()) for m in crowd]
    living = asyncio.gather(*(member.live(end) for member in crowd))
    count = await plague(faults, until=end, seed=7)
    await asyncio.wait_for(living, SECONDS + SETTLING * 2)
    await settle(crowd)
    for task in background:
        task.cancel()
    await asyncio.wait(background)
    return count


async def settle(crowd: list[Member]) -> None:
    """Wait until everybody has all that anybody has heard of."""
    async with asyncio.timeout(SETTLING):
        while True:
            heads = {room: max(m.logs[room].head for m in crowd) for room in crowd[0].logs}
            if all(m.logs[room].last >= head for m in crowd for room, head in heads.items()):
                return
            await asyncio.sleep(0.2)


async def stored(crowd: list[Member]) -> Member:
    """A client that knows nothing yet and reads it all: what the database holds."""
    fresh = Member(crowd[0].url, crowd[0].context, list(crowd[0].logs), seed=99)
    staying = asyncio.create_task(fresh.stay())
    await asyncio.wait_for(fresh._ready.wait(), SETTLING)
    await asyncio.wait_for(fresh.complete(), SETTLING)
    staying.cancel()
    await asyncio.wait([staying])
    return fresh


async def hold_to_account(crowd: list[Member]) -> None:
    """Every client has the database's log; what was acknowledged is in it, once."""
    truth = await stored(crowd)
    for room, log in truth.logs.items():
        assert [event["seq"] for event in log.events] == list(range(1, log.last + 1))
        for number, member in enumerate(crowd):
            assert member.logs[room].events == log.events, f"client {number} in {room}"
    posts = [
        (event["data"]["client_id"], event["id"])
        for log in truth.logs.values()
        for event in log.events
        if event["type"] == "message.posted"
    ]
    acknowledged = [pair for member in crowd for pair in member.posted.items()]
    assert len(posts) == len({client_id for client_id, _ in posts})
    assert sorted(posts) == sorted(acknowledged)
    assert {client_id for client_id, _ in posts} == set().union(*(m.asked for m in crowd))
    assert [refusal for member in crowd for refusal in member.refused] == []
    assert len(posts) > CLIENTS


async def test_everybody_ends_with_the_log_on_sqlite(alone: Signet) -> None:
    alone.start()
    crowd = await gather_crowd(alone)
    chance = random.Random(1)

    async def lose_sockets() -> None:
        for member in chance.sample(crowd, 4):
            member.abort()

    async def kill_server() -> None:
        await asyncio.to_thread(alone.kill)
        await asyncio.to_thread(alone.start)

    async def lock_database() -> None:
        """Somebody else writes, and takes their time."""
        file = alone.home / "signet.sqlite3"
        process = await asyncio.create_subprocess_exec("python3", "-c", LOCKING, str(file))
        await process.wait()

    faults = [lose_sockets, lose_sockets, kill_server, lock_database]
    assert await endure(crowd, faults) >= SECONDS / 12
    await hold_to_account(crowd)


async def test_everybody_ends_with_the_log_on_postgresql(company: Company, redis: Redis) -> None:
    redis.start()
    company.serve()
    crowd = await gather_crowd(company)
    chance = random.Random(2)

    async def lose_sockets() -> None:
        for member in chance.sample(crowd, 4):
            member.abort()

    async def kill_worker() -> None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(company.workers()), signal.SIGKILL)

    async def kill_redis() -> None:
        redis.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(redis.start)

    async def cut_database() -> None:
        with psycopg.connect(POSTGRESQL, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [urlsplit(company.extra["DATABASE_URL"]).path[1:]],
            )

    faults = [lose_sockets, kill_worker, kill_redis, cut_database]
    assert await endure(crowd, faults) >= SECONDS / 12
    await hold_to_account(crowd)


async def test_without_a_channel_layer_a_heartbeat_is_enough(
    company: Company, redis: Redis
) -> None:
    """Redis is not there at all; what one worker writes is found by the other by itself."""
    redis.start()
    company.serve()
    redis.kill()
    first, second = company.workers()
    here, there = (
        Member(
            f"wss://localhost:{company.main}/ws/chat/",
            company.client_context(company.issue(name)),
            ["general"],
            seed=1,
        )
        for name in ("ada", "ben")
    )
    tasks = []
    for member, worker in ((here, first), (there, second)):
        with company.only(worker):
            tasks.append(asyncio.create_task(member.stay()))
            await asyncio.wait_for(member._ready.wait(), 30)
    posted = [
        await here.ask("post", room="general", client_id=f"c{n}", body="hi") for n in range(3)
    ]
    assert all(reply["ok"] for reply in posted)
    last = posted[-1]["event"]["seq"]
    async with asyncio.timeout(HEARTBEAT + 10):
        while there.logs["general"].head < last:
            await asyncio.sleep(0.1)
    await there.complete()
    assert there.logs["general"].events[-3:] == [reply["event"] for reply in posted]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
