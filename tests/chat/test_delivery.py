"""Delivery: in order, once, without holes, to those who may have it, whatever gets lost."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from chat import delivery, rooms
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
