"""Delivery: in order, once, without holes, to those who may have it, whatever gets lost."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections

from chat import fanout, hub, services
from chat.connection import Connection
from chat.fanout import News
from chat.models import Event, LogEpoch, Membership, Room
from chat.protocol import JSON, MESSAGEPACK, Limits
from chat.standing import standings
from tests.chat.sockets import connected

pytestmark = pytest.mark.django_db(transaction=True)
database = sync_to_async


def message(room, body="hello"):
    return {"room": room, "body": body, "client_id": str(uuid.uuid4())}


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """One process: what passes between several is tried in test_fanout."""
    monkeypatch.setattr(fanout, "_layer", lambda: None)


@pytest.fixture
def deaf(monkeypatch):
    """News is lost: whatever is announced reaches no hub."""
    monkeypatch.setattr(fanout, "announce", lambda _news: None)


class Ear:
    """A connection of the hub with a socket that writes everything down."""

    def __init__(self, identity, *, codec=JSON, limits=None):
        self.sent = []
        self.backlog = 0
        self.on_send = None
        self.connection = Connection(
            identity=identity,
            codec=codec,
            transmit=self.transmit,
            backlog=lambda: self.backlog,
            limits=limits or Limits(),
        )

    async def transmit(self, message):
        if self.on_send is not None:
            await self.on_send()
        self.sent.append(message)

    def frames(self, ev=None):
        found = [
            self.connection.codec.decode(m.get("text", m.get("bytes")))
            for m in self.sent
            if m["type"] == "websocket.send"
        ]
        return [frame for frame in found if ev in (None, frame["ev"])]

    @property
    def seqs(self):
        return [frame["seq"] for frame in self.frames("event")]

    @property
    def code(self):
        return next((m["code"] for m in self.sent if m["type"] == "websocket.close"), None)


@pytest.fixture
async def listening():
    """A hub of the test's own, and a way to put ears into it."""
    subject = hub.Hub(heartbeat=3600)
    ears = []

    async def listen(identity, **options):
        ear = Ear(identity, **options)
        subject.admit(ear.connection)
        ears.append(ear)
        subject.open(ear.connection, await database(standings)([identity.user_id]))
        return ear

    listen.hub = subject
    yield listen
    for ear in ears:
        subject.remove(ear.connection)
    await asyncio.sleep(0)


async def settled(subject):
    """Until nothing is under way but waiting."""
    for _ in range(200):
        await asyncio.sleep(0.005)
        if len(subject._tasks) <= 1:  # the heartbeat; the line has nothing to listen to
            return
    raise AssertionError("the hub does not come to rest")


async def post(actor, room, at, count=1):
    def work():
        for _ in range(count):
            services.post_message(
                actor=actor, room=room, client_id=str(uuid.uuid4()), body="hello", at=at
            )

    await database(work)()


