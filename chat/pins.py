"""The verbs of pins: what moderators keep at hand for a room."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from chat.errors import NotAllowedError
from chat.log import Written
from chat.models import Event, Membership, Message
from chat.permissions import may_pin
from chat.places import (
    ARCHIVED,
    last_about,
    message_there,
    take_number,
    unchanged,
    write_about,
)
from pki.identity import Identity

MOST = 50  # in a room


def pin_message(*, actor: Identity, room: str, message: str, at: dt.datetime) -> Written:
    """Pin a message; one that is pinned stays so.

    Refuses a message that is not in a room of the actor's (NotFoundError), one that is deleted or
    expired, who is no moderator (in a direct room everybody may), an archived room, and more than
    MOST pins in a room (NotAllowedError).
    """
    with transaction.atomic():
        place, found = _begin(actor=actor, room=room, message=message)
        if found.pinned_at is not None:
            return unchanged(last_about(found, Event.Type.MESSAGE_PINNED))
        if place.room.messages.filter(pinned_at__isnull=False).count() >= MOST:
            raise NotAllowedError(f"{MOST} messages are pinned here. Unpin one first.")
        event = write_about(found, Event.Type.MESSAGE_PINNED, place=place, actor=actor, at=at)
        Message.objects.filter(pk=found.pk).update(pinned_at=at)
    return Written(event)


def unpin_message(*, actor: Identity, room: str, message: str, at: dt.datetime) -> Written:
    """Unpin a message; one that is not pinned any more stays so.

    Refuses what `pin_message` refuses, and what was never pinned (NotFoundError).
    """
    with transaction.atomic():
        place, found = _begin(actor=actor, room=room, message=message)
        if found.pinned_at is None:
            return unchanged(last_about(found, Event.Type.MESSAGE_UNPINNED))
        event = write_about(found, Event.Type.MESSAGE_UNPINNED, place=place, actor=actor, at=at)
        Message.objects.filter(pk=found.pk).update(pinned_at=None)
    return Written(event)


def _begin(*, actor: Identity, room: str, message: str) -> tuple[Membership, Message]:
    place = take_number(actor=actor, room=room)
    found = message_there(place.room, message)
    if place.room.archived_at is not None:
        raise NotAllowedError(ARCHIVED)
    if not may_pin(place):
        raise NotAllowedError("Only moderators pin messages in this room.")
    return place, found
