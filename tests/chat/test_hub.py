"""Who is told what of which room while people come and go, whatever gets lost."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from chat import delivery, fanout, hub, members, recheck, rooms
from chat.fanout import News
from chat.models import LogEpoch, Membership, Mention, Message, Room
from tests.chat.ears import post, settled
from tests.chat.sockets import connected

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alone")]
database = sync_to_async


class TestLeaving:
    async def test_ex_member_of_a_lagging_hub_gets_nothing_after_the_farewell(
        self, cast, den, at, listening, deaf
    ):
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await post(cast.alice, den, at)
        await database(rooms.leave)(actor=cast.bob, room=den, at=at)
        await post(cast.alice, den, at, count=3)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 7),)))
        await settled(listening.hub)

        assert alice.seqs == [3, 4, 5, 6, 7]
        assert bob.seqs == [3, 4]

    async def test_who_left_and_came_back_unheard_is_in(self, cast, square, at, listening, deaf):
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await database(rooms.leave)(actor=cast.bob, room=square, at=at)
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        await post(cast.alice, square, at)
        await listening.hub.beat()
        await settled(listening.hub)
        await post(cast.bob, square, at)
        await listening.hub.beat()
        assert alice.seqs == bob.seqs == [3, 4, 5, 6]

    async def test_old_farewell_does_not_put_out_who_is_back(
        self, cast, square, at, listening, deaf
    ):
        """The hub learns of the return before it reads the farewell."""
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await database(rooms.leave)(actor=cast.bob, room=square, at=at)
        await listening.hub.settle([cast.bob.user_id])
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        await listening.hub.settle([cast.bob.user_id])
        await listening.hub.beat()
        await settled(listening.hub)
        assert alice.seqs == [3, 4]
        assert [frame["ev"] for frame in bob.frames()] == ["gone", "room", "event", "heads"]

    async def test_membership_that_comes_while_they_are_read_is_kept(
        self, cast, square, at, listening, monkeypatch
    ):
        bob = await listening(cast.bob)
        real = hub._standings
        joined = []

        async def read(people):
            found = await real(people)
            if not joined:
                joined.append(await database(rooms.join)(actor=cast.bob, room=square, at=at))
                room = joined[0].event.room_id
                standing = next(s for s in await real(people) if s.room_id == room)
                listening.hub.delivery.subscribe(bob.connection, standing, position=standing.head)
                await asyncio.sleep(0.01)
            return found

        monkeypatch.setattr(hub, "_standings", read)
        await listening.hub.settle([cast.bob.user_id])
        await settled(listening.hub)
        assert bob.frames("gone") == []

    async def test_membership_that_vanished_without_news_ends_at_the_next_heartbeat(
        self, cast, den, at, listening
    ):
        bob = await listening(cast.bob)
        await post(cast.alice, den, at)
        await Membership.objects.filter(user_id=cast.bob.user_id).adelete()
        await listening.hub.beat()
        await post(cast.alice, den, at)
        await settled(listening.hub)
        assert bob.seqs == [3]
        assert bob.frames()[-2:] == [
            {"ev": "gone", "room": den},
            {"ev": "heads", "rooms": {}},
        ]

    @pytest.mark.parametrize("verb", ["remove", "ban"])
    async def test_who_was_put_out_gets_nothing_after_from_a_lagging_hub(
        self, cast, den, at, listening, deaf, verb
    ):
        """As in another process, which hears of it last."""
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await post(cast.alice, den, at)
        reason = {"reason": "Spam"} if verb == "ban" else {}
        await database(getattr(members, verb))(
            actor=cast.alice, room=den, user="bob", at=at, **reason
        )
        await post(cast.alice, den, at, count=3)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 7),)))
        await settled(listening.hub)

        assert alice.seqs == [3, 4, 5, 6, 7]
        assert bob.seqs == [3, 4]

    async def test_who_was_put_out_before_any_event_was_heard_of_is_told_so(
        self, cast, den, at, listening, deaf
    ):
        bob = await listening(cast.bob)
        await database(members.remove)(actor=cast.alice, room=den, user="bob", at=at)
        await post(cast.alice, den, at)
        listening.hub.hear(News(people=(cast.bob.user_id,)))
        await settled(listening.hub)
        assert bob.frames("gone") == [{"ev": "gone", "room": den}]
        await post(cast.alice, den, at)
        await listening.hub.beat()
        assert bob.seqs == []


class TestTerms:
    """What a connection was told of a room is told anew when it is not so any more."""

    async def test_lost_news_of_a_changed_room_is_found_by_the_heartbeat(
        self, cast, den, at, listening, deaf
    ):
        bob = await listening(cast.bob)
        await database(rooms.change_room)(actor=cast.alice, room=den, archived=True, at=at)
        await listening.hub.beat()
        await listening.hub.beat()
        [fresh] = bob.frames("room")
        assert (fresh["room"], fresh["archived"]) == (den, True)

    async def test_fresh_room_counts_mentions_and_ends_where_the_connection_is(
        self, cast, den, at, listening
    ):
        bob = await listening(cast.bob)
        await post(cast.alice, den, at, count=2)

        def mention():
            found = Message.objects.get(room__slug=den, seq=4)
            Mention.objects.create(message=found, room=found.room, seq=4, user_id=cast.bob.user_id)

        await database(mention)()
        await database(members.set_notices)(actor=cast.bob, room=den, level="nothing")
        await settled(listening.hub)
        [fresh] = bob.frames("room")
        assert (fresh["head"], fresh["mentions"], fresh["notify"]) == (4, 1, "nothing")

    async def test_change_of_a_room_takes_as_many_queries_for_many(
        self, cast, den, at, listening, monkeypatch
    ):
        asked = []
        real = hub._with_mentions

        async def count(standings):
            asked.append(len(standings))
            return await real(standings)

        monkeypatch.setattr(hub, "_with_mentions", count)
        ears = [await listening(person) for person in (cast.alice, cast.bob, cast.bob)]
        await database(rooms.change_room)(actor=cast.alice, room=den, name="Lair", at=at)
        await settled(listening.hub)
        assert [[frame["name"] for frame in ear.frames("room")] for ear in ears] == [["Lair"]] * 3
        assert asked == [3]

    async def test_new_name_of_the_other_shows_in_a_direct_room(self, cast, people, at, listening):
        await database(rooms.create_room)(
            actor=cast.alice, room="d", name="x", kind="direct", members=["bob"], at=at
        )
        alice = await listening(cast.alice)
        people.bob.name = "Robert"
        await people.bob.asave()
        await listening.hub.beat()
        assert [frame["name"] for frame in alice.frames("room")] == ["Robert"]


class TestHeartbeat:
    async def test_lost_news_is_found_and_heads_come_from_the_database(
        self, cast, den, at, listening, deaf
    ):
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await post(cast.alice, den, at, count=3)
        await settled(listening.hub)
        assert bob.frames("event") == []

        await listening.hub.beat()
        assert bob.seqs == alice.seqs == [3, 4, 5]
        assert bob.frames()[-1] == {"ev": "heads", "rooms": {den: 5}}

    async def test_lost_membership_is_found(self, cast, square, at, listening, deaf):
        bob = await listening(cast.bob)
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        await listening.hub.beat()
        assert [frame["ev"] for frame in bob.frames()] == ["room", "event", "heads"]

    async def test_beat_takes_two_queries_for_everybody(
        self, cast, den, square, at, listening, monkeypatch
    ):
        for who in (cast.alice, cast.bob, cast.charlie):
            for _ in range(4):
                await listening(who)
        calls = []
        for module, name in (
            (recheck, "_refusals"),
            (hub, "_standings"),
            (delivery, "_events_after"),
        ):
            real = getattr(module, name)

            async def count(*args, name=name, real=real):
                calls.append(name)
                return await real(*args)

            monkeypatch.setattr(module, name, count)
        await listening.hub.beat()
        assert calls == ["_refusals", "_standings"]

    async def test_silent_connection_is_closed(self, cast, listening):
        now = 0.0
        listening.hub.clock = lambda: now
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        now = 500.0
        alice.connection.pace.take(now)
        now = 700.0
        await listening.hub.beat()
        assert (bob.code, alice.code) == (4008, None)

    async def test_beat_comes_by_itself(self, cast, den, listening):
        listening.hub.heartbeat = 0.02
        bob = await listening(cast.bob)
        async with asyncio.timeout(30):
            while len(bob.frames("heads")) < 2:
                await asyncio.sleep(0.01)

    async def test_who_cannot_be_looked_up_twice_in_a_row_is_sent_away(
        self, cast, den, listening, monkeypatch
    ):
        failed = []

        async def fail(identities):
            failed.append(identities)
            raise OperationalError

        monkeypatch.setattr(recheck, "_refusals", fail)
        listening.hub.heartbeat = 0.02
        bob = await listening(cast.bob)
        async with asyncio.timeout(30):
            while bob.code is None:
                await asyncio.sleep(0.01)
        assert len(failed) == 2
        assert bob.code == 1013

    async def test_database_that_never_answers_counts_as_failed(
        self, cast, den, listening, monkeypatch
    ):
        begun, answer = threading.Event(), threading.Event()

        def never(_identities, *, at):
            begun.set()
            assert answer.wait(60)
            return {}

        monkeypatch.setattr(recheck, "refusals", never)
        monkeypatch.setattr(hub, "PATIENCE", 0.05, raising=False)
        listening.hub.heartbeat = 0.02
        bob = await listening(cast.bob)
        try:
            async with asyncio.timeout(10):
                while bob.code is None:
                    await asyncio.sleep(0.01)
        finally:
            answer.set()
        assert bob.code == 1013
        assert begun.is_set()

    async def test_heads_name_no_room_that_was_left_while_they_were_looked_up(
        self, cast, den, square, at, listening, deaf, monkeypatch
    ):
        """The farewell is delivered after the places were read, and before heads are told."""
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await post(cast.alice, den, at)
        real = hub._standings

        async def read(people):
            found = await real(people)
            monkeypatch.setattr(hub, "_standings", real)
            await database(rooms.leave)(actor=cast.bob, room=den, at=at)
            return found

        monkeypatch.setattr(hub, "_standings", read)
        await listening.hub.beat()
        assert bob.seqs == [3, 4]
        assert bob.frames("heads") == [{"ev": "heads", "rooms": {square: 2}}]
        assert alice.frames("heads")[0]["rooms"].keys() == {den, square}

    async def test_bucket_of_a_person_outlives_the_connection_while_it_drips(self, cast, listening):
        now = 0.0
        listening.hub.clock = lambda: now
        bob, _alice = await listening(cast.bob), await listening(cast.alice)
        bob.connection.pace.take(now)
        listening.hub.remove(bob.connection)
        await listening.hub.beat()
        assert cast.bob.user_id in listening.hub._buckets
        now = 60.0
        await listening.hub.beat()
        assert cast.bob.user_id not in listening.hub._buckets


class TestEnding:
    async def test_hub_rests_when_nobody_is_there_and_wakes_again(self, cast, den, at, listening):
        for _ in range(2):
            bob = await listening(cast.bob)
            await post(cast.alice, den, at)
            await settled(listening.hub)
            assert len(bob.seqs) == 1
            listening.hub.remove(bob.connection)
            async with asyncio.timeout(30):
                while listening.hub._tasks:
                    await asyncio.sleep(0.01)
            assert not listening.hub.rooms
            assert listening.hub not in fanout._listeners

    async def test_heart_that_stopped_by_its_own_hand_does_not_beat_on(
        self, cast, listening, monkeypatch
    ):
        now = 0.0
        listening.hub.clock = lambda: now
        listening.hub.heartbeat = 0.02
        silent = await listening(cast.bob)
        now = 700.0
        async with asyncio.timeout(30):
            while silent.code is None:
                await asyncio.sleep(0.005)
        assert silent.code == 4008

        await listening(cast.alice)
        await asyncio.sleep(0.1)
        names = [task.get_coro().__name__ for task in listening.hub._tasks]
        assert names.count("_beat_for_ever") == 1

    async def test_everybody_can_be_sent_away(self, cast, listening):
        ears = [await listening(cast.bob), await listening(cast.alice)]
        await listening.hub.close_all(hub.CloseCode.RESTART)
        assert [ear.code for ear in ears] == [1012, 1012]


async def test_epoch_of_a_restored_log_is_another(cast):
    async with connected(cast.alice, cast.alice) as (one, other):
        assert one.ready["epoch"] == other.ready["epoch"]
    await LogEpoch.objects.all().adelete()
    async with connected(cast.alice) as (later,):
        assert later.ready["epoch"] != one.ready["epoch"]


async def test_what_swallows_its_cancellation_is_cancelled_until_it_ends(
    cast, den, listening, monkeypatch
):
    monkeypatch.setattr(hub, "INSISTING", 0.01)
    bob = await listening(cast.bob)
    swallowed = 0

    async def stubborn():
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1

    task = listening.hub.spawn(stubborn())
    await asyncio.sleep(0.01)
    listening.hub.remove(bob.connection)
    await asyncio.wait([task], timeout=30)
    assert swallowed == 3
    assert task.done()