class TestDelivery:
    async def test_two_subprotocols_and_many_readers_cost_one_encoding_each(
        self, cast, den, at, listening, monkeypatch
    ):
        encoded = []
        for codec in (JSON, MESSAGEPACK):
            real = type(codec).encode
            monkeypatch.setattr(
                type(codec), "encode", lambda s, m, real=real: encoded.append(s.name) or real(s, m)
            )
        ears = [await listening(cast.bob) for _ in range(5)]
        ears += [await listening(cast.alice, codec=MESSAGEPACK) for _ in range(5)]
        await post(cast.alice, den, at)
        await settled(listening.hub)

        assert [ear.seqs for ear in ears] == [[3]] * 10
        assert sorted(encoded) == ["signet.v1.json", "signet.v1.msgpack"]

    async def test_announced_event_of_this_process_is_not_read_again(
        self, cast, den, at, listening, monkeypatch
    ):
        ear = await listening(cast.bob)

        async def read(*_args):
            raise AssertionError("read from the database")

        monkeypatch.setattr(hub, "_events_after", read)
        await post(cast.alice, den, at, count=5)
        await settled(listening.hub)
        assert ear.seqs == [3, 4, 5, 6, 7]

    async def test_bare_wake_up_is_read_in_one_query(
        self, cast, den, at, listening, deaf, monkeypatch
    ):
        reads = []
        real = hub._events_after

        async def read(*args):
            reads.append(args)
            return await real(*args)

        monkeypatch.setattr(hub, "_events_after", read)
        ears = [await listening(cast.bob) for _ in range(10)]
        await post(cast.alice, den, at, count=20)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 22),)))
        await settled(listening.hub)

        assert [ear.seqs for ear in ears] == [list(range(3, 23))] * 10
        assert reads == [(room.pk, 2)]

    async def test_wake_ups_may_be_doubled_late_and_in_any_order(
        self, cast, den, at, listening, deaf
    ):
        ear = await listening(cast.bob)
        await post(cast.alice, den, at, count=5)
        events = {
            e.seq: e async for e in Event.objects.select_related("room", "by").filter(seq__gt=2)
        }
        room = events[3].room
        for seq in (7, 3, 7, 5, 4, 6, 3):
            listening.hub.hear(News(rooms=((room.pk, seq),), event=events[seq]))
            await asyncio.sleep(0)
        listening.hub.hear(News(rooms=((room.pk, 99),)))
        await settled(listening.hub)
        assert ear.seqs == [3, 4, 5, 6, 7]

    async def test_wake_up_for_a_room_of_nobody_here_costs_nothing(
        self, cast, den, square, at, listening, monkeypatch
    ):
        await listening(cast.bob)
        monkeypatch.setattr(hub, "_events_after", None)
        room = await Room.objects.aget(slug=square)
        listening.hub.hear(News(rooms=((room.pk, 9),)))
        await settled(listening.hub)

    async def test_who_comes_while_events_are_under_way_misses_none(
        self, cast, den, at, listening, deaf
    ):
        """The hub is ahead of what the newcomer was told in `ready`."""
        early = await listening(cast.bob)
        told = await database(standings)([cast.alice.user_id])
        await post(cast.bob, den, at, count=3)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 5),)))
        await settled(listening.hub)
        assert early.seqs == [3, 4, 5]

        late = Ear(cast.alice)
        listening.hub.admit(late.connection)
        listening.hub.open(late.connection, told)
        await settled(listening.hub)
        await post(cast.bob, den, at)
        listening.hub.hear(News(rooms=((room.pk, 6),)))
        await settled(listening.hub)

        assert late.seqs == [3, 4, 5, 6]
        assert early.seqs == [3, 4, 5, 6]
        listening.hub.remove(late.connection)

    async def test_who_comes_in_the_middle_of_a_delivery_misses_none(
        self, cast, den, at, listening, deaf
    ):
        early = await listening(cast.bob)
        late = Ear(cast.alice)
        told = await database(standings)([cast.alice.user_id])
        await post(cast.bob, den, at, count=4)

        async def come_in():
            early.on_send = None
            listening.hub.admit(late.connection)
            listening.hub.open(late.connection, told)

        early.on_send = come_in
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 6),)))
        await settled(listening.hub)

        assert early.seqs == [3, 4, 5, 6]
        assert late.seqs == [3, 4, 5, 6]
        listening.hub.remove(late.connection)

    async def test_who_comes_in_while_events_are_read_misses_none(
        self, cast, den, at, listening, deaf, monkeypatch
    ):
        early = await listening(cast.bob)
        late = Ear(cast.alice)
        told = await database(standings)([cast.alice.user_id])
        await post(cast.bob, den, at, count=2)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 4),)))
        await settled(listening.hub)
        await post(cast.bob, den, at, count=2)
        real = hub._events_after

        async def read(*args):
            events = await real(*args)
            if not late.connection.is_open:
                listening.hub.admit(late.connection)
                listening.hub.open(late.connection, told)
            return events

        monkeypatch.setattr(hub, "_events_after", read)
        listening.hub.hear(News(rooms=((room.pk, 6),)))
        await settled(listening.hub)
        assert early.seqs == late.seqs == [3, 4, 5, 6]
        listening.hub.remove(late.connection)

    async def test_member_who_joins_before_ready_is_released_hears_the_room(
        self, cast, square, at, listening
    ):
        ear = Ear(cast.bob)
        listening.hub.admit(ear.connection)
        told = await database(standings)([cast.bob.user_id])
        await database(services.join)(actor=cast.bob, room=square, at=at)
        await settled(listening.hub)
        assert ear.sent == []

        listening.hub.open(ear.connection, told)
        await settled(listening.hub)
        assert [frame["ev"] for frame in ear.frames()] == ["room", "event"]
        listening.hub.remove(ear.connection)

    async def test_nothing_is_delivered_before_ready_is_released(self, cast, den, at, listening):
        ear = Ear(cast.bob)
        listening.hub.admit(ear.connection)
        await post(cast.alice, den, at)
        await listening.hub.beat()
        assert ear.sent == []
        listening.hub.remove(ear.connection)

    async def test_crowd_of_writers_and_readers_agree(self, cast, den, at, listening):
        ears = [await listening(who) for who in (cast.alice, cast.bob) for _ in range(3)]

        def write(actor):
            try:
                for _ in range(15):
                    services.post_message(
                        actor=actor, room=den, client_id=str(uuid.uuid4()), body="x", at=at
                    )
            finally:
                connections.close_all()

        threads = [
            threading.Thread(target=write, args=[actor]) for actor in (cast.alice, cast.bob) * 2
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.01)
        await settled(listening.hub)
        assert [ear.seqs for ear in ears] == [list(range(3, 63))] * 6

    async def test_dead_connection_does_not_stop_the_others(self, cast, den, at, listening):
        async def fail():
            raise ConnectionResetError

        dead, living = await listening(cast.bob), await listening(cast.alice)
        dead.on_send = fail
        await post(cast.alice, den, at)
        await settled(listening.hub)
        assert living.seqs == [3]
        assert dead.connection not in listening.hub.people.get(cast.bob.user_id, ())

    async def test_connection_that_could_not_be_written_to_is_told_to_come_again(
        self, cast, den, at, listening
    ):
        ear = await listening(cast.bob)

        async def fail_once():
            ear.on_send = None
            raise ValueError

        ear.on_send = fail_once
        await post(cast.alice, den, at, count=2)
        await settled(listening.hub)
        assert (ear.seqs, ear.code) == ([], 1011)
        assert ear.connection not in listening.hub.people.get(cast.bob.user_id, ())

    async def test_slow_reader_is_closed_and_the_others_go_on(self, cast, den, at, listening):
        slow, quick = await listening(cast.bob), await listening(cast.alice)
        slow.backlog = 1_040_000
        await post(cast.alice, den, at)
        await settled(listening.hub)
        assert slow.seqs == quick.seqs == [3]

        slow.backlog = 1_048_576
        await post(cast.alice, den, at, count=2)
        await settled(listening.hub)
        assert (slow.seqs, slow.code) == ([3], 4030)
        assert quick.seqs == [3, 4, 5]


