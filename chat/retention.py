"""Messages that have lasted long enough: their content goes, and that they were there stays.

What always holds:
  1. a legal hold is asked about under the room's lock, so nothing goes after it is set;
  2. the room learns of it before anything goes: one event says up to which number;
  3. a run that was cut off is taken up by the next one, which does not say it twice.
Numbers keep their events, so the log has no holes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import Max

from chat import log
from chat.models import Event, Message, Room
from chat.querysets import RoomQuerySet
from chat.redaction import redact_many
from pki import audit

Progress = Callable[[int, int], None]  # messages done, messages in all

BATCH = 200  # messages of one transaction, which keeps the room from being written to
EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SERVER = "retention"  # in the audit trail
A_TURN = 10_000  # messages that upkeep takes before other duties have their turn


def unwatched(done: int, total: int) -> None:
    """For callers to whom only the end matters."""


def expire_messages(
    *,
    at: dt.datetime,
    actor: str = SERVER,
    progress: Progress = unwatched,
    most: int | None = None,
) -> int:
    """Take the content of all messages that are older than their room keeps them.

    Days are whole ones in UTC: what was written on a day goes together, once `retention_days` days
    have passed since. Text and its earlier versions, files, reactions, mentions and pins go; author,
    moment and number stay. Rooms under a legal hold are left alone. Each room gets one event and
    the audit trail one entry. Returns how many messages it were; `progress` is called after each
    batch, and may raise to stop. After `most` of them the rest is left to the next run.
    """
    rooms = [(room, due) for room in _rooms() if (due := _due(room, at))]
    counts = [
        Message.objects.there().filter(room=room, seq__lte=due).count() for room, due in rooms
    ]
    done, total = 0, sum(counts)
    for (room, due), count in zip(rooms, counts, strict=True):
        if not _announce(room, upto=due, count=count, actor=actor, at=at):
            continue
        while taken := _take(room, upto=due, at=at):
            done += taken
            progress(done, max(done, total))
            if most is not None and done >= most:
                return done
    return done


def _rooms(**which: Any) -> RoomQuerySet:
    """Rooms whose messages may expire now."""
    return Room.objects.filter(retention_days__isnull=False, legal_hold="", **which)


def _due(room: Room, at: dt.datetime) -> int:
    """The number up to which messages are old enough; 0 where there is none."""
    assert room.retention_days is not None
    today = at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = min(room.retention_days, (today - EARLIEST).days)
    old = Message.objects.there().filter(room=room, at__lt=today - dt.timedelta(days=days))
    return old.aggregate(upto=Max("seq"))["upto"] or 0


def _announce(room: Room, *, upto: int, count: int, actor: str, at: dt.datetime) -> bool:
    """Say in the room up to where messages expire, unless that has been said; false where they do
    not any more."""
    with transaction.atomic():
        found = _rooms(pk=room.pk).select_for_update().first()
        if found is None:
            return False
        if _announced(found) < upto:
            log.take_number(_rooms(pk=room.pk))
            found.refresh_from_db()
            log.append(
                room=found,
                type=Event.Type.MESSAGES_EXPIRED,
                actor=None,
                data={"upto": upto},
                at=at,
            )
            audit.record(
                actor=actor,
                action="room.messages_expired",
                target=f"room:{found.slug}",
                detail={"upto": upto, "messages": count, "days": found.retention_days},
                at=at,
            )
    return True


def _announced(room: Room) -> int:
    said = Event.objects.filter(by=None, room=room, type=Event.Type.MESSAGES_EXPIRED)
    last = said.order_by("-seq").first()
    return last.data["upto"] if last is not None else 0


def _take(room: Room, *, upto: int, at: dt.datetime) -> int:
    """Take the content of one batch; how many there were."""
    with transaction.atomic():
        if _rooms(pk=room.pk).select_for_update().first() is None:
            return 0
        old = Message.objects.there().filter(room=room, seq__lte=upto).order_by("seq")
        messages = list(old.values_list("pk", flat=True)[:BATCH])
        if messages:
            redact_many(messages, word="expired", at=at)
    return len(messages)
