"""Taking out what was said: a whole room, or all that one person did, as one ZIP file.

What always holds:
  1. the file is there whole or not at all, and its owner alone may read it;
  2. nothing is taken out without an entry in the audit trail;
  3. what was deleted or expired while it was written is not in it;
  4. each line is JSON as the socket has it (docs/protocol.md), so it can be read without this program.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Q, QuerySet

from chat import attachments, files
from chat.errors import BadRequestError, UnavailableError
from chat.log import person
from chat.models import Attachment, Event, Membership, Message, Report, Room
from chat.protocol import Wire, moment
from chat.querysets import MessageQuerySet
from pki import audit
from pki.identity import describe

Progress = Callable[[int, int], None]  # pieces done, pieces in all

CHUNK = 500
TRIES = 3  # where messages go meanwhile
LONGEST_NAME = 200  # bytes
RESERVED = re.compile(r'[<>:"|?*]')  # on Windows
EARLIEST_IN_ZIP = (1980, 1, 1, 0, 0, 0)


@dataclass
class Exported:
    """What went into the file."""

    events: int = 0
    files: int = 0
    missing: int = 0  # files whose bytes are not there
    serials: set[str] = field(default_factory=set, repr=False)

    @property
    def sentence(self) -> str:
        lost = f", {self.missing} files are missing" if self.missing else ""
        return f"{self.events} events, {self.files} files{lost}"

    @property
    def detail(self) -> Wire:
        return {"events": self.events, "files": self.files, "missing": self.missing}


def export_room(
    *, actor: str, room: Room, out: Path, at: dt.datetime, progress: Progress
) -> Exported:
    """Write all of a room into a new file: its log, members, certificates and files.

    Refuses a file that exists (BadRequestError), one that cannot be written, and messages that are
    deleted or expire again and again meanwhile (UnavailableError). `progress` is called now and
    then and may raise to stop; then nothing is left behind.
    """
    events = Event.objects.in_room(room.pk).filter(seq__lte=room.last_seq).order_by("seq")
    attached = Attachment.objects.filter(room=room, message__isnull=False)

    def write(archive: Archive) -> Exported:
        archive.write("room.json", [_room(room)])
        archive.write("members.jsonl", map(_place, _places(room=room)))
        return _write_log(archive, events, attached, at=at, progress=progress)

    said = Message.objects.filter(room=room)
    record = partial(_record, actor, "room.exported", f"room:{room.slug}", at=at)
    return _export(out, write, record, said=said, at=at)


def export_person(
    *, actor: str, subject: AbstractUser, out: Path, at: dt.datetime, progress: Progress
) -> Exported:
    """Write into a new file what a person did and what was done to them: the events by and about
    them of all rooms, their rooms, reports, certificates and files.

    What others wrote stays out. Refuses and stops as `export_room`.
    """
    done_or_suffered = Q(by=subject.pk) | Q(about=subject.pk)
    events = Event.objects.filter(done_or_suffered).select_related("room", "by")
    attached = Attachment.objects.filter(uploader=subject.pk, message__isnull=False)

    def write(archive: Archive) -> Exported:
        archive.write("person.json", [_person(subject)])
        archive.write("rooms.jsonl", map(_membership, _places(user=subject.pk)))
        archive.write("reports.jsonl", map(_report, Report.objects.filter(by=subject.pk)))
        return _write_log(
            archive, events.order_by("room_id", "seq"), attached, at=at, progress=progress
        )

    said = Message.objects.filter(author=subject.pk)
    record = partial(_record, actor, "person.exported", subject.get_username(), at=at)
    return _export(out, write, record, said=said, at=at)


class _OutdatedError(Exception):
    """A message has gone of which the archive may hold the words or files."""


def _export(
    out: Path,
    write: Callable[[Archive], Exported],
    record: Callable[[Exported], None],
    *,
    said: MessageQuerySet,
    at: dt.datetime,
) -> Exported:
    """Write the archive and record it; begin anew where messages of it go meanwhile."""
    for _ in range(TRIES):
        with suppress(_OutdatedError), _archive(out, at=at) as archive:
            before = said.gone().count()
            done = write(archive)
            if said.gone().count() != before:
                raise _OutdatedError
            record(done)
            return done
    raise UnavailableError("Messages keep being deleted or expiring meanwhile. Export it later.")


# --- What goes in ---------------------------------------------------------------------------


def _write_log(
    archive: Archive,
    events: QuerySet[Event],
    attached: QuerySet[Attachment],
    *,
    at: dt.datetime,
    progress: Progress,
) -> Exported:
    done = Exported()
    total = events.count() + attached.count()
    archive.write("events.jsonl", _lines(events, done, total=total, progress=progress))
    known = (one for serials in _portions(done.serials) for one in describe(serials, at=at))
    archive.write("certificates.jsonl", (_flat(vars(facts)) for facts in known))
    archive.write("files.jsonl", map(_file, attached.iterator(CHUNK)))
    for attachment in attached.iterator(CHUNK):
        if archive.copy(_name(attachment), files.path(attachment.pk)):
            done.files += 1
        else:
            done.missing += 1
        progress(done.events + done.files + done.missing, total)
    return done


def _lines(
    events: QuerySet[Event], done: Exported, *, total: int, progress: Progress
) -> Iterator[Wire]:
    for event in events.iterator(CHUNK):
        yield event.wire
        done.events += 1
        if event.certificate_serial:
            done.serials.add(event.certificate_serial)
        if done.events % CHUNK == 0:
            progress(done.events, total)


def _portions(serials: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(serials)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


def _places(**of: Any) -> QuerySet[Membership]:
    return Membership.objects.filter(**of).select_related("room", "user").order_by("pk")


def _room(room: Room) -> Wire:
    names = ("slug", "name", "description", "kind", "posting", "slow_seconds", "retention_days")
    facts = {name: getattr(room, name) for name in (*names, "legal_hold", "created_at")}
    return _flat(facts | {"archived_at": room.archived_at, "head": room.last_seq})


def _place(membership: Membership) -> Wire:
    user, joined = person(membership.user), moment(membership.joined_at)
    return {"user": user, "role": membership.role, "joined_at": joined, "read": membership.read_seq}


def _membership(membership: Membership) -> Wire:
    place = {name: value for name, value in _place(membership).items() if name != "user"}
    return {"room": membership.room.slug, "name": membership.room.name, **place}


def _person(subject: AbstractUser) -> Wire:
    facts = {"email": subject.email, "joined": subject.date_joined, "active": subject.is_active}
    return person(subject) | _flat(facts)


def _report(report: Report) -> Wire:
    facts = {"message": str(report.message_id), "reason": report.reason, "state": report.state}
    return facts | {"at": moment(report.at)}


def _file(attachment: Attachment) -> Wire:
    facts = {"message": str(attachment.message_id), "sha256": attachment.sha256}
    return attachments.wire(attachment) | facts | {"file": _name(attachment)}


def _name(attachment: Attachment) -> str:
    """A name that every file system takes: its end, where that is too long for one."""
    plain = RESERVED.sub("_", attachment.name)
    return f"files/{attachment.pk}/{plain.encode()[-LONGEST_NAME:].decode(errors='ignore')}"


def _flat(facts: Wire) -> Wire:
    return {k: moment(v) if isinstance(v, dt.datetime) else v for k, v in facts.items()}


def _record(actor: str, action: str, target: str, done: Exported, *, at: dt.datetime) -> None:
    with transaction.atomic():
        audit.record(actor=actor, action=action, target=target, detail=done.detail, at=at)


# --- The file -------------------------------------------------------------------------------


class Archive:
    def __init__(self, archive: zipfile.ZipFile, at: dt.datetime) -> None:
        self._zip, self._at = archive, at

    def write(self, name: str, lines: Iterable[Wire]) -> None:
        with self._zip.open(self._entry(name), "w", force_zip64=True) as member:
            for line in lines:
                member.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def copy(self, name: str, place: Path) -> bool:
        """Take a file in; false where it is not there."""
        try:
            source = place.open("rb")
        except OSError:
            return False
        with source, self._zip.open(self._entry(name), "w", force_zip64=True) as member:
            shutil.copyfileobj(source, member, 1024 * 1024)
        return True

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, max(self._at.timetuple()[:6], EARLIEST_IN_ZIP))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o600 << 16
        return entry


@contextmanager
def _archive(out: Path, *, at: dt.datetime) -> Iterator[Archive]:
    """A new archive that bears its name only once all is in it and on disk."""
    if out.exists():
        raise BadRequestError(f"{out} exists already; name another file.")
    part = out.with_name(f".{out.name}.part")
    try:
        part.unlink(missing_ok=True)  # of an export that was killed
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    yield Archive(archive, at)
                file.flush()
                os.fsync(file.fileno())
            part.rename(out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"{out} cannot be written: {error.strerror}.") from error
