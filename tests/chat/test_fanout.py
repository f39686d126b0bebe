"""News between processes: fast where the channel layer works, and no loss where it does not."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from chat import fanout, hub, members, reading, rooms
from chat.fanout import Leases, News, Note, _packed, _unpacked
from chat.models import Room
from chat.protocol import JSON
from chat.standing import standings
from tests.chat.ears import Ear, post
from tests.services import skip_without

pytestmark = pytest.mark.django_db(transaction=True)
database = sync_to_async


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def redis_server(port):
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def layer_at(url):
    return {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {
                "hosts": [{"address": url, "socket_timeout": 30}],
                "prefix": uuid.uuid4().hex,
                "symmetric_encryption_keys": ["a secret of the tests"],
            },
        }
    }


@pytest.fixture
def redis_url():
    """The Redis of REDIS_URL, or one of the test's own."""
    if url := os.environ.get("REDIS_URL"):
        yield url
    elif shutil.which("redis-server"):
        port = free_port()
        with redis_server(port):
            yield f"redis://127.0.0.1:{port}/0"
    else:
        skip_without("Redis (REDIS_URL, or the program redis-server)")


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    monkeypatch.setattr(fanout, "PAUSE", 0.1)


@pytest.fixture
def redis(redis_url, settings):
    settings.CHANNEL_LAYERS = layer_at(redis_url)


@pytest.fixture
def broken(settings):
    """A channel layer that refuses every connection."""
    settings.CHANNEL_LAYERS = layer_at(f"redis://127.0.0.1:{free_port()}/0")


class Here(hub.Hub):
    """Says when it hears what is sent through the channel layer."""

    has_joined = False

    async def _missed(self):
        await super()._missed()
        self.has_joined = True


class Elsewhere(Here):
    """A hub of another process: announcements here do not reach it directly."""

    def _start(self):
        super()._start()
        fanout.detach(self)

    def _stop(self):
        fanout.attach(self)
        super()._stop()


@pytest.fixture
async def processes():
    """Two hubs, as of two processes, and ears in them."""
    hubs = [Here(heartbeat=3600), Elsewhere(heartbeat=3600)]
    ears = []

    async def listen(number, identity):
        ear = Ear(identity)
        hubs[number].admit(ear.connection)
        hubs[number].open(ear.connection, await database(standings)([identity.user_id]))
        ears.append((hubs[number], ear))
        return ear

    listen.hubs = hubs
    yield listen
    for subject, ear in ears:
        subject.remove(ear.connection)
    await asyncio.sleep(0)
    layer = get_channel_layer()
    if hasattr(layer, "close_pools"):
        await layer.close_pools()


async def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def joined(subject):
    """The hub is in the group of the channel layer."""
    await until(lambda: subject.has_joined)


