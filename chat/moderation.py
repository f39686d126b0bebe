"""Reports: a member asks those who look after a room, and the organisation, to look at a message.

Who reports a message agrees that it is read by whoever settles reports; that is the one way from
the console to what was said in a room, and each look is an entry of the audit trail.
"""

from __future__ import annotations

import datetime as dt
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Q

from chat import fanout, messages
from chat.errors import NotAllowedError
from chat.models import Event, Membership, Message, Report, Room
from chat.permissions import MODERATORS, may_delete_reported
from chat.places import message_in, own
from chat.protocol import push
from chat.trail import record
from pki.identity import Identity

SETTLED = "This report has been settled already."


def report(*, actor: Identity, room: str, message: str, reason: str, at: dt.datetime) -> None:
    """Report a message of a room of the actor's; tell those who moderate there, unless they wrote it.

    A second report of the same message by the same person changes nothing. Refuses the actor's own
    message and one that is gone (NotAllowedError), and what is no message there (NotFoundError).
    """
    place = own(actor=actor, room=room)
    reported = message_in(place.room, message)
    if reported.author_id == actor.user_id:
        raise NotAllowedError("This is your own message. You can delete it.")
    if not reported.is_there:
        raise NotAllowedError("This message is gone already.")
    try:
        with transaction.atomic():
            made = Report.objects.create(
                message=reported, by_id=actor.user_id, reason=reason, at=at
            )
            _record("report.made", made, actor=actor, at=at)
            transaction.on_commit(partial(_tell_moderators, reported), robust=True)
    except IntegrityError:  # the unique index: they have reported it before
        return


def settle_report(*, actor: Identity, report: Report, state: Report.State, at: dt.datetime) -> None:
    """Uphold or dismiss an open report; the message stays as it is. Refuses one that is settled
    (NotAllowedError)."""
    if state not in (Report.State.UPHELD, Report.State.DISMISSED):
        raise NotAllowedError("A report is upheld or dismissed.")
    with transaction.atomic():
        settled = Report.objects.filter(pk=report.pk, state=Report.State.OPEN).update(
            state=state, settled_at=at, settled_by=actor.user_id
        )
        if not settled:
            raise NotAllowedError(SETTLED)
        _record(f"report.{state}", report, actor=actor, at=at)


def may_delete(report: Report) -> bool:
    """Whether upholding it may delete the message: it is there, and its room lets it go."""
    return report.message.is_there and may_delete_reported(report.message.room)


def uphold_and_delete(*, actor: Identity, report: Report, at: dt.datetime) -> None:
    """Uphold an open report and delete its message (`chat.messages.delete_reported`), both or
    neither. The room's log has the actor as who deleted it, and no word of a report.

    Refuses a report that is settled, and a message that may not be deleted (NotAllowedError).
    """
    with transaction.atomic():
        Report.objects.select_for_update().get(pk=report.pk)  # before the audit trail, as elsewhere
        messages.delete_reported(actor=actor, message=report.message, at=at)
        settle_report(actor=actor, report=report, state=Report.State.UPHELD, at=at)


def read_reported(*, actor: Identity, report: Report, at: dt.datetime) -> list[str]:
    """What the reported message says and said before, newest first, for whoever settles the report;
    nothing where it is gone. Writes into the audit trail who has read it."""
    with transaction.atomic():
        _record("report.read", report, actor=actor, at=at)
    if not report.message.is_there:
        return []
    said = Q(pk=report.message_id) | Q(message=report.message_id, type=Event.Type.MESSAGE_EDITED)
    events = Event.objects.filter(said).order_by("-seq")
    return [event.data.get("body", "") for event in events]


def _record(action: str, report: Report, *, actor: Identity, at: dt.datetime) -> None:
    facts = {"report": report.pk, "message": str(report.message_id)}
    record(report.message.room, action, actor=actor, at=at, **facts)


def _tell_moderators(message: Message) -> None:
    count = Report.objects.filter(message=message, state=Report.State.OPEN).count()
    if message.room.kind == Room.Kind.DIRECT:  # nobody is above the others there
        return
    frame = push("report", room=message.room.slug, message=str(message.pk), count=count)
    places = Membership.objects.filter(room=message.room_id, role__in=MODERATORS)
    people = places.exclude(user=message.author_id).values_list("user_id", flat=True)
    fanout.announce(fanout.News(notes=tuple(fanout.Note(frame=frame, user_id=p) for p in people)))
