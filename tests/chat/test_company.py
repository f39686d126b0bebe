"""Who sees whom coming and going: those who share a room, in every process, at no query each."""

from __future__ import annotations

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async

from chat import company, delivery, hub, presence, rooms
from chat.fanout import Leases, News
from chat.models import Membership
from chat.standing import Standing
from pki.identity import Identity
from tests.chat import test_fanout
from tests.chat.ears import Ear
from tests.chat.sockets import connected

pytestmark = pytest.mark.django_db(transaction=True)
database = sync_to_async
redis_url, redis, until = test_fanout.redis_url, test_fanout.redis, test_fanout.until
processes, joined, Elsewhere = (
    test_fanout.processes,
    test_fanout.joined,
    test_fanout.Elsewhere,
)


@pytest.fixture(autouse=True)
def _impatience(monkeypatch):
    monkeypatch.setattr(company, "GATHER", 0.005)
    monkeypatch.setattr(company, "TURN", 0.01)
    monkeypatch.setattr(presence, "GRACE", 0.1)
    monkeypatch.setattr(presence, "PAUSE", 0.02)


def seen(ear):
    """What the ear was told last of each."""
    people = {}
    for frame in ear.frames("presence"):
        people |= frame["people"]
    return {int(user_id): state for user_id, state in people.items()}


async def sees(ear, **people):
    """Until the ear was told exactly this, by username."""
    expected = {getattr(ear.cast, name).user_id: state for name, state in people.items()}
    try:
        await until(lambda: seen(ear) == expected)
    except AssertionError:
        raise AssertionError(f"{seen(ear)} is not {expected}") from None


@pytest.fixture(autouse=True)
def _cast_in_reach(cast, monkeypatch):
    monkeypatch.setattr(Ear, "cast", cast, raising=False)


class TestOfOneProcess:
    async def test_who_shares_a_room_is_seen_and_nobody_else(self, cast, den, square, listening):
        alice, bob = await listening(cast.alice), await listening(cast.bob)
        charlie = await listening(cast.charlie)
        await sees(alice, alice="active", bob="active")
        await sees(bob, alice="active", bob="active")
        await asyncio.sleep(0.1)
        assert charlie.frames("presence") == []

    async def test_snapshot_is_one_frame(self, cast, den, listening):
        alice = await listening(cast.alice)
        await sees(alice, alice="active")
        bob = await listening(cast.bob)
        await sees(bob, alice="active", bob="active")
        assert len(bob.frames("presence")) == 1

    async def test_best_of_all_connections_counts(self, cast, den, listening):
        alice, bob = await listening(cast.alice), await listening(cast.bob)
        phone = await listening(cast.bob)

        def say(ear, state):
            listening.hub.hear_presence(
                user_id=cast.bob.user_id, key=ear.connection.key, state=state
            )

        say(bob, "away")
        await asyncio.sleep(0.1)
        await sees(alice, alice="active", bob="active")
        say(phone, "away")
        await sees(alice, alice="active", bob="away")
        say(bob, "active")
        await sees(alice, alice="active", bob="active")

    async def test_reload_does_not_blink_and_who_stays_away_is_offline(
        self, cast, den, listening, monkeypatch
    ):
        alice, bob = await listening(cast.alice), await listening(cast.bob)

        def say(state):
            listening.hub.hear_presence(
                user_id=cast.alice.user_id, key=alice.connection.key, state=state
            )

        await sees(alice, alice="active", bob="active")
        monkeypatch.setattr(presence, "GRACE", 3600)
        listening.hub.remove(bob.connection)
        say("away")
        await sees(alice, alice="away", bob="active")
        bob = await listening(cast.bob)
        monkeypatch.setattr(presence, "GRACE", 0.1)
        await asyncio.sleep(0.2)
        say("active")
        await sees(alice, alice="active", bob="active")
        told = [frame["people"] for frame in alice.frames("presence")]
        assert "offline" not in str(told)
        listening.hub.remove(bob.connection)
        await sees(alice, alice="active", bob="offline")

    async def test_who_joins_and_leaves_meets_and_parts(self, cast, square, at, listening):
        alice, bob = await listening(cast.alice), await listening(cast.bob)
        await sees(alice, alice="active")
        assert bob.frames("presence") == []
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        await sees(alice, alice="active", bob="active")
        await sees(bob, alice="active", bob="active")
        await database(rooms.leave)(actor=cast.bob, room=square, at=at)
        await sees(alice, alice="active", bob="offline")
        await sees(bob, alice="offline", bob="active")
        listening.hub.hear_presence(
            user_id=cast.alice.user_id, key=alice.connection.key, state="away"
        )
        await sees(alice, alice="away", bob="offline")
        assert seen(bob)[cast.alice.user_id] == "offline", "not one word more"

    async def test_who_shares_another_room_does_not_part(self, cast, den, square, at, listening):
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        alice, bob = await listening(cast.alice), await listening(cast.bob)
        await sees(alice, alice="active", bob="active")
        await database(rooms.leave)(actor=cast.bob, room=square, at=at)
        await asyncio.sleep(0.1)
        assert seen(alice)[cast.bob.user_id] == seen(bob)[cast.alice.user_id] == "active"

    async def test_hub_that_rests_remembers_nobody(self, cast, den, listening):
        alice = await listening(cast.alice)
        await sees(alice, alice="active")
        listening.hub.remove(alice.connection)
        assert listening.hub.company._places == {}
        assert listening.hub.company._timer is None
        assert not listening.hub.company._announced

    async def test_op_reaches_the_connection_it_came_by(self, cast, den):
        async with connected(cast.alice, cast.bob) as (alice, bob):
            assert await bob.ask("presence", state="away") == {"ref": 1, "ok": True}
            name = str(cast.bob.user_id)
            async with asyncio.timeout(30):
                while alice.company.get(name) != "away":
                    assert await alice.is_quiet(seconds=0.05)
            refused = await bob.ask("presence", state="offline")
            assert refused["error"]["code"] == "bad_request"


