"""Long operations that run beside the console: started, watched and stopped.

Each runs in a thread of the process that started it, with a database connection of its own, and
tells how far it is by its row. It ends with the process; its work is such that it can be run
again then (`pki.progress`).
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Event, Thread

from django.db import connections, transaction
from django.utils import timezone

from pki import audit
from pki.errors import PKIError, StateError, StoppedError
from pki.models import Operation
from pki.progress import Progress, duration

Work = Callable[[Progress], str]
State = Operation.State

BETWEEN_WRITES = 0.5
HEARTBEAT = 15.0
LIFELESS = dt.timedelta(seconds=60)
KEPT = 200
OUTCOME_LONGEST = 500
UNEXPECTED = "An unexpected error ended it; the log has it."
DIED = "The process that ran it has ended. What it had done by then is done; run it again to go on."

logger = logging.getLogger("pki")


def start(*, actor: str, title: str, work: Work, at: dt.datetime) -> Operation:
    """Begin `work` in a thread once the caller's transaction is committed; returns its row.

    `work` gets a progress to call after each piece it has committed, and returns the sentence that
    tells how it ended. What it refuses becomes that sentence; nothing is raised here. Of those
    that have ended, the newest 200 are kept.
    """
    _forget_old()
    operation = Operation.objects.create(
        title=title[:200], actor=actor, started_at=at, seen_at=timezone.now()
    )
    thread = Thread(target=partial(_run, operation.pk, work), name=str(operation), daemon=True)
    transaction.on_commit(thread.start)
    return operation


def stop(*, actor: str, operation: Operation, at: dt.datetime) -> None:
    """Ask an operation to stop after the piece it is at, which may be somebody else's.

    Writes an audit entry. Refuses one that has ended (StateError).
    """
    running = Operation.objects.filter(pk=operation.pk, state=State.RUNNING)
    with transaction.atomic():
        if state_at(operation, at) is not State.RUNNING or not running.update(is_to_stop=True):
            raise StateError("This operation has ended already.")
        audit.record(
            actor=actor,
            action="operation.stopped",
            target=operation.title,
            detail={"operation": operation.pk, "started_by": operation.actor},
            at=at,
        )


def state_at(operation: Operation, at: dt.datetime) -> Operation.State:
    """Its state; one that gave no sign of life for a minute has failed."""
    if operation.state == State.RUNNING and at - operation.seen_at > LIFELESS:
        return State.FAILED
    return State(operation.state)


def outcome_at(operation: Operation, at: dt.datetime) -> str:
    """The sentence that tells how it ended; empty while it runs."""
    if state_at(operation, at) != operation.state:
        return DIED
    return operation.outcome


def percent(operation: Operation) -> int:
    if not operation.total:
        return 100 if operation.state == State.DONE else 0
    return min(100, operation.done * 100 // operation.total)


def amount(operation: Operation) -> str:
    """How many pieces are done; empty before the first word of progress."""
    return f"{operation.done} of {operation.total}" if operation.total else ""


def time_left(operation: Operation, at: dt.datetime) -> str:
    """How long it will still take, at the pace so far; empty where that cannot be said."""
    left = operation.total - operation.done
    if operation.state != State.RUNNING or not (operation.done and left > 0):
        return ""
    seconds = (operation.seen_at - operation.started_at).total_seconds()
    return duration(max(0, seconds * left / operation.done))


def _forget_old() -> None:
    """Room for one more among the newest; what runs stays."""
    rows = Operation.objects.exclude(state=State.RUNNING).order_by("-started_at", "-pk")
    Operation.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[KEPT - 1 :])).delete()


# --- In its thread --------------------------------------------------------------------------


class _Watch:
    """The progress of one operation: written to its row at most twice a second."""

    def __init__(self, pk: int) -> None:
        self.pk, self.done, self.total = pk, 0, 0
        self._written = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if time.monotonic() - self._written < BETWEEN_WRITES:
            return
        self.write()
        if done < total and Operation.objects.filter(pk=self.pk, is_to_stop=True).exists():
            raise StoppedError(done, total)

    def write(self, **fields: str) -> None:
        self._written = time.monotonic()
        Operation.objects.filter(pk=self.pk).update(
            done=self.done, total=self.total, seen_at=timezone.now(), **fields
        )


def _run(pk: int, work: Work) -> None:
    watch, ended = _Watch(pk), Event()
    Thread(target=_beat, args=(pk, ended), daemon=True).start()
    try:
        state, outcome = _outcome(work, watch)
        watch.write(state=state, outcome=outcome[:OUTCOME_LONGEST])
    except Exception:  # the row cannot be written: it will be seen as lifeless
        logger.exception("The end of operation %s cannot be written", pk)
    finally:
        ended.set()
        connections.close_all()


def _outcome(work: Work, watch: _Watch) -> tuple[Operation.State, str]:
    try:
        return State.DONE, work(watch)
    except StoppedError as stopped:
        return State.STOPPED, str(stopped)
    except PKIError as error:
        audit.record_refusal(error)
        return State.FAILED, str(error)
    except Exception:  # whatever it was, whoever waits must learn that it is over
        logger.exception("Operation %s failed", watch.pk)
        return State.FAILED, UNEXPECTED


def _beat(pk: int, ended: Event) -> None:
    """A sign of life, also while one piece takes long."""
    try:
        while not ended.wait(HEARTBEAT):
            Operation.objects.filter(pk=pk).update(seen_at=timezone.now())
    except Exception:
        logger.exception("Operation %s gives no sign of life any more", pk)
    finally:
        connections.close_all()
