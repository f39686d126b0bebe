"""The verbs of reactions: an emoji of a person on a message, there or not there."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from chat.errors import NotAllowedError
from chat.log import Written
from chat.models import Event, Membership, Message, Reaction
from chat.permissions import may_react
from chat.places import (
    ARCHIVED,
    last_about,
    message_there,
    take_number,
    unchanged,
    write_about,
)
from pki.identity import Identity

MOST = 20  # different ones on a message


def add_reaction(
    *, actor: Identity, room: str, message: str, emoji: str, at: dt.datetime
) -> Written:
    """Put an emoji of the actor's on a message; one that is there already stays.

    Refuses a message that is not in a room of the actor's (NotFoundError), one that is deleted or
    expired, an archived room, and more than MOST different emoji on a message (NotAllowedError).
    """
    with transaction.atomic():
        place, found = _begin(actor=actor, room=room, message=message)
        added = Event.Type.REACTION_ADDED
        if found.reactions.filter(user_id=actor.user_id, emoji=emoji).exists():
            return unchanged(_last(found, added, actor=actor, emoji=emoji))
        _check_space(found, emoji)
        event = write_about(found, added, place=place, actor=actor, at=at, emoji=emoji)
        Reaction.objects.create(message=found, user_id=actor.user_id, emoji=emoji)
    return Written(event)


def remove_reaction(
    *, actor: Identity, room: str, message: str, emoji: str, at: dt.datetime
) -> Written:
    """Take the actor's emoji from a message; one that is gone already stays gone.

    Refuses what `add_reaction` refuses, and what was never there (NotFoundError).
    """
    with transaction.atomic():
        place, found = _begin(actor=actor, room=room, message=message)
        removed = Event.Type.REACTION_REMOVED
        if not found.reactions.filter(user_id=actor.user_id, emoji=emoji).delete()[0]:
            return unchanged(_last(found, removed, actor=actor, emoji=emoji))
        event = write_about(found, removed, place=place, actor=actor, at=at, emoji=emoji)
    return Written(event)


def _begin(*, actor: Identity, room: str, message: str) -> tuple[Membership, Message]:
    place = take_number(actor=actor, room=room)
    found = message_there(place.room, message)
    if not may_react(place):
        raise NotAllowedError(ARCHIVED)
    return place, found


def _check_space(message: Message, emoji: str) -> None:
    there = set(message.reactions.values_list("emoji", flat=True).distinct())
    if emoji not in there and len(there) >= MOST:
        raise NotAllowedError(f"A message bears at most {MOST} different reactions.")


def _last(message: Message, type: Event.Type, *, actor: Identity, emoji: str) -> Event:
    return last_about(message, type, by_id=actor.user_id, data__emoji=emoji)