class TestOnRedis:
    async def test_two_hubs_deliver_the_same_log(self, redis, cast, den, at, processes):
        here, there = await processes(0, cast.alice), await processes(1, cast.bob)
        await joined(processes.hubs[1])
        await post(cast.alice, den, at, count=30)
        await until(lambda: there.seqs[-1:] == [32] and here.seqs[-1:] == [32])
        assert here.seqs == there.seqs == list(range(3, 33))

    async def test_who_joins_and_leaves_here_is_heard_there(
        self, redis, cast, square, at, processes
    ):
        await processes(0, cast.alice)
        there = await processes(1, cast.bob)
        await joined(processes.hubs[1])

        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        await until(lambda: there.seqs == [2])
        await post(cast.alice, square, at)
        await until(lambda: there.seqs == [2, 3])
        await database(rooms.leave)(actor=cast.bob, room=square, at=at)
        await until(lambda: there.seqs == [2, 3, 4])
        await post(cast.alice, square, at)
        await asyncio.sleep(0.3)
        assert there.seqs == [2, 3, 4]

    async def test_who_is_banned_here_hears_nothing_more_there(
        self, redis, cast, den, at, processes
    ):
        alice, there = await processes(0, cast.alice), await processes(1, cast.bob)
        await joined(processes.hubs[1])
        await post(cast.alice, den, at)
        await until(lambda: there.seqs == [3])
        await database(members.ban)(actor=cast.alice, room=den, user="bob", reason="x", at=at)
        await until(lambda: there.seqs == [3, 4])
        await post(cast.alice, den, at)
        await until(lambda: alice.seqs == [3, 4, 5])
        await asyncio.sleep(0.2)
        assert there.seqs == [3, 4]

    async def test_changed_room_role_and_choice_are_told_anew_there(
        self, redis, cast, den, at, processes
    ):
        await processes(0, cast.alice)
        there = await processes(1, cast.bob)
        await joined(processes.hubs[1])

        def told(field, value):
            return lambda: [f[field] for f in there.frames("room")][-1:] == [value]

        await database(rooms.change_room)(actor=cast.alice, room=den, name="Cave", at=at)
        await until(told("name", "Cave"))
        role = {"user": "bob", "role": "moderator"}
        await database(members.change_role)(actor=cast.alice, room=den, at=at, **role)
        await until(told("role", "moderator"))
        await database(members.set_notices)(actor=cast.bob, room=den, level="mentions")
        await until(told("notify", "mentions"))

    async def test_typing_and_read_marks_pass_and_do_not_come_twice(
        self, redis, cast, den, at, processes
    ):
        here, there = await processes(0, cast.bob), await processes(1, cast.bob)
        alice, desk = await processes(1, cast.alice), await processes(0, cast.alice)
        await joined(processes.hubs[0])
        await joined(processes.hubs[1])
        await post(cast.alice, den, at)
        await database(reading.mark_read)(
            actor=cast.bob, room=den, seq=3, connection=here.connection.key
        )
        await database(reading.show_typing)(actor=cast.bob, room=den)
        ears = (there.frames, "read"), (alice.frames, "typing"), (desk.frames, "typing")
        await until(lambda: all(frames(ev) for frames, ev in ears))
        await asyncio.sleep(0.2)
        assert len(there.frames("read")) == 1
        assert len(alice.frames("typing")) == len(desk.frames("typing")) == 1
        assert here.frames("read") == here.frames("typing") == there.frames("typing") == []

    async def test_announcement_without_any_hub_here_reaches_the_others(
        self, redis, cast, den, at, processes
    ):
        there = await processes(1, cast.bob)
        await joined(processes.hubs[1])
        await post(cast.alice, den, at)
        await until(lambda: there.seqs == [3])

    async def test_no_message_text_passes_the_layer(
        self, redis, cast, den, at, processes, monkeypatch
    ):
        sent = []
        real = fanout._send

        async def send(layer, message):
            sent.append(message)
            await real(layer, message)

        monkeypatch.setattr(fanout, "_send", send)
        await processes(0, cast.alice)
        await post(cast.alice, den, at)
        await until(lambda: sent)
        assert "hello" not in str(sent)


async def test_redis_that_restarts_is_found_again(settings, cast, den, at, processes):
    if not shutil.which("redis-server"):
        skip_without("redis-server")
    port = free_port()
    settings.CHANNEL_LAYERS = layer_at(f"redis://127.0.0.1:{port}/0")
    with redis_server(port):
        await processes(0, cast.alice)
        there = await processes(1, cast.bob)
        await joined(processes.hubs[1])
        await post(cast.alice, den, at)
        await until(lambda: there.seqs == [3])
    await post(cast.alice, den, at)  # nobody hears of this one
    await asyncio.sleep(0.3)
    assert there.seqs == [3]
    with redis_server(port):
        await until(lambda: there.seqs == [3, 4])  # but it is looked for after the gap
        await post(cast.alice, den, at)
        await until(lambda: there.seqs == [3, 4, 5])


