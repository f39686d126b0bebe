"""Delivery: in order, once, without holes, to those who may have it, whatever gets lost."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from chat import delivery, messages, rooms
from chat.fanout import News
from chat.models import Event, Room
from chat.protocol import JSON, MESSAGEPACK
from chat.standing import standings
from tests.chat import verbs
from tests.chat.ears import Ear, post, settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alone")]
database = sync_to_async


async def test_two_subprotocols_and_many_readers_cost_one_encoding_each(
    cast, den, at, listening, monkeypatch
):
    encoded = []
    for codec in (JSON, MESSAGEPACK):
        real = type(codec).encode
        monkeypatch.setattr(
            type(codec),
            "encode",
            lambda s, m, real=real: encoded.append((s.name, m["ev"])) or real(s, m),
        )
    ears = [await listening(cast.bob) for _ in range(5)]
    ears += [await listening(cast.alice, codec=MESSAGEPACK) for _ in range(5)]
    await post(cast.alice, den, at)
    await settled(listening.hub)

    assert [ear.seqs for ear in ears] == [[3]] * 10
    events = sorted(name for name, ev in encoded if ev == "event")
    assert events == ["signet.v1.json", "signet.v1.msgpack"]


async def test_announced_event_of_this_process_is_not_read_again(
    cast, den, at, listening, monkeypatch
):
    ear = await listening(cast.bob)

    async def read(*_args):
        raise AssertionError("read from the database")

    monkeypatch.setattr(delivery, "_events_after", read)
    await post(cast.alice, den, at, count=5)
    await settled(listening.hub)
    assert ear.seqs == [3, 4, 5, 6, 7]


async def test_bare_wake_up_is_read_in_one_query(cast, den, at, listening, deaf, monkeypatch):
    reads = []
    real = delivery._events_after

    async def read(*args):
        reads.append(args)
        return await real(*args)

    monkeypatch.setattr(delivery, "_events_after", read)
    ears = [await listening(cast.bob) for _ in range(10)]
    await post(cast.alice, den, at, count=20)
    room = await Room.objects.aget(slug=den)
    listening.hub.hear(News(rooms=((room.pk, 22),)))
    await settled(listening.hub)

    assert [ear.seqs for ear in ears] == [list(range(3, 23))] * 10
    assert reads == [(room.pk, 2)]


async def test_wake_ups_may_be_doubled_late_and_in_any_order(cast, den, at, listening, deaf):
    ear = await listening(cast.bob)
    await post(cast.alice, den, at, count=5)
    events = {e.seq: e async for e in Event.objects.select_related("room", "by").filter(seq__gt=2)}
    room = events[3].room
    for seq in (7, 3, 7, 5, 4, 6, 3):
        listening.hub.hear(News(rooms=((room.pk, seq),), event=events[seq]))
        await asyncio.sleep(0)
    listening.hub.hear(News(rooms=((room.pk, 99),)))
    await settled(listening.hub)
    assert ear.seqs == [3, 4, 5, 6, 7]


async def test_wake_up_for_a_room_of_nobody_here_costs_nothing(
    cast, den, square, at, listening, monkeypatch
):
    await listening(cast.bob)
    monkeypatch.setattr(delivery, "_events_after", None)
    room = await Room.objects.aget(slug=square)
    listening.hub.hear(News(rooms=((room.pk, 9),)))
    await settled(listening.hub)


async def test_who_comes_while_events_are_under_way_misses_none(cast, den, at, listening, deaf):
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


async def test_who_comes_in_the_middle_of_a_delivery_misses_none(cast, den, at, listening, deaf):
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
    cast, den, at, listening, deaf, monkeypatch
):
    early = await listening(cast.bob)
    late = Ear(cast.alice)
    told = await database(standings)([cast.alice.user_id])
    await post(cast.bob, den, at, count=2)
    room = await Room.objects.aget(slug=den)
    listening.hub.hear(News(rooms=((room.pk, 4),)))
    await settled(listening.hub)
    await post(cast.bob, den, at, count=2)
    real = delivery._events_after

    async def read(*args):
        events = await real(*args)
        if not late.connection.is_open:
            listening.hub.admit(late.connection)
            listening.hub.open(late.connection, told)
        return events

    monkeypatch.setattr(delivery, "_events_after", read)
    listening.hub.hear(News(rooms=((room.pk, 6),)))
    await settled(listening.hub)
    assert early.seqs == late.seqs == [3, 4, 5, 6]
    listening.hub.remove(late.connection)


async def test_member_who_joins_before_ready_is_released_hears_the_room(
    cast, square, at, listening
):
    ear = Ear(cast.bob)
    listening.hub.admit(ear.connection)
    told = await database(standings)([cast.bob.user_id])
    await database(rooms.join)(actor=cast.bob, room=square, at=at)
    await settled(listening.hub)
    assert ear.sent == []

    listening.hub.open(ear.connection, told)
    await settled(listening.hub)
    assert [frame["ev"] for frame in ear.frames()] == ["room", "event"]
    listening.hub.remove(ear.connection)


async def test_nothing_is_delivered_before_ready_is_released(cast, den, at, listening):
    ear = Ear(cast.bob)
    listening.hub.admit(ear.connection)
    await post(cast.alice, den, at)
    await listening.hub.beat()
    assert ear.sent == []
    listening.hub.remove(ear.connection)


async def test_crowd_of_writers_and_readers_agree(cast, den, at, listening):
    ears = [await listening(who) for who in (cast.alice, cast.bob) for _ in range(3)]

    def write(actor):
        try:
            for _ in range(15):
                verbs.post(actor, den, at=at)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=[actor]) for actor in (cast.alice, cast.bob) * 2]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.01)
    await settled(listening.hub)
    assert [ear.seqs for ear in ears] == [list(range(3, 63))] * 6


async def test_dead_connection_does_not_stop_the_others(cast, den, at, listening):
    async def fail():
        raise ConnectionResetError

    dead, living = await listening(cast.bob), await listening(cast.alice)
    dead.on_send = fail
    await post(cast.alice, den, at)
    await settled(listening.hub)
    assert living.seqs == [3]
    assert dead.connection not in listening.hub.people.get(cast.bob.user_id, ())


async def test_connection_that_could_not_be_written_to_is_told_to_come_again(
    cast, den, at, listening
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


async def test_slow_reader_is_closed_and_the_others_go_on(cast, den, at, listening):
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


async def test_event_announced_between_reading_and_subscribing_is_made_up_for(
    cast, den, at, listening, deaf
):
    """As in a process where nobody else is in the room, of what another process wrote."""
    ear = Ear(cast.bob)
    listening.hub.admit(ear.connection)
    told = await database(standings)([cast.bob.user_id])
    await post(cast.alice, den, at, count=2)
    room = await Room.objects.aget(slug=den)
    for seq in (3, 4, 3):
        listening.hub.hear(News(rooms=((room.pk, seq),)))
    await settled(listening.hub)
    assert ear.sent == []

    listening.hub.open(ear.connection, told)
    await settled(listening.hub)
    assert ear.seqs == [3, 4]
    listening.hub.remove(ear.connection)
    assert listening.hub.delivery._heard == {}, "who hears nothing knows nothing"


async def test_event_of_which_the_last_reader_was_not_told_reaches_the_next(
    cast, den, at, listening, deaf
):
    await listening(cast.charlie)
    last, told = await listening(cast.bob), await database(standings)([cast.alice.user_id])
    await post(cast.bob, den, at)
    room = await Room.objects.aget(slug=den)
    listening.hub.hear(News(rooms=((room.pk, 3),)))
    await settled(listening.hub)
    listening.hub.remove(last.connection)

    late = Ear(cast.alice)
    listening.hub.admit(late.connection)
    listening.hub.open(late.connection, told)
    await settled(listening.hub)
    assert late.seqs == [3]
    listening.hub.remove(late.connection)


async def test_waiting_ends_with_what_was_under_way_however_much_comes(
    cast, den, at, listening, deaf, monkeypatch
):
    """Each round takes so long that something new was announced in another process meanwhile."""
    ear = await listening(cast.bob)
    room = await Room.objects.aget(slug=den)
    real, head = delivery._events_after, 2
    resting = False

    async def announce():
        nonlocal head
        await post(cast.alice, den, at)
        head += 1
        listening.hub.hear(News(rooms=((room.pk, head),)))

    async def read(*args):
        events = await real(*args)
        if not resting:
            await announce()
        return events

    monkeypatch.setattr(delivery, "_events_after", read)
    await announce()
    try:
        async with asyncio.timeout(10):
            await listening.hub.delivery.done()
        assert ear.seqs[0] == 3
    finally:
        resting = True
    await settled(listening.hub)
    assert ear.seqs == list(range(3, head + 1))


async def test_waiting_lasts_until_the_pushes_are_out(cast, den, at, listening, deaf):
    ear, release = await listening(cast.bob), asyncio.Event()
    ear.on_send = release.wait
    await post(cast.alice, den, at)
    room = await Room.objects.aget(slug=den)
    listening.hub.hear(News(rooms=((room.pk, 3),)))
    feed = listening.hub.rooms[room.pk]
    while feed.head < 3:
        await asyncio.sleep(0.005)
    waiting = asyncio.create_task(listening.hub.delivery.done())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    release.set()
    await asyncio.wait([waiting], timeout=10)
    assert ear.seqs == [3]
    assert waiting.done()


class TestTakenBack:
    """Words that are gone are not sent because an event of this process still had them."""

    @pytest.fixture
    def reading(self, monkeypatch):
        """A read that returns once it is told to."""
        real, begun, release = delivery._events_after, asyncio.Event(), asyncio.Event()

        async def read(*args):
            events = await real(*args)
            begun.set()
            await release.wait()
            return events

        monkeypatch.setattr(delivery, "_events_after", read)
        return begun, release

    @staticmethod
    def announced(event):
        return News(rooms=((event.room_id, event.seq),), event=event)

    @pytest.mark.parametrize("order", ["in order", "late", "elsewhere"])
    async def test_deleted_words_are_not_pushed(
        self, cast, den, at, listening, deaf, reading, order
    ):
        begun, release = reading
        ear = await listening(cast.alice)
        await post(cast.alice, den, at)
        room = await Room.objects.aget(slug=den)
        listening.hub.hear(News(rooms=((room.pk, 3),)))
        await begun.wait()

        posted = await database(verbs.post)(cast.bob, den, at=at)
        taken_back = await database(messages.delete_message)(
            actor=cast.bob, room=den, message=str(posted.event.pk), at=at
        )
        news = [self.announced(posted.event), self.announced(taken_back.event)]
        if order == "late":
            news.reverse()
        if order == "elsewhere":
            news[1] = News(rooms=news[1].rooms)
        for one in news:
            listening.hub.hear(one)
        release.set()
        await settled(listening.hub)

        assert ear.seqs == [3, 4, 5]
        [_, told, _] = ear.frames("event")
        assert "body" not in told["data"]