class TestOfSeveralProcesses:
    """What arrives from elsewhere, said by hand; the real layer is below."""

    async def hear(self, listening, origin, *people, **how):
        listening.hub.hear(News(leases=Leases(people, **how), origin=origin))

    async def test_people_of_another_process_are_placed_in_one_query(
        self, cast, den, square, listening, monkeypatch
    ):
        reads = []
        real = company._places

        async def read(user_ids):
            reads.append(user_ids)
            return await real(user_ids)

        monkeypatch.setattr(company, "_places", read)
        alice = await listening(cast.alice)
        bob, charlie = cast.bob.user_id, cast.charlie.user_id
        await self.hear(listening, "there", (bob, "active"), (charlie, "active"), is_all=True)
        await sees(alice, alice="active", bob="active")
        await self.hear(listening, "there", (bob, "away"))
        await sees(alice, alice="active", bob="away")
        assert reads == [{bob, charlie}]

    async def test_dead_process_takes_its_people_along(self, cast, den, listening):
        alice = await listening(cast.alice)
        await self.hear(listening, "there", (cast.bob.user_id, "active"), is_all=True)
        await sees(alice, alice="active", bob="active")
        listening.hub.heartbeat = 0.1
        began = time.monotonic()
        await self.hear(listening, "there", (cast.bob.user_id, "active"), is_all=True)
        await sees(alice, alice="active", bob="offline")
        assert time.monotonic() - began >= company.LEASE * 0.1

    async def test_person_of_another_process_who_leaves_the_room_is_hidden(
        self, cast, den, at, listening
    ):
        alice = await listening(cast.alice)
        await self.hear(listening, "there", (cast.bob.user_id, "active"))
        await sees(alice, alice="active", bob="active")
        await database(rooms.leave)(actor=cast.bob, room=den, at=at)
        await sees(alice, alice="active", bob="offline")
        await self.hear(listening, "there", (cast.bob.user_id, "away"))
        await asyncio.sleep(0.1)
        assert seen(alice)[cast.bob.user_id] == "offline"

    async def test_membership_that_changed_without_news_is_found_at_the_heartbeat(
        self, cast, den, listening
    ):
        alice = await listening(cast.alice)
        await self.hear(listening, "there", (cast.bob.user_id, "active"))
        await sees(alice, alice="active", bob="active")
        await Membership.objects.filter(user_id=cast.bob.user_id).adelete()
        await listening.hub.beat()
        await sees(alice, alice="active", bob="offline")

    async def test_hubs_tell_each_other(self, redis, cast, den, at, processes):
        alice = await processes(0, cast.alice)
        await joined(processes.hubs[0])
        bob = await processes(1, cast.bob)
        await sees(alice, alice="active", bob="active")
        await sees(bob, alice="active", bob="active")
        processes.hubs[1].hear_presence(
            user_id=cast.bob.user_id, key=bob.connection.key, state="away"
        )
        await sees(alice, alice="active", bob="away")
        processes.hubs[1].remove(bob.connection)
        await sees(alice, alice="active", bob="offline")


async def test_thousand_connections_cost_no_query_and_few_encodings(listening, monkeypatch):
    """One room of everybody, and a second one for every ten."""
    count = 1000
    for module, query in ((company, "_places"), (hub, "_standings"), (delivery, "_events_after")):
        monkeypatch.setattr(module, query, None)
    encoded = []
    real = company._letter
    monkeypatch.setattr(company, "_letter", lambda people: encoded.append(1) or real(people))
    ears = [Ear(person(number)) for number in range(count)]
    for number, ear in enumerate(ears):
        listening.hub.admit(ear.connection)
        listening.hub.open(ear.connection, places(number))
    await until(lambda: all(ear.frames("presence") for ear in ears))
    assert all(len(seen(ear)) == count for ear in ears)
    assert len(encoded) <= count / 10 * 3
    for ear in ears:
        listening.hub.remove(ear.connection)


def person(number):
    return Identity(
        user_id=10_000 + number,
        username=f"p{number}",
        name=f"P {number}",
        is_staff=False,
        certificate_id=number,
        serial=f"{number:x}",
        sha256=f"{number:064x}",
        not_after=None,
        device="",
    )


def places(number):
    common = {"name": "", "kind": "public", "head": 0, "read": 0, "role": "member"}
    common |= {"joined_seq": 0, "description": "", "posting": "members", "slow_seconds": 0}
    common |= {"archived_at": None, "notify": "all", "user_id": 10_000 + number}
    return [Standing(room_id=r, slug=f"r{r}", **common) for r in (1, 2 + number // 10)]
