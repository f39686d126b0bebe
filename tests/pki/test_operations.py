"""Long operations beside the console."""

from __future__ import annotations

import datetime as dt
import threading
import time
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from django.utils import timezone

from pki import audit, operations
from pki.errors import AuditError, NotAllowedError, StateError
from pki.models import AuditEntry, Operation
from pki.progress import Progress
from tests.factories import make_person
from tests.operations import finished

pytestmark = pytest.mark.django_db(transaction=True)
State = Operation.State


def started(work: operations.Work) -> Operation:
    return operations.start(actor="alice", title="Counting", work=work, at=timezone.now())


def test_operation_is_done(at: dt.datetime) -> None:
    def count(progress: Progress) -> str:
        make_person("counted")
        for done in range(1, 4):
            progress(done, 3)
        return "3 things counted."

    operation = finished(started(count))

    assert (operation.state, operation.outcome) == (State.DONE, "3 things counted.")
    assert (operation.done, operation.total, operations.percent(operation)) == (3, 3, 100)
    assert operation.actor == "alice"


def test_newest_operations_are_kept_and_what_runs(at: dt.datetime, monkeypatch) -> None:
    monkeypatch.setattr(operations, "KEPT", 3)
    moments = [at - dt.timedelta(hours=n) for n in range(9)]
    for n, moment in enumerate(moments):
        state = State.RUNNING if n in (0, 8) else State.DONE
        Operation.objects.create(title=str(n), actor="a", state=state, started_at=moment)

    finished(operations.start(actor="a", title="new", work=lambda _: "Done.", at=at))

    left = Operation.objects.order_by("title").values_list("title", flat=True)
    assert list(left) == ["0", "1", "2", "8", "new"]


def test_operation_runs_beside_its_starter_and_tells_how_far_it_is(monkeypatch) -> None:
    monkeypatch.setattr(operations, "BETWEEN_WRITES", 0)
    told, go_on = threading.Event(), threading.Event()

    def count(progress: Progress) -> str:
        progress(1, 4)
        told.set()
        go_on.wait(60)
        return "Counted."

    operation = started(count)
    assert told.wait(30)
    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.total) == (State.RUNNING, 1, 4)
    assert operations.percent(operation) == 25
    go_on.set()
    assert finished(operation).state == State.DONE


def test_operation_writes_its_row_at_most_twice_a_second(monkeypatch) -> None:
    writes = []
    write = operations._Watch.write
    now = time.monotonic()
    monkeypatch.setattr(operations, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(
        operations._Watch, "write", lambda self, **f: (writes.append(self.done), write(self, **f))
    )

    def count(progress: Progress) -> str:
        for done in range(1, 1001):
            progress(done, 1000)
        return "Counted."

    assert finished(started(count)).done == 1000
    assert writes == [1, 1000]


def test_operation_that_is_refused_says_why() -> None:
    @audit.refusals("thing.count")
    def count_things(*, actor: str) -> str:
        raise NotAllowedError("These are not yours.")

    def work(progress: Progress) -> str:
        with transaction.atomic():
            return count_things(actor="alice")

    operation = finished(started(work))

    assert (operation.state, operation.outcome) == (State.FAILED, "These are not yours.")
    assert AuditEntry.objects.get().action == "thing.count.refused"


def test_operation_with_an_unexpected_error_tells_nothing_of_it(caplog) -> None:
    def work(progress: Progress) -> str:
        raise ValueError("secret")

    operation = finished(started(work))

    assert (operation.state, operation.outcome) == (State.FAILED, operations.UNEXPECTED)
    assert "secret" in caplog.text


def test_operation_is_stopped_after_the_piece_it_is_at(monkeypatch) -> None:
    monkeypatch.setattr(operations, "BETWEEN_WRITES", 0)
    pieces: list[int] = []

    def work(progress: Progress) -> str:
        for done in range(1, 1000):
            pieces.append(done)
            progress(done, 1000)
            time.sleep(0.01)
        return "Counted."

    operation = started(work)
    operations.stop(actor="bob", at=timezone.now(), operation=operation)
    ended = finished(operation)

    assert ended.state == State.STOPPED
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == ("bob", "operation.stopped", "Counting")
    assert entry.detail == {"operation": ended.pk, "started_by": "alice"}
    assert ended.outcome == f"Stopped after {pieces[-1]} of 1000. Run it again to go on."
    with pytest.raises(StateError, match="ended already"):
        operations.stop(actor="bob", at=timezone.now(), operation=ended)


def test_operation_begins_when_its_starter_has_committed() -> None:
    seen: list[bool] = []

    def work(progress: Progress) -> str:
        seen.append(Operation.objects.exists())
        return "Looked."

    with transaction.atomic():
        started(work)
        transaction.set_rollback(True)
    with transaction.atomic():
        operation = started(work)
        assert seen == []
    finished(operation)
    assert seen == [True]


def test_operation_has_a_connection_of_its_own_and_closes_it() -> None:
    used: list[object] = []

    def work(progress: Progress) -> str:
        Operation.objects.count()
        used.append(connection.connection)
        return "Looked."

    finished(started(work))
    assert used[0] is not connection.connection


def test_operation_whose_process_died_is_shown_as_failed(at: dt.datetime) -> None:
    operation = Operation.objects.create(title="Lost", actor="alice", seen_at=at)
    soon, later = at + dt.timedelta(seconds=59), at + dt.timedelta(seconds=61)

    assert operations.state_at(operation, soon) is State.RUNNING
    assert operations.outcome_at(operation, soon) == ""
    assert operations.state_at(operation, later) is State.FAILED
    assert operations.outcome_at(operation, later) == operations.DIED


def test_operation_whose_piece_takes_long_gives_signs_of_life(monkeypatch) -> None:
    monkeypatch.setattr(operations, "HEARTBEAT", 0.02)
    go_on = threading.Event()
    operation = started(lambda progress: str(go_on.wait(60)))
    first, end = operation.seen_at, time.monotonic() + 30
    while operation.seen_at <= first:
        assert time.monotonic() < end
        time.sleep(0.02)
        operation.refresh_from_db()
    go_on.set()
    finished(operation)


def test_stop_refuses_what_has_lost_its_process(at: dt.datetime) -> None:
    lost = Operation.objects.create(
        title="Lost", actor="alice", seen_at=timezone.now() - dt.timedelta(minutes=2)
    )
    with pytest.raises(StateError):
        operations.stop(actor="bob", at=timezone.now(), operation=lost)
    assert not AuditEntry.objects.exists()


def test_stop_that_cannot_be_recorded_does_not_happen(monkeypatch) -> None:
    def fail(**_: object) -> None:
        raise AuditError("No room.")

    running = Operation.objects.create(title="Running", actor="alice")
    monkeypatch.setattr(audit, "record", fail)
    with pytest.raises(AuditError):
        operations.stop(actor="bob", at=timezone.now(), operation=running)
    running.refresh_from_db()
    assert not running.is_to_stop
