"""This process in the database: its lease, the connections it holds and what it counted.

Written from a thread of its own, in batches. What always holds:
  1. a connection that ends within its first second is never written;
  2. new and ended connections are written in the next round, once a second; their counts at most
     every five seconds, so that 2,000 busy sockets do not mean 2,000 rows a second;
  3. a row marked `is_to_end` is of a connection that this process ends in its next round;
  4. a process that was taken for dead (it was stopped, or the database was away) comes back as a
     new one, with what it has counted since then.
While the database cannot be written, serving goes on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from django.db import Error as DatabaseTrouble
from django.db import close_old_connections
from django.db.models.functions import Now
from django.utils import timezone

from chat.protocol import CloseCode
from pki.models import Certificate, User
from project.live import connections as live
from project.live import processes
from project.models import LiveConnection, Process
from project.tls import tally
from project.tls.connection import Connection
from project.tls.listeners import Listeners
from project.tls.note import Note

logger = logging.getLogger("project.live")
Result = TypeVar("Result")

ROUND = 1.0  # seconds
RENEWAL = 2.0
COUNTS = 5.0
GRACE = 5.0  # for a web connection to finish its answer, once it was told to end
PATIENCE = 3.0  # with the database, when the process ends
BATCH = 250
CHANGES = ("kind", "user", "active_at", "received", "sent")


class Sight(NamedTuple):
    """What the event loop holds at one moment."""

    at: float
    connections: dict[int, Connection]  # by number
    held: dict[str, dict[str, int]]  # endpoint → kind → how many, all of them


class Register:
    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self._started_at = timezone.now()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="register")
        self._wake = asyncio.Event()
        self._ending: dict[int, float] = {}  # number → when it is cut
        # What follows belongs to the thread.
        self._is_known = False
        self._written: dict[int, tuple[Any, ...]] = {}
        self._told: dict[str, int] = {}  # counts that stand in another row than ours
        self._saved: dict[str, int] = {}  # counts that stand in some row
        self._renewed_at = self._counted_at = float("-inf")
        self._is_complaining = False

    async def run(self, ports: Listeners) -> None:
        """Goes on until it is cancelled; then the row goes, with all its connections."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        live.when_marked(wake)
        try:
            while True:
                try:
                    await self._round(ports)
                except Exception:  # without rounds this process would be taken for dead
                    logger.exception("A round of the register was cut short.")
                await self._pause()
        finally:
            live.forget(wake)
            left = loop.run_in_executor(self._thread, _fresh, self._leave)
            await asyncio.wait([left], timeout=PATIENCE)
            self._thread.shutdown(wait=False)

    # --- On the event loop --------------------------------------------------------------------

    async def _round(self, ports: Listeners) -> None:
        sight = look(ports, at=time.time())
        loop = asyncio.get_running_loop()
        marked = await loop.run_in_executor(self._thread, _fresh, partial(self._write, sight))
        now = time.monotonic()
        self._ending = {n: end for n, end in self._ending.items() if n in sight.connections}
        for number in marked:
            connection = sight.connections.get(number)
            if connection is None:
                continue
            if number not in self._ending:
                self._ending[number] = now + GRACE
                end(connection)
            elif now >= self._ending[number]:
                connection.abort()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(ROUND):  # wait_for can swallow a cancellation
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    # --- In the thread ------------------------------------------------------------------------

    def _write(self, sight: Sight) -> list[int]:
        """Bring the rows in line with what is held; the numbers of connections that are to end."""
        try:
            self._renew(sight)
            self._write_connections(sight)
            numbers = self._to_end(sight)
        except Exception as error:
            self._is_known = False  # look at everything again
            if not self._is_complaining:
                trace = None if isinstance(error, DatabaseTrouble) else error
                logger.error("Live connections cannot be written down: %s", error, exc_info=trace)
            self._is_complaining = True
            return []
        self._is_complaining = False
        return numbers

    def _renew(self, sight: Sight) -> None:
        now = time.monotonic()
        if self._is_known and now - self._renewed_at < RENEWAL:
            return
        counts = tally.counts()
        mine = Process.objects.filter(pk=self.id)
        if not mine.update(seen_at=Now(), counters=self._since(counts), held=sight.held):
            self._enter(counts, sight.held)
        elif not self._is_known:
            self._recall()
        self._saved = counts
        self._is_known, self._renewed_at = True, now
        processes.bury_dead()

    def _since(self, counts: dict[str, int]) -> dict[str, int]:
        """What this row has to tell; the rest was told by one that is gone."""
        return {key: number - self._told.get(key, 0) for key, number in counts.items()}

    def _enter(self, counts: dict[str, int], held: dict[str, dict[str, int]]) -> None:
        self.id = uuid.uuid4()
        self._told, self._written = self._saved, {}
        Process.objects.create(
            id=self.id,
            host=socket.gethostname()[:255],
            pid=os.getpid(),
            started_at=self._started_at,
            seen_at=Now(),
            counters=self._since(counts),
            held=held,
        )

    def _recall(self) -> None:
        """After a failure nobody knows how far the last round came: write all of them again."""
        LiveConnection.objects.filter(process_id=self.id).delete()
        self._written = {}

    def _to_end(self, sight: Sight) -> list[int]:
        mine = LiveConnection.objects.filter(process_id=self.id, is_to_end=True)
        marked = set(mine.order_by().values_list("number", flat=True))
        if out := live.signed_out():
            for number, connection in sight.connections.items():
                note = _note(connection)
                if note.user_id in out and note.opened_at < out[note.user_id]:
                    marked.add(number)
        return sorted(marked)

    def _write_connections(self, sight: Sight) -> None:
        now = time.monotonic()
        with_counts = now - self._counted_at >= COUNTS
        held = sight.connections
        facts = {
            number: _changing(note)
            for number, connection in held.items()
            if sight.at - (note := _note(connection)).opened_at >= ROUND
        }
        gone = self._written.keys() - facts.keys()
        due = {
            number
            for number, known in facts.items()
            if (before := self._written.get(number)) is None
            or before[:2] != known[:2]
            or (with_counts and before != known)
        }
        if with_counts:
            self._counted_at = now
        for some in _pieces(gone):
            LiveConnection.objects.filter(process_id=self.id, number__in=some).delete()
            for number in some:
                del self._written[number]
        for some in _pieces(due):
            _upsert([_row(self.id, held[number], facts[number]) for number in some])
            self._written.update((number, facts[number]) for number in some)

    def _leave(self) -> None:
        try:
            processes.leave(self.id, self._since(tally.counts()))
        except Exception as error:
            logger.error("This process could not say that it ends: %s", error)


