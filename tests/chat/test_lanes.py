"""Whoever is slow holds up their own kind alone: a search, a post that waits for a lock, a read."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from chat import consumers, hub, lanes
from chat.requests import Ping, Request
from tests.chat.ears import database
from tests.chat.sockets import connected
from tests.chat.test_consumers import message, revoke

SOON = 10  # seconds; what is held up waits for the test to end
READ_ONLY = {
    "sync", "history", "thread", "pins", "certificates",
    "members", "rooms", "people", "typing", "presence",
}  # fmt: skip


def kinds(of: type[Request] = Request) -> list[type[Request]]:
    found = [one for kind in of.__subclasses__() for one in (kind, *kinds(kind))]
    return [kind for kind in found if hasattr(kind, "op") and kind is not Ping]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.op)
def test_every_request_has_its_lane(kind):
    lane = lanes.lane_of(object.__new__(kind))
    expected = lanes.READING if kind.op in READ_ONLY else lanes.WRITING
    assert lane is (lanes.SEARCHING if kind.op == "search" else expected)


def test_lanes_leave_most_connections_to_the_pages():
    """Of 20 unless SIGNET_DATABASE_CONNECTIONS says otherwise."""
    assert sum(lane.threads for lane in lanes.LANES) <= 12


@asynccontextmanager
async def held(monkeypatch, *ops):
    """These requests last until the end."""
    release, begun = threading.Event(), threading.Semaphore(0)
    real = consumers.perform

    def perform(request, **options):
        if request.op in ops:
            begun.release()
            assert release.wait(60)
        return real(request, **options)

    monkeypatch.setattr(consumers, "perform", perform)
    try:
        yield begun
    finally:
        release.set()


async def ask_in_vain(client, op, **fields):
    await client.send(client.codec.encode({"op": op, "ref": 0, **fields}))


@pytest.mark.django_db(transaction=True)
class TestHeldUp:
    SLOW = (
        ("search", {"query": "word"}),
        ("history", {"room": "den", "before": 9, "limit": 1}),
        ("notify", {"room": "den", "level": "all"}),
    )

    @pytest.mark.parametrize(("slow", "fields"), SLOW, ids=[op for op, _ in SLOW])
    async def test_slow_requests_of_one_kind_hold_up_no_other(
        self, cast, den, monkeypatch, slow, fields
    ):
        others = {
            "search": ("search", {"query": "word"}),
            "history": ("members", {"room": den}),
            "notify": ("post", message(den)),
        }
        del others[slow]
        async with (
            connected(cast.bob, *[cast.alice] * 8) as (bob, *crowd),
            held(monkeypatch, slow) as begun,
        ):
            for client in crowd:
                await ask_in_vain(client, slow, **fields)
            assert await asyncio.to_thread(begun.acquire, timeout=SOON)
            async with asyncio.timeout(SOON):
                for op, wanted in others.values():
                    assert (await bob.ask(op, **wanted))["ok"], op
                if slow != "notify":
                    assert (await bob.push("event"))["seq"] == 3

    @pytest.mark.parametrize(("slow", "fields"), SLOW, ids=[op for op, _ in SLOW])
    async def test_revocation_waits_for_no_request(self, cast, den, monkeypatch, slow, fields):
        async with (
            connected(cast.bob, *[cast.alice] * 8) as (bob, *crowd),
            held(monkeypatch, slow) as begun,
        ):
            await database(revoke)(cast.bob)
            for client in crowd:
                await ask_in_vain(client, slow, **fields)
            assert await asyncio.to_thread(begun.acquire, timeout=SOON)
            hub.recheck_all()
            async with asyncio.timeout(SOON):
                assert await bob.closed() == 4501

    async def test_revocation_waits_for_no_delivery(self, cast, den, monkeypatch):
        release, begun = threading.Event(), threading.Event()

        def wait():
            begun.set()
            assert release.wait(60)

        async with connected(cast.bob) as (bob,):
            await database(revoke)(cast.bob)
            waiting = [asyncio.create_task(lanes.HUB.run(wait)) for _ in range(4)]
            try:
                assert await asyncio.to_thread(begun.wait, SOON)
                hub.recheck_all()
                async with asyncio.timeout(SOON):
                    assert await bob.closed() == 4501
            finally:
                release.set()
                await asyncio.gather(*waiting)
