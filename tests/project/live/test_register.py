"""The register: what a serving process writes about itself and its connections."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from hashlib import sha256
from unittest.mock import Mock

import pytest
from django.db import DatabaseError, InterfaceError
from django.db import connections as db_connections
from django.db.models.functions import Now
from django.utils import timezone

from pki.errors import StateError
from pki.models import Certificate, User
from project.live import connections, processes
from project.live import register as register_module
from project.live.register import COUNTS, Register, look
from project.models import LiveConnection, PastCounters, Process
from project.tls import tally
from project.tls.listeners import Listeners
from tests.factories import make_device
from tests.project.tls.conftest import TLS12, ground, receive_all, world
from tests.project.tls.test_admission import until

__all__ = ["ground", "world"]


@pytest.fixture
def register(db):
    register = Register()
    yield register
    register._thread.shutdown()


@pytest.fixture
def turn(ground, register):
    """One round, `later` seconds from now."""

    def take(*, later: float = 2) -> list[int]:
        sight = ground.on_loop(lambda: look(ground.ports, at=time.time() + later))
        register._renewed_at = float("-inf")
        return register._write(sight)

    return take


@pytest.fixture
def busy(register):
    """Let the next round write counts too."""

    def later() -> None:
        register._counted_at -= COUNTS

    return later


def hello(client) -> None:
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"


def note_of(ground):
    (connection,) = ground.ports.connections()
    return connection.note


def test_row_tells_who_and_how(ground, world, turn, people):
    port = ground.serve("optional")
    with ground.connect(port, "good", TLS12) as client:
        hello(client)
        note_of(ground).user_id = people.alice.pk
        note_of(ground).kind = "socket"
        turn()
        row = LiveConnection.objects.get()
        assert (row.user, row.kind, row.endpoint) == (people.alice, "socket", "main")
        assert row.peer == f"127.0.0.1:{client.getsockname()[1]}"
        assert (row.tls_version, row.cipher) == (client.version(), client.cipher()[0])
        assert row.sha256 == sha256(world.clients["good"].der).hexdigest()
        assert Process.objects.get().held == {"main": {"socket": 1}}
    until(lambda: not ground.ports.connections())
    turn()
    assert not LiveConnection.objects.exists()


def test_first_second_of_a_connection_is_not_written(ground, turn, django_assert_num_queries):
    port = ground.serve()
    turn()
    with ground.connect(port) as client:
        hello(client)
        turn(later=-10)
        assert not LiveConnection.objects.exists()
        assert Process.objects.get().held == {"main": {"web": 1}}
        turn(later=2)
        assert LiveConnection.objects.count() == 1


def test_quiet_round_writes_no_connection(ground, turn, django_assert_num_queries):
    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        turn()
        with django_assert_num_queries(4):  # the lease, the dead, what is to end, and who
            turn()


def test_counts_are_written_every_few_seconds(ground, turn, busy):
    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        turn()
        note_of(ground).heard()
        note_of(ground).said()
        turn()
        assert LiveConnection.objects.get().received == 0
        busy()
        turn()
        row = LiveConnection.objects.get()
        assert (row.received, row.sent) == (1, 1)
        assert row.active_at >= row.opened_at


def test_mark_outlives_the_next_counts(ground, turn, busy, people, at):
    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        note_of(ground).user_id = people.alice.pk
        turn()
        connections.end_all_of(actor="admin", user=people.alice, at=at)
        note_of(ground).heard()
        busy()
        assert turn() == [note_of(ground).number]


def test_signed_out_person_loses_connections_that_have_no_row_yet(ground, turn, people):
    port = ground.serve()
    with ground.connect(port) as old, ground.connect(port) as young:
        hello(old)
        hello(young)
        first, second = sorted(ground.ports.connections(), key=lambda one: one.note.number)
        first.note.user_id = second.note.user_id = people.alice.pk
        first.note.opened_at -= 20
        turn(later=-10)
        assert LiveConnection.objects.count() == 1
        at = timezone.now()
        assert connections.end_all_of(actor="admin", user=people.alice, at=at) == 1
        with ground.connect(port) as after:
            hello(after)
            *_, third = sorted(ground.ports.connections(), key=lambda one: one.note.number)
            third.note.user_id = people.alice.pk
            assert turn(later=0) == [first.note.number, second.note.number]


def test_whoever_owns_the_certificate_counts_where_nobody_asked(ground, world, pki, turn, people):
    device = make_device(people.alice, pki.issuing)
    digest = sha256(world.clients["good"].der).hexdigest()
    Certificate.objects.filter(pk=device.certificate.pk).update(sha256=digest)
    port = ground.serve("optional")
    with ground.connect(port, "good") as client:
        hello(client)
        turn()
        assert LiveConnection.objects.get().user == people.alice


def test_somebody_who_was_deleted_is_nobody(ground, turn):
    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        note_of(ground).user_id = 4711
        turn()
        assert LiveConnection.objects.get().user is None
        assert not User.objects.filter(pk=4711).exists()


def test_who_was_taken_for_dead_comes_back_without_counting_twice(ground, turn, register):
    port = ground.serve()
    before = Counter(tally.counts())
    with ground.connect(port) as client:
        hello(client)
        turn()
        Process.objects.update(seen_at=Now() - 2 * processes.LEASE)
        assert processes.bury_dead() == 1
        assert not LiveConnection.objects.exists()
        turn()
        assert LiveConnection.objects.get().process_id == register.id
        tally.count("messages", "line", "sent")
        turn()
        assert processes.counted() == Counter(tally.counts())
        assert PastCounters.objects.get().counters["handshakes\tmain\tok"] > before.get(
            "handshakes\tmain\tok", 0
        )


def test_database_that_fails_costs_a_line_and_is_caught_up_with(
    ground, turn, register, monkeypatch, caplog
):
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        with monkeypatch.context() as broken:
            broken.setattr(register, "_write_connections", fail)
            assert turn() == turn() == []
        assert caplog.text.count("Live connections cannot be written down") == 1
        turn()
        assert LiveConnection.objects.count() == 1


def test_what_fails_each_round_is_said_once_until_it_works_again(
    ground, turn, register, monkeypatch, caplog
):
    for error in (InterfaceError("closed"), DatabaseError("away"), ValueError("odd")):
        caplog.clear()
        with monkeypatch.context() as broken:
            broken.setattr(register, "_to_end", Mock(side_effect=error))
            assert turn() == turn() == turn() == []
        assert caplog.text.count("Live connections cannot be written down") == 1
        assert ("Traceback" in caplog.text) == isinstance(error, ValueError)
        turn()


def test_round_that_fails_is_not_the_last(monkeypatch, caplog):
    monkeypatch.setattr(register_module, "ROUND", 0.01)
    monkeypatch.setattr(Register, "_leave", lambda self: None)
    rounds = []

    async def fail_once(self, ports):
        rounds.append(ports)
        if len(rounds) == 1:
            raise RuntimeError("odd")

    async def run():
        task = asyncio.create_task(Register().run(Listeners()))
        async with asyncio.timeout(30):
            while len(rounds) < 3 and not task.done():
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    monkeypatch.setattr(Register, "_round", fail_once)
    asyncio.run(run())
    assert len(rounds) >= 3
    assert caplog.text.count("A round of the register was cut short.") == 1


def test_process_that_ends_leaves_nothing_but_its_counts(ground, turn, register, monkeypatch):
    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        turn()
        register._leave()
    assert not Process.objects.exists()
    assert not LiveConnection.objects.exists()
    assert processes.counted()["handshakes\tmain\tok"] == tally.counts()["handshakes\tmain\tok"]


# --- Ending ---------------------------------------------------------------------------------


@pytest.fixture
def rounds(transactional_db, ground):
    """Whole rounds, on the event loop and in the register's thread."""
    register = Register()
    yield lambda: ground.on_loop(register._round, ground.ports)
    ground.on_loop(close_in(register))
    register._thread.shutdown()