def _fresh(call: Callable[[], Result]) -> Result:
    with suppress(DatabaseTrouble):  # `call` says it better
        close_old_connections()
    return call()


def look(ports: Listeners, *, at: float) -> Sight:
    """What is held now; of connections in their handshake only how many there are."""
    held: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    opened: dict[int, Connection] = {}
    for name in ports.endpoints:
        held[name]  # nobody is there, but we listen
    for connection in ports.connections():
        note = connection.note
        held[connection.settings.name][note.kind if note else "handshake"] += 1
        if note is not None and not connection.is_done:
            opened[note.number] = connection
    return Sight(at, opened, {name: dict(kinds) for name, kinds in held.items()})


def end(connection: Connection) -> None:
    """A socket is told why; everything else finishes what it is at."""
    if connection.transport is None:
        return
    protocol = connection.transport.protocol
    sign_out = getattr(protocol, "sign_out", None)
    if sign_out is not None:
        sign_out(CloseCode.SIGNED_OUT, CloseCode.SIGNED_OUT.sentence)
    else:
        protocol.going_away()


def _upsert(rows: list[LiveConnection]) -> None:
    """Where nobody has asked yet who it is (for a file that everybody may have, say), the owner of
    the certificate counts."""
    told = {row.user_id for row in rows if row.user_id is not None}
    people = set(User.objects.filter(pk__in=told).values_list("pk", flat=True))
    untold = {row.sha256 for row in rows if row.sha256 and row.user_id not in people}
    owners = dict(Certificate.objects.filter(sha256__in=untold).values_list("sha256", "owner_id"))
    for row in rows:
        if row.user_id not in people:  # not told, or somebody who was deleted meanwhile
            row.user_id = owners.get(row.sha256)
    LiveConnection.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["process", "number"],
        update_fields=CHANGES,
    )


def _note(connection: Connection) -> Note:
    assert connection.note is not None  # `look` left out those without
    return connection.note


def _changing(note: Note) -> tuple[Any, ...]:
    return (note.kind, note.user_id, note.active_at, note.received, note.sent)


def _row(process: uuid.UUID, connection: Connection, known: tuple[Any, ...]) -> LiveConnection:
    note, facts = _note(connection), connection.facts
    assert facts is not None
    tls = facts.tls
    certificate = tls.certificate if tls else None
    kind, user_id, active_at, received, sent = known
    return LiveConnection(
        process_id=process,
        number=note.number,
        endpoint=facts.endpoint,
        peer=_address(connection.peer),
        kind=kind,
        user_id=user_id,
        sha256=sha256(certificate).hexdigest() if certificate else "",
        tls_version=tls.version if tls else "",
        cipher=tls.cipher if tls else "",
        opened_at=_moment(note.opened_at),
        active_at=_moment(active_at),
        received=received,
        sent=sent,
    )


def _address(peer: tuple[Any, ...]) -> str:
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _pieces(numbers: set[int]) -> list[list[int]]:
    """A transaction each, so that nobody who writes waits for long."""
    ordered = sorted(numbers)
    return [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
