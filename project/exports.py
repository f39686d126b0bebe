"""Exports that the console asks for: made beside it, kept for a week, downloaded and removed.

What always holds:
  1. a file is found by its row, and lies under SIGNET_HOME/exports by a name that is drawn here;
  2. each download and each removal is an entry of the audit trail, in the transaction that it is in;
  3. a file lies on the machine that made it, and on no other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from chat import export
from chat.errors import ChatError
from chat.models import Room
from pki import audit, operations
from pki.errors import RequestError, StateError
from pki.models import Operation, User
from pki.progress import Progress
from project.models import Export

Write = Callable[[Path, Progress], export.Exported]

KEPT = dt.timedelta(days=7)
UPKEEP = "upkeep"  # in the audit trail
ELSEWHERE = "The file is not on this machine: it is on the one that made it, or was removed there."


def begin_room(*, actor: str, room: Room, at: dt.datetime) -> Operation:
    """Export a room in an operation of its own (`chat.export.export_room`)."""

    def write(out: Path, progress: Progress) -> export.Exported:
        return export.export_room(actor=actor, room=room, out=out, at=at, progress=progress)

    return _begin(actor=actor, subject=f"room:{room.slug}", write=write, at=at)


def begin_person(*, actor: str, subject: User, at: dt.datetime) -> Operation:
    """Export what a person did in an operation of its own (`chat.export.export_person`)."""

    def write(out: Path, progress: Progress) -> export.Exported:
        return export.export_person(actor=actor, subject=subject, out=out, at=at, progress=progress)

    return _begin(actor=actor, subject=subject.username, write=write, at=at)


def finished() -> QuerySet[Export]:
    """Exports that are whole."""
    return Export.objects.filter(size__isnull=False)


def is_here(kept: Export) -> bool:
    return _place(kept).is_file()


def read(*, actor: str, kept: Export, at: dt.datetime) -> IO[bytes]:
    """The file of an export, open, for whoever downloads it; the caller closes it.

    Writes an audit entry. Refuses one that is not on this machine (StateError).
    """
    try:
        file = _place(kept).open("rb")
    except OSError:
        raise StateError(ELSEWHERE) from None
    try:
        with transaction.atomic():
            _record("export.downloaded", kept, actor=actor, at=at)
    except BaseException:
        file.close()
        raise
    return file


def remove(*, actor: str, kept: Export, at: dt.datetime) -> None:
    """Remove an export from this machine and from the list.

    Writes an audit entry. Refuses one that is gone or not on this machine (StateError); what the
    disk refuses stays in the list.
    """
    try:
        with transaction.atomic():
            if not Export.objects.filter(pk=kept.pk).delete()[0]:
                raise StateError("This export has been removed already.")
            _record("export.removed", kept, actor=actor, at=at)
            _place(kept).unlink()
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise StateError(ELSEWHERE) from None
        raise StateError(f"The file cannot be removed: {error.strerror}.") from None


def prune(*, at: dt.datetime) -> int:
    """Forget exports that are older than a week, and remove every file of that age which lies
    among them on this machine; returns how many files."""
    for kept in Export.objects.filter(at__lt=at - KEPT):
        with transaction.atomic():
            if Export.objects.filter(pk=kept.pk).delete()[0] and kept.size is not None:
                _record("export.removed", kept, actor=UPKEEP, at=at)
    folder = _folder()
    old = [file for file in folder.iterdir() if _is_old(file, at)] if folder.is_dir() else []
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)


# --- Inside ---------------------------------------------------------------------------------


def _begin(*, actor: str, subject: str, write: Write, at: dt.datetime) -> Operation:
    with transaction.atomic():
        begun = Export.objects.create(subject=subject, made_by=actor, at=at)
        operation = operations.start(
            actor=actor,
            title="Export of a room" if begun.is_of_room else "Export of a person",
            work=partial(_carry_out, begun, write),
            at=at,
        )
        Export.objects.filter(pk=begun.pk).update(operation=operation)
    return operation


def _carry_out(begun: Export, write: Write, progress: Progress) -> str:
    """In the operation's thread: nothing is left of one that fails or is stopped."""
    out = _place(begun)
    try:
        _folder().mkdir(mode=0o700, exist_ok=True)
        done = write(out, progress)
        Export.objects.filter(pk=begun.pk).update(size=out.stat().st_size)
    except BaseException as error:
        out.unlink(missing_ok=True)
        Export.objects.filter(pk=begun.pk).delete()
        if isinstance(error, ChatError):
            raise RequestError(str(error)) from None
        raise
    return f"{done.sentence}."


def _folder() -> Path:
    home: Path = settings.SIGNET_HOME
    return home / "exports"


def _place(kept: Export) -> Path:
    return _folder() / f"{kept.pk.hex}.zip"


def _is_old(file: Path, at: dt.datetime) -> bool:
    try:
        return file.is_file() and file.stat().st_mtime < (at - KEPT).timestamp()
    except FileNotFoundError:  # another process was faster
        return False


def _record(action: str, kept: Export, *, actor: str, at: dt.datetime) -> None:
    facts = {"export": str(kept.pk), "bytes": kept.size}
    audit.record(actor=actor, action=action, target=kept.subject, detail=facts, at=at)
