"""The verbs of rooms, and of going in and out by oneself. Every door calls these and decides nothing.

An event and all that goes with it share a transaction, and are announced after its commit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet

from chat import log
from chat.errors import BadRequestError, NotAllowedError, NotFoundError
from chat.log import Written
from chat.models import Event, Membership, Room
from chat.permissions import may_change, may_join, may_leave
from chat.places import (
    ARCHIVED,
    PLACES,
    ban_of,
    check_places,
    enter,
    go,
    joined_before,
    people_called,
    take_number,
    unchanged,
)
from chat.standing import key_of
from chat.trail import record
from pki.identity import Identity

User = get_user_model()
AMONG = 11  # people in a direct room besides oneself, at most
IMPOSED = 100  # direct rooms into which one person puts another, who cannot leave them
LAST_OWNER = "You are the last owner of this room. Make somebody else an owner first."


def create_room(
    *,
    actor: Identity,
    room: str,
    name: str,
    kind: str,
    members: Collection[str] = (),
    description: str = "",
    at: dt.datetime,
) -> Written:
    """Create a room; the actor owns it, and the named people are members at once.

    Creating the same room again, and the direct room with somebody with whom there is one, changes
    nothing and returns the event of the first time. Refuses an address that is taken and more than
    PLACES rooms of anybody's or IMPOSED on somebody (NotAllowedError), people who are not here
    (NotFoundError), and a direct room with nobody else or with more than AMONG (BadRequestError).
    """
    others = people_called(set(members) - {actor.username})
    if kind == Room.Kind.DIRECT and not 1 <= len(others) <= AMONG:
        raise BadRequestError(f"A direct room needs 1 to {AMONG} other people.")
    everybody = (actor.user_id, *(user.pk for user in others))
    among = key_of(*everybody) if kind == Room.Kind.DIRECT else None
    try:
        with transaction.atomic():
            created = Room.objects.create(
                slug=room,
                name=name,
                description=description,
                kind=kind,
                among=among,
                last_seq=1,
                created_at=at,
            )
            _check_creator(actor)
            check_places(actor=actor, others=others)
            if among is not None:
                _check_imposed(actor, others)
            event = _found(created, actor=actor, at=at)
            for user in others:
                log.take_number(Room.objects.filter(pk=created.pk))
                created.refresh_from_db(fields=["last_seq"])
                enter(created, user=user, actor=actor, at=at)
    except IntegrityError:
        return _created_before(actor=actor, room=room, name=name, kind=kind, among=among)
    return Written(event)


def change_room(
    *,
    actor: Identity,
    room: str,
    name: str | None = None,
    description: str | None = None,
    posting: str | None = None,
    slow_seconds: int | None = None,
    archived: bool | None = None,
    at: dt.datetime,
) -> Written:
    """Change a room of the actor's; what is None stays. An archived room takes no messages and people.

    The event says what is different now. Where nothing is, nothing changes and the room's first
    event is returned; a change is also recorded in the audit trail. Refuses who is no owner, and
    every direct room (NotAllowedError).
    """
    wishes = {
        "name": name,
        "description": description,
        "posting": posting,
        "slow_seconds": slow_seconds,
        "archived": archived,
    }
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        if not may_change(place):
            raise NotAllowedError("Only the owners of a room change it.")
        changes = differences(place.room, {k: v for k, v in wishes.items() if v is not None})
        if not changes:
            return unchanged(_first(place.room))
        facts = before_and_after(place.room, changes)
        record(place.room, "room.changed", actor=actor, at=at, changes=facts)
        return Written(write_changes(place.room, changes, actor=actor, at=at))


def differences(room: Room, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """What of these wishes is not so in the room already."""
    return {name: value for name, value in wishes.items() if setting(room, name) != value}


def setting(room: Room, name: str) -> Any:
    """A setting of a room as the wire names it."""
    return room.archived_at is not None if name == "archived" else getattr(room, name)


def before_and_after(room: Room, changes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """As the audit trail has them; the room is as it was."""
    return {name: [setting(room, name), value] for name, value in changes.items()}


def write_changes(
    room: Room, changes: Mapping[str, Any], *, actor: Identity, at: dt.datetime
) -> Event:
    """Change the room under the number just taken; the event says the same."""
    columns = dict(changes)
    if "archived" in columns:
        columns["archived_at"] = at if columns.pop("archived") else None
    Room.objects.filter(pk=room.pk).update(**columns)
    return log.append(
        room=room, type=Event.Type.ROOM_CHANGED, actor=actor, data=dict(changes), at=at
    )


def join(*, actor: Identity, room: str, at: dt.datetime) -> Written:
    """Become a member of a public room; being one already changes nothing.

    Refuses who was banned, who is in PLACES rooms, and an archived room (NotAllowedError).
    """
    found = Room.objects.visible_to(actor.user_id).filter(slug=room).first()
    if found is None:
        raise NotFoundError
    if Membership.objects.filter(room=found, user_id=actor.user_id).exists():
        return Written(joined_before(found, user_id=actor.user_id), duplicate=True)
    if not may_join(found):
        raise NotAllowedError(ARCHIVED) if found.kind == Room.Kind.PUBLIC else NotFoundError
    check_places(actor=actor)
    return _come_in(found, actor=actor, at=at)


def leave(*, actor: Identity, room: str, at: dt.datetime) -> Written:
    """Stop being a member. What comes later in the room does not reach the actor any more.

    Refuses a direct room, and the last owner of a room in which others are (NotAllowedError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        if not may_leave(place):
            raise NotAllowedError("A direct room cannot be left.")
        if is_last_owner(place) and _others(place).exists():
            raise NotAllowedError(LAST_OWNER)
        event = go(place.room, user=place.user, actor=actor, at=at)
    return Written(event)


def is_last_owner(place: Membership) -> bool:
    """No other owner's account is open."""
    is_owner = place.role == Membership.Role.OWNER
    return is_owner and not _others(place).filter(role=Membership.Role.OWNER).exists()


def join_default_rooms(*, actor: Identity, at: dt.datetime) -> None:
    """Bring a person into the rooms for everyone, once: who has left one, or was banned, stays
    outside. Archived rooms take nobody."""
    missing = (
        Room.objects.filter(everyone=True, archived_at=None)
        .exclude(memberships__user_id=actor.user_id)
        .exclude(bans__user_id=actor.user_id)
    )
    for room in missing:
        if not Event.objects.filter(room=room, about_id=actor.user_id).exists():
            try:
                _come_in(room, actor=actor, at=at)
            except NotAllowedError:  # archived, or banned, a moment ago
                continue


def _check_creator(actor: Identity) -> None:
    """Refuse one more room to who has made too many, whether or not they are still in them."""
    # What is no message has no client_id: the index finds these few among all of a person's.
    made = Event.objects.filter(
        by_id=actor.user_id, client_id=None, type=Event.Type.ROOM_CREATED
    ).count()
    if made >= PLACES:
        raise NotAllowedError(f"You have made {PLACES} rooms already.")


def _check_imposed(actor: Identity, others: Collection[AbstractUser]) -> None:
    """Refuse one more direct room with somebody who did not ask for so many: theirs are PLACES."""
    begun = Event.objects.filter(
        by_id=actor.user_id,
        client_id=None,
        type=Event.Type.ROOM_CREATED,
        room__kind=Room.Kind.DIRECT,
    )
    imposed = Membership.objects.filter(
        user_id__in=[user.pk for user in others], room__in=begun.order_by().values("room_id")
    )
    counts = imposed.order_by().values("user_id").annotate(rooms=Count("pk"))
    full = set(counts.filter(rooms__gte=IMPOSED).values_list("user_id", flat=True))
    for user in others:
        if user.pk in full:
            raise NotAllowedError(
                f"You have begun {IMPOSED} direct rooms with {user.get_username()} already."
            )


def _found(room: Room, *, actor: Identity, at: dt.datetime) -> Event:
    owner = User.objects.get(pk=actor.user_id)
    membership = Membership.objects.create(
        room=room, user=owner, role=Membership.Role.OWNER, joined_seq=1, read_seq=1, joined_at=at
    )
    said = {"name": room.name, "kind": room.kind}
    if room.description:
        said["description"] = room.description
    return log.append(
        room=room,
        type=Event.Type.ROOM_CREATED,
        actor=actor,
        data=said,
        at=at,
        about=owner,
        author=membership,
    )


def _created_before(
    *, actor: Identity, room: str, name: str, kind: str, among: str | None
) -> Written:
    """What stood in the way of a new room: the actor's own earlier wish, or somebody else's room."""
    same = Q(room__slug=room, room__name=name, room__kind=kind, by_id=actor.user_id)
    if among is not None:
        same = Q(room__among=among)
    first = (
        Event.objects.select_related("room", "by")
        .filter(same, type=Event.Type.ROOM_CREATED, room__memberships__user_id=actor.user_id)
        .first()
    )
    if first is None:
        raise NotAllowedError(f"The address “{room}” is taken. Choose another one.")
    return Written(first, duplicate=True)


def _come_in(room: Room, *, actor: Identity, at: dt.datetime) -> Written:
    """Let the actor in, if that may be once the room is locked."""
    user = User.objects.get(pk=actor.user_id)
    with transaction.atomic():
        log.take_number(Room.objects.filter(pk=room.pk))
        room.refresh_from_db()
        if Membership.objects.filter(room=room, user=user).exists():  # from another device
            return unchanged(joined_before(room, user_id=user.pk))
        if room.archived_at is not None:
            raise NotAllowedError(ARCHIVED)
        if (ban := ban_of(room, user_id=user.pk)) is not None:
            raise NotAllowedError(f"You were banned from this room: {ban.reason}")
        return Written(enter(room, user=user, actor=actor, at=at))


def _others(place: Membership) -> QuerySet[Membership]:
    """Those in the room besides, whose accounts are open."""
    others = Membership.objects.filter(room=place.room, user__is_active=True)
    return others.exclude(pk=place.pk)


def _first(room: Room) -> Event:
    """The first event of a room that has one."""
    return Event.objects.in_room(room.pk).after(0)[0]
