"""The verbs that members do to others: bring in, put out, ban, give a role. And one's own notices.

What is done to others is recorded in the audit trail, in the transaction that does it.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import transaction

from chat import fanout, log
from chat.errors import NotAllowedError, NotFoundError
from chat.log import Written
from chat.models import Ban, Event, Membership, Room
from chat.permissions import may_change_role, may_invite, may_pardon, may_remove
from chat.places import (
    ARCHIVED,
    ban_of,
    check_places_of,
    enter,
    go,
    joined_before,
    own,
    people_called,
    place_of,
    take_number,
    unchanged,
)
from chat.rooms import LAST_OWNER, is_last_owner
from chat.trail import record
from pki.identity import Identity

User = get_user_model()
ROLES = (Event.Type.ROOM_CREATED, Event.Type.MEMBER_JOINED, Event.Type.MEMBER_ROLE)
NEVER = {
    Event.Type.MEMBER_LEFT: "{} is not in this room.",
    Event.Type.MEMBER_UNBANNED: "{} is not banned from this room.",
}


def invite(*, actor: Identity, room: str, user: str, at: dt.datetime) -> Written:
    """Bring somebody into a room of the actor's; where they are in it, nothing changes.

    Refuses direct and archived rooms, who is banned there, who is in too many rooms
    (NotAllowedError), and who is not here (NotFoundError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        [guest] = people_called({user})
        if Membership.objects.filter(room=place.room, user_id=guest.pk).exists():
            return unchanged(joined_before(place.room, user_id=guest.pk))
        if not may_invite(place):
            is_direct = place.room.kind == Room.Kind.DIRECT
            raise NotAllowedError("Nobody joins a direct room." if is_direct else ARCHIVED)
        if ban_of(place.room, user_id=guest.pk) is not None:
            raise NotAllowedError(f"{user} was banned from this room.")
        check_places_of([guest])
        return Written(enter(place.room, user=guest, actor=actor, at=at))


def remove(*, actor: Identity, room: str, user: str, at: dt.datetime) -> Written:
    """Put somebody out of a room; where they have gone already, nothing changes.

    What comes later there does not reach them any more. Refuses the actor, who leaves instead, and
    whom the actor may not remove (NotAllowedError), and who never was a member (NotFoundError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        other = place_of(place.room, username=user)
        _check_may_remove(place, other, user)
        if other is None:
            return unchanged(_last_about(place.room, user, Event.Type.MEMBER_LEFT))
        event = go(place.room, user=other.user, actor=actor, at=at)
        _record("removed", event, actor=actor, user=user)
    return Written(event)


def ban(*, actor: Identity, room: str, user: str, reason: str, at: dt.datetime) -> Written:
    """Put somebody out, member or not, and let them in no more; the room reads the reason.

    Who is banned already stays so for the first reason. Refuses the actor and whom the actor may not
    remove (NotAllowedError), and who is not here (NotFoundError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        other = place_of(place.room, username=user)
        _check_may_remove(place, other, user)
        person = other.user if other is not None else _person(user)
        if ban_of(place.room, user_id=person.pk) is not None:
            return unchanged(_last_about(place.room, user, Event.Type.MEMBER_LEFT))
        Ban.objects.create(
            room=place.room, user_id=person.pk, by_id=actor.user_id, reason=reason, at=at
        )
        event = go(place.room, user=person, actor=actor, at=at, banned=True, reason=reason)
        _record("banned", event, actor=actor, user=user, reason=reason)
    return Written(event)


def unban(*, actor: Identity, room: str, user: str, at: dt.datetime) -> Written:
    """Lift a ban; it brings nobody in. Where it was lifted already, nothing changes.

    Refuses who may not ban (NotAllowedError), and who was never banned (NotFoundError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        if not may_pardon(place):
            raise NotAllowedError(f"You may not lift a ban in “{place.room.name}”.")
        person = _person(user)
        if not Ban.objects.filter(room=place.room, user_id=person.pk).delete()[0]:
            return unchanged(_last_about(place.room, user, Event.Type.MEMBER_UNBANNED))
        event = log.append(
            room=place.room,
            type=Event.Type.MEMBER_UNBANNED,
            actor=actor,
            data={"user": log.person(person)},
            at=at,
            about=person,
        )
        _record("unbanned", event, actor=actor, user=user)
    return Written(event)


def change_role(*, actor: Identity, room: str, user: str, role: str, at: dt.datetime) -> Written:
    """Make a member owner, moderator or plain member; where they are that already, nothing changes.

    Refuses who is no owner, a direct room, and the last owner's own step down (NotAllowedError), and
    who is no member (NotFoundError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        if not may_change_role(place):
            raise NotAllowedError("Only the owners of a room give roles.")
        other = place_of(place.room, username=user)
        if other is None:
            raise NotFoundError(f"{user} is not in this room.")
        if other.role == role:
            return unchanged(_role_given(other))
        if is_last_owner(other):
            raise NotAllowedError(LAST_OWNER)
        event = give_role(other, role, actor=actor, at=at)
    return Written(event)


def give_role(other: Membership, role: str, *, actor: Identity, at: dt.datetime) -> Event:
    """Change a role under the number just taken."""
    former, other.role = other.role, role
    other.save(update_fields=["role"])
    event = log.append(
        room=other.room,
        type=Event.Type.MEMBER_ROLE,
        actor=actor,
        data={"user": log.person(other.user), "role": role},
        at=at,
        about=other.user,
    )
    facts = {"user": other.user.username, "from": str(former), "to": role}
    record(other.room, "room.role_changed", actor=actor, at=at, seq=event.seq, **facts)
    return event


def set_notices(*, actor: Identity, room: str, level: str) -> None:
    """Choose what of a room the actor wants to be told of; their connections hear of it."""
    place = own(actor=actor, room=room)
    changed = Membership.objects.filter(pk=place.pk).exclude(notify=level).update(notify=level)
    if changed:
        news = fanout.News(people=(actor.user_id,))
        transaction.on_commit(partial(fanout.announce, news), robust=True)


def _record(done: str, event: Event, *, actor: Identity, **facts: Any) -> None:
    action = f"room.member_{done}"
    record(event.room, action, actor=actor, at=event.at, seq=event.seq, **facts)


def _check_may_remove(place: Membership, other: Membership | None, username: str) -> None:
    if username == place.user.username:
        raise NotAllowedError("Leave the room instead.")
    if not may_remove(place, other):
        raise NotAllowedError(f"You may not remove {username} from this room.")


def _person(username: str) -> AbstractUser:
    """Whether or not their account is open."""
    found: AbstractUser | None = User.objects.filter(username=username).first()
    if found is None:
        raise NotFoundError(f"There is nobody called {username}.")
    return found


def _last_about(room: Room, username: str, type: Event.Type) -> Event:
    """The newest event of a kind about somebody. Raises NotFoundError where it never happened."""
    about = Event.objects.in_room(room.pk).filter(type=type, about__username=username)
    found = about.order_by("-seq").first()
    if found is None:
        raise NotFoundError(NEVER[type].format(username))
    return found


def _role_given(place: Membership) -> Event:
    """The event since which somebody has the role they have."""
    given = Event.objects.in_room(place.room_id).filter(type__in=ROLES, about_id=place.user_id)
    return given.order_by("-seq").first() or joined_before(place.room, user_id=place.user_id)