class TestLeaving:
    async def test_ex_member_of_a_lagging_hub_gets_nothing_after_the_farewell(
        self, cast, den, at, listening, deaf
    ):
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await post(cast.alice, den, at)
        await database(services.leave)(actor=cast.bob, room=den, at=at)
        await post(cast.alice, den, at, count=3)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 7),)))
        await settled(listening.hub)

        assert alice.seqs == [3, 4, 5, 6, 7]
        assert bob.seqs == [3, 4]

    async def test_who_left_and_came_back_unheard_is_in(self, cast, square, at, listening, deaf):
        await database(services.join)(actor=cast.bob, room=square, at=at)
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await database(services.leave)(actor=cast.bob, room=square, at=at)
        await database(services.join)(actor=cast.bob, room=square, at=at)
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
        await database(services.join)(actor=cast.bob, room=square, at=at)
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await database(services.leave)(actor=cast.bob, room=square, at=at)
        await listening.hub.settle([cast.bob.user_id])
        await database(services.join)(actor=cast.bob, room=square, at=at)
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
                joined.append(await database(services.join)(actor=cast.bob, room=square, at=at))
                room = joined[0].event.room_id
                standing = next(s for s in await real(people) if s.room_id == room)
                listening.hub._subscribe(bob.connection, standing, position=standing.head)
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


class TestHeartbeat:
    async def test_lost_news_is_found_and_heads_come_from_the_database(
        self, cast, den, at, listening, deaf
    ):
        bob, alice = await listening(cast.bob), await listening(cast.alice)
        await post(cast.alice, den, at, count=3)
        await settled(listening.hub)
        assert bob.sent == []

        await listening.hub.beat()
        assert bob.seqs == alice.seqs == [3, 4, 5]
        assert bob.frames()[-1] == {"ev": "heads", "rooms": {den: 5}}

    async def test_lost_membership_is_found(self, cast, square, at, listening, deaf):
        bob = await listening(cast.bob)
        await database(services.join)(actor=cast.bob, room=square, at=at)
        await listening.hub.beat()
        assert [frame["ev"] for frame in bob.frames()] == ["room", "event", "heads"]

    async def test_beat_takes_two_queries_for_everybody(
        self, cast, den, square, at, listening, monkeypatch
    ):
        for who in (cast.alice, cast.bob, cast.charlie):
            for _ in range(4):
                await listening(who)
        calls = []
        for name in ("_refusals", "_standings", "_events_after"):
            real = getattr(hub, name)

            async def count(*args, name=name, real=real):
                calls.append(name)
                return await real(*args)

            monkeypatch.setattr(hub, name, count)
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
        await asyncio.sleep(0.15)
        assert len(bob.frames("heads")) >= 2

    async def test_who_cannot_be_looked_up_twice_in_a_row_is_sent_away(
        self, cast, den, listening, monkeypatch
    ):
        async def fail(_identities):
            raise OperationalError

        monkeypatch.setattr(hub, "_refusals", fail)
        listening.hub.heartbeat = 0.05
        bob = await listening(cast.bob)
        await asyncio.sleep(0.07)
        assert bob.code is None
        await asyncio.sleep(0.08)
        assert bob.code == 1013

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
            await asyncio.sleep(0.01)
            assert not listening.hub._tasks
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
        async with asyncio.timeout(5):
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

    async def test_recheck_that_was_under_way_when_all_left_does_not_block_the_next(
        self, cast, listening
    ):
        bob = await listening(cast.bob)
        listening.hub._recheck_soon()
        listening.hub.remove(bob.connection)
        await asyncio.sleep(0.01)
        assert not listening.hub._rechecking


async def test_epoch_of_a_restored_log_is_another(cast):
    async with connected(cast.alice, cast.alice) as (one, other):
        assert one.ready["epoch"] == other.ready["epoch"]
    await LogEpoch.objects.all().adelete()
    async with connected(cast.alice) as (later,):
        assert later.ready["epoch"] != one.ready["epoch"]
