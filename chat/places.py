"""Places of people in rooms: where every verb begins, and what it may tell of a room.

What always holds:
  1. a room is looked up in the actor's own set; one they may not know of is not found;
  2. whether they may write is asked again once the room is locked, so nobody writes after leaving.
The one thing a stranger can learn of a private room is that its address is taken.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Count

from chat import log
from chat.errors import NotAllowedError, NotFoundError, UnavailableError
from chat.log import Written
from chat.models import Ban, Event, Membership, Message, Room
from chat.protocol import Wire
from pki.identity import Identity

User = get_user_model()

ARCHIVED = "This room is archived."
PLACES = 500  # rooms that a person is in, and rooms that they have made, at most


def own(*, actor: Identity, room: str) -> Membership:
    """The actor's place in a room of theirs; every read and write begins here."""
    places = Membership.objects.select_related("room", "user")
    membership = places.filter(room__slug=room, user_id=actor.user_id).first()
    if membership is None:
        raise refusals(actor=actor, rooms=[room])[room]
    return membership


def refusals(
    *, actor: Identity, rooms: Collection[str]
) -> dict[str, NotFoundError | NotAllowedError]:
    """Why rooms are not the actor's, without a word about rooms they may not know of."""
    seen = Room.objects.visible_to(actor.user_id).filter(slug__in=rooms) if rooms else ()
    visible = {room.slug for room in seen}
    return {
        room: NotAllowedError("Join the room first.") if room in visible else NotFoundError()
        for room in rooms
    }


def take_number(*, actor: Identity, room: str) -> Membership:
    """Lock the actor's room, take a number, and look again: they may have been put out meanwhile."""
    taken = log.take_number(Room.objects.of_member(actor.user_id).filter(slug=room))
    membership = own(actor=actor, room=room)
    if not taken:  # they came in between the two queries
        raise UnavailableError
    return membership


def people_called(usernames: set[str]) -> list[AbstractUser]:
    people: list[AbstractUser] = list(
        User.objects.filter(username__in=usernames, is_active=True).order_by("pk")
    )
    missing = usernames - {user.username for user in people}
    if missing:
        raise NotFoundError(f"There is nobody called {min(missing)}.")
    return people


def check_places(*, actor: Identity, others: Collection[AbstractUser] = ()) -> None:
    """Refuse one more room for those who are in too many: all that they are in goes into `ready`."""
    crowded = _crowded([actor.user_id, *(user.pk for user in others)])
    if actor.user_id in crowded:
        raise NotAllowedError(f"You are in {PLACES} rooms already. Leave one first.")
    _refuse_crowded(others, crowded)


def check_places_of(people: Collection[AbstractUser]) -> None:
    """The same for people who are brought in by somebody who is in already."""
    _refuse_crowded(people, _crowded([user.pk for user in people]))


def _crowded(user_ids: Collection[int]) -> set[int]:
    counts = Membership.objects.filter(user_id__in=user_ids).order_by().values("user_id")
    full = counts.annotate(rooms=Count("pk")).filter(rooms__gte=PLACES)
    return set(full.values_list("user_id", flat=True))


def _refuse_crowded(people: Collection[AbstractUser], crowded: set[int]) -> None:
    for user in people:
        if user.pk in crowded:
            raise NotAllowedError(f"{user.get_username()} is in {PLACES} rooms already.")


# --- Coming and going, under the number just taken -------------------------------------------


def place_of(room: Room, *, username: str) -> Membership | None:
    places = Membership.objects.select_related("room", "user")
    return places.filter(room=room, user__username=username).first()


def ban_of(room: Room, *, user_id: int) -> Ban | None:
    return Ban.objects.filter(room=room, user_id=user_id).first()


def enter(room: Room, *, user: AbstractUser, actor: Identity, at: dt.datetime) -> Event:
    """Make somebody a member."""
    membership = Membership.objects.create(
        room=room, user_id=user.pk, joined_seq=room.last_seq, read_seq=room.last_seq, joined_at=at
    )
    return log.append(
        room=room,
        type=Event.Type.MEMBER_JOINED,
        actor=actor,
        data={"user": log.person(user), "role": str(membership.role)},
        at=at,
        about=user,
    )


def go(
    room: Room, *, user: AbstractUser, actor: Identity, at: dt.datetime, **more: Wire | bool | str
) -> Event:
    """End somebody's membership, if they have one; `more` goes into the event."""
    Membership.objects.filter(room=room, user_id=user.pk).delete()
    return log.append(
        room=room,
        type=Event.Type.MEMBER_LEFT,
        actor=actor,
        data={"user": log.person(user), **more},
        at=at,
        about=user,
    )


def unchanged(event: Event) -> Written:
    """Give the number back: what is asked for has been so since this event."""
    transaction.set_rollback(True)
    return Written(event, duplicate=True)


def joined_before(room: Room, *, user_id: int) -> Event:
    """The event that brought a member in; where none did, the room's first."""
    seq = Membership.objects.values_list("joined_seq", flat=True).get(room=room, user_id=user_id)
    event = Event.objects.in_room(room.pk).after(max(seq, 1) - 1).first()
    if event is None:
        raise NotAllowedError("You are in this room already.")
    return event


def message_in(room: Room, event_id: str) -> Message:
    """The message of the room with this event's id. Raises NotFoundError."""
    found = (
        Message.objects.select_related("event", "author")
        .filter(room=room, event_id=event_id)
        .first()
    )
    if found is None:
        raise NotFoundError("The message is not in this room.")
    return found


def message_there(room: Room, event_id: str) -> Message:
    """The same, where it still says something. Raises NotAllowedError of what is gone."""
    found = message_in(room, event_id)
    check_there(found)
    return found


def check_there(message: Message) -> None:
    """Refuse a message that is deleted or has expired."""
    if not message.is_there:
        word = "been deleted" if message.deleted_at is not None else "expired"
        raise NotAllowedError(f"This message has {word}.")


def write_about(
    message: Message,
    type: Event.Type,
    *,
    place: Membership,
    actor: Identity,
    at: dt.datetime,
    **data: Any,
) -> Event:
    """Write an event about a message of the actor's room under the number just taken."""
    return log.append(
        room=place.room,
        type=type,
        actor=actor,
        data={"message": str(message.pk), **data},
        at=at,
        message=message.event,
        author=place,
    )


def last_about(message: Message, type: Event.Type, **such: Any) -> Event:
    """The newest event of a type about a message. Raises NotFoundError."""
    events = Event.objects.with_all().filter(message_id=message.pk, type=type, **such)
    found = events.order_by("-seq").first()
    if found is None:
        raise NotFoundError("There is nothing to take back.")
    return found