def close_in(register):
    async def close() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(register._thread, db_connections.close_all)

    return close


def age(ground) -> None:
    for connection in ground.ports.connections():
        connection.note.opened_at -= 10


def test_marked_connection_is_asked_to_come_to_its_end_and_others_go_on(ground, rounds, at):
    port = ground.serve()
    with ground.connect(port) as client, ground.connect(port) as other:
        hello(client)
        hello(other)
        age(ground)
        rounds()
        row = LiveConnection.objects.get(peer="{}:{}".format(*client.getsockname()))
        connections.end_connection(actor="admin", connection=row, at=at)
        rounds()
        assert receive_all(client) == b"going"
        hello(other)
    with pytest.raises(StateError, match="has ended already"):
        connections.end_connection(actor="admin", connection=row, at=at)


def test_connection_that_does_not_come_to_its_end_is_cut(ground, rounds, at, monkeypatch):
    monkeypatch.setattr(register_module, "GRACE", 0)
    port = ground.serve()
    with ground.connect(port) as client:
        hello(client)
        age(ground)
        rounds()
        ground.factory.built[0].going_away = lambda: None
        connections.end_connection(actor="admin", connection=LiveConnection.objects.get(), at=at)
        rounds()
        hello(client)
        rounds()
        until(lambda: not ground.ports.connections())
        rounds()
        assert not LiveConnection.objects.exists()


def test_nobody_left_to_end_is_said(people, at):
    with pytest.raises(StateError, match="Alice has no connection"):
        connections.end_all_of(actor="admin", user=people.alice, at=at)