class TestWithoutTheLayer:
    async def test_post_succeeds_and_the_failure_is_logged(
        self, broken, cast, den, at, processes, caplog
    ):
        here = await processes(0, cast.alice)
        await post(cast.alice, den, at)
        await until(lambda: here.seqs == [3])
        await until(lambda: "channel layer fails" in caplog.text)

    async def test_post_without_any_hub_succeeds_and_the_failure_is_logged(
        self, broken, cast, den, at, caplog
    ):
        await post(cast.alice, den, at)
        assert (await Room.objects.aget(slug=den)).last_seq == 3
        assert "could not be announced" in caplog.text

    async def test_other_processes_converge_at_their_heartbeat(
        self, broken, cast, den, square, at, processes
    ):
        here, there = await processes(0, cast.alice), await processes(1, cast.bob)
        await post(cast.alice, den, at, count=5)
        await database(rooms.join)(actor=cast.bob, room=square, at=at)
        await post(cast.alice, square, at)
        await until(lambda: len(here.seqs) == 7)
        assert there.seqs == []

        await processes.hubs[1].beat()
        seen = {(e["room"], e["seq"]) for e in there.frames("event")}
        assert seen == {(den, n) for n in range(3, 8)} | {(square, 2), (square, 3)}
        assert there.frames()[-1] == {"ev": "heads", "rooms": {den: 7, square: 3}}


async def test_news_that_waits_goes_together(monkeypatch):
    sent, is_free = [], asyncio.Event()

    async def send(_layer, message):
        sent.append(message)
        await is_free.wait()

    monkeypatch.setattr(fanout, "_layer", lambda: object())
    monkeypatch.setattr(fanout, "_send", send)
    line = fanout.Line()
    for seq in range(100):
        line.put(News(rooms=((1, seq),)))
        await asyncio.sleep(0)
    is_free.set()
    await until(lambda: line._sending is None)
    assert [message["rooms"] for message in sent] == [[[1, 0]], [[1, 99]]]


def test_news_survives_the_layer_without_the_event():
    note = Note(frame={"ev": "typing"}, room_id=3, but_user=4)
    leases = Leases(((7, "away"),), is_all=True)
    news = News(rooms=((1, 5),), people=(7,), notes=(note,), leases=leases, origin="x")
    assert _unpacked(_packed(news, origin="x")) == news
    assert JSON.encode(_packed(news, origin="x"))


def test_leases_that_wait_come_to_what_the_last_of_them_say():
    many = [
        Leases(((1, "active"), (2, "active"))),
        Leases(((3, "active"), (2, "away")), is_all=True, asks=True),
        Leases(((3, "offline"),)),
    ]
    packed = _packed(*(News(leases=leases) for leases in many), origin="x")
    together = Leases(((3, "offline"), (2, "away")), is_all=True, asks=True)
    assert _unpacked(packed).leases == together
    assert _unpacked({**packed, "leases": None}).leases is None


def test_closed_loop_is_passed_over(caplog):
    class Gone:
        loop = asyncio.new_event_loop()

    Gone.loop.close()
    fanout.attach(Gone)
    with caplog.at_level(logging.WARNING):
        fanout.announce(News())
    fanout.detach(Gone)
    assert not caplog.records


class Stubborn:
    """A layer that turns a cancellation into an error of its own, as channels_redis can."""

    async def new_channel(self, _prefix):
        return "hub.x!y"

    async def group_add(self, *_):
        pass

    async def receive(self, _channel):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise AssertionError("the lock is taken") from None


async def test_cancelled_line_ends_even_if_the_layer_hides_the_cancellation(monkeypatch):
    monkeypatch.setattr(fanout, "_layer", Stubborn)

    async def missed():
        pass

    listening = asyncio.create_task(fanout.Line().listen(lambda _news: None, missed=missed))
    await asyncio.sleep(0.05)
    listening.cancel()
    await asyncio.wait([listening], timeout=30)
    assert listening.done()
