"""The verbs of the chat. Every door calls these and decides nothing itself.

What always holds:
  1. a room is looked up in the actor's own set; one they may not know of is not found;
  2. whether they may write is asked again once the room is locked, so nobody writes after leaving;
  3. an event and all that goes with it share a transaction, and are announced after its commit.
The one thing a stranger can learn of a private room is that its address is taken.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction
from django.db.models import Count, Q

from chat import fanout, log
from chat.errors import (
    BadRequestError,
    ClientIdConflictError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from chat.log import Written
from chat.models import Event, Membership, Room
from chat.permissions import may_join, may_leave, may_post
from chat.protocol import Wire, person, push
from chat.querysets import EventQuerySet
from chat.rendering import render
from chat.standing import pair_of
from pki.identity import Identity

User = get_user_model()

PLACES = 500  # rooms that a person is in, and rooms that they have made, at most
PAGE = 200  # events of one room in one answer, at most
EVENTS = 500  # of all rooms together
PAGE_BYTES = 131_072  # of text in one answer, about; one event always fits


# --- Messages -------------------------------------------------------------------------------


def post_message(
    *,
    actor: Identity,
    room: str,
    client_id: str,
    body: str,
    reply_to: str | None = None,
    at: dt.datetime,
) -> Written:
    """Post into a room of the actor's.

    The same `client_id` with the same content again changes nothing and returns the stored event.
    Refuses a room that is not the actor's (NotFoundError, NotAllowedError), a `reply_to` that is no
    message there (NotFoundError), a `client_id` that stands for something else (ClientIdConflictError).
    """
    try:
        with transaction.atomic():
            membership = _take_number(actor=actor, room=room)
            if not may_post(membership):
                raise NotAllowedError
            data = {"body": body, "html": render(body), "client_id": client_id}
            if reply_to is not None:
                _message(room=membership.room, event_id=reply_to)
                data["reply_to"] = reply_to
            event = log.append(
                room=membership.room,
                type=Event.Type.MESSAGE_POSTED,
                actor=actor,
                data=data,
                at=at,
                client_id=client_id,
                author=membership,
            )
    except IntegrityError:
        # The unique index decides, so of two copies at the same moment one is the duplicate.
        return _posted_before(
            actor=actor, room=room, client_id=client_id, body=body, reply_to=reply_to
        )
    return Written(event)


def mark_read(*, actor: Identity, room: str, seq: int, connection: str = "") -> None:
    """Remember that the actor has seen the room up to `seq`; tell their other connections.

    A mark never moves back, nor past the newest event.
    """
    membership = own(actor=actor, room=room)
    seen = min(seq, membership.room.last_seq)
    moved = Membership.objects.filter(pk=membership.pk, read_seq__lt=seen).update(read_seq=seen)
    if moved:
        note = fanout.Note(
            frame=push("read", room=room, seq=seen),
            user_id=actor.user_id,
            but_connection=connection,
        )
        transaction.on_commit(lambda: fanout.announce(fanout.News(notes=(note,))), robust=True)


def show_typing(*, actor: Identity, room: str) -> None:
    """Let the others in the room see that the actor is writing."""
    membership = own(actor=actor, room=room)
    frame = push("typing", room=room, user=person(actor.user_id, actor.username, actor.name))
    note = fanout.Note(frame=frame, room_id=membership.room_id, but_user=actor.user_id)
    fanout.announce(fanout.News(notes=(note,)))


def sync(*, actor: Identity, rooms: Mapping[str, int], limit: int = PAGE) -> Wire:
    """For each room the events after the given number, in order, as many as fit into one answer.

    A room that may not be read answers for itself with an error; where all of them do, the first
    error is raised. No more than PAGE events of a room and EVENTS of all, and none once PAGE_BYTES
    are full: then `more` is true.
    """
    own_rooms = Room.objects.of_member(actor.user_id).filter(slug__in=rooms)
    mine = {found.slug: found for found in own_rooms}
    errors = _refusals(actor=actor, rooms=rooms.keys() - mine.keys())
    if errors and not mine:
        raise next(iter(errors.values()))
    answer: Wire = {}
    space = Space()
    for slug in filter(mine.__contains__, rooms):
        events = _page(mine[slug], rooms[slug], limit=min(limit, PAGE), space=space)
        last = events[-1].seq if events else rooms[slug]
        head = max(mine[slug].last_seq, last if events else 0)
        answer[slug] = {"events": [e.wire for e in events], "more": last < head, "head": head}
    refused = {slug: {"error": {"code": e.code, "detail": str(e)}} for slug, e in errors.items()}
    return {"rooms": answer | refused}


def history(*, actor: Identity, room: str, before: int, limit: int) -> Wire:
    """The events before a number, newest last; `more` where there are older ones."""
    found = own(actor=actor, room=room).room
    events = Space().fill(Event.objects.in_room(found.pk).before(before), limit=min(limit, PAGE))
    # Numbers have no holes, so before any but the first there is one.
    more = bool(events) and events[-1].seq > 1
    return {"events": [e.wire for e in reversed(events)], "more": more}


# --- Rooms and who is in them ---------------------------------------------------------------


def create_room(
    *,
    actor: Identity,
    room: str,
    name: str,
    kind: str,
    members: Collection[str] = (),
    at: dt.datetime,
) -> Written:
    """Create a room; the actor owns it, and the named people are members at once.

    Creating the same room again, and the direct room with somebody with whom there is one, changes
    nothing and returns the event of the first time. Refuses an address that is taken and more than
    PLACES rooms of anybody's (NotAllowedError), people who are not here (NotFoundError), and a
    direct room with any number of others but one (BadRequestError).
    """
    others = _people(set(members) - {actor.username})
    if kind == Room.Kind.DIRECT and len(others) != 1:
        raise BadRequestError("A direct room needs exactly one other person.")
    pair = pair_of(actor.user_id, others[0].pk) if kind == Room.Kind.DIRECT else None
    try:
        with transaction.atomic():
            created = Room.objects.create(
                slug=room, name=name, kind=kind, pair=pair, last_seq=1, created_at=at
            )
            _check_creator(actor)
            _check_places(actor=actor, others=others)
            event = _found(created, actor=actor, at=at)
            for user in others:
                log.take_number(Room.objects.filter(pk=created.pk))
                _add(created, user=user, actor=actor, at=at)
    except IntegrityError:
        return _created_before(actor=actor, room=room, name=name, kind=kind, pair=pair)
    return Written(event)


def join(*, actor: Identity, room: str, at: dt.datetime) -> Written:
    """Become a member of a public room; being one already changes nothing.

    Who is in PLACES rooms is refused (NotAllowedError).
    """
    found = Room.objects.visible_to(actor.user_id).filter(slug=room).first()
    if found is None:
        raise NotFoundError
    if Membership.objects.filter(room=found, user_id=actor.user_id).exists():
        return Written(_joined_before(found, user_id=actor.user_id), duplicate=True)
    if not may_join(found):
        raise NotFoundError
    _check_places(actor=actor)
    return _bring_in(found, user=User.objects.get(pk=actor.user_id), actor=actor, at=at)


def leave(*, actor: Identity, room: str, at: dt.datetime) -> Written:
    """Stop being a member. What comes later in the room does not reach the actor any more."""
    with transaction.atomic():
        membership = _take_number(actor=actor, room=room)
        if not may_leave(membership):
            raise NotAllowedError("A direct room cannot be left.")
        event = log.append(
            room=membership.room,
            type=Event.Type.MEMBER_LEFT,
            actor=actor,
            data={"user": log.person(membership.user)},
            at=at,
            about=membership.user,
        )
        membership.delete()
    return Written(event)


def join_default_rooms(*, actor: Identity, at: dt.datetime) -> None:
    """Bring a person into the rooms for everyone, once: who has left one stays outside."""
    missing = Room.objects.filter(everyone=True).exclude(memberships__user_id=actor.user_id)
    for room in missing:
        if not Event.objects.filter(room=room, about_id=actor.user_id).exists():
            _bring_in(room, user=User.objects.get(pk=actor.user_id), actor=actor, at=at)


def own(*, actor: Identity, room: str) -> Membership:
    """The actor's place in a room of theirs; every read and write begins here."""
    places = Membership.objects.select_related("room", "user")
    membership = places.filter(room__slug=room, user_id=actor.user_id).first()
    if membership is None:
        raise _refusals(actor=actor, rooms=[room])[room]
    return membership


# --- Steps ----------------------------------------------------------------------------------


def _refusals(
    *, actor: Identity, rooms: Collection[str]
) -> dict[str, NotFoundError | NotAllowedError]:
    """Why rooms are not the actor's, without a word about rooms they may not know of."""
    seen = Room.objects.visible_to(actor.user_id).filter(slug__in=rooms) if rooms else ()
    visible = {room.slug for room in seen}
    return {
        room: NotAllowedError("Join the room first.") if room in visible else NotFoundError()
        for room in rooms
    }


def _take_number(*, actor: Identity, room: str) -> Membership:
    """Lock the actor's room, take a number, and look again: they may have been put out meanwhile."""
    taken = log.take_number(Room.objects.of_member(actor.user_id).filter(slug=room))
    membership = own(actor=actor, room=room)
    if not taken:  # they came in between the two queries
        raise UnavailableError
    return membership


def _people(usernames: set[str]) -> list[AbstractUser]:
    people: list[AbstractUser] = list(
        User.objects.filter(username__in=usernames, is_active=True).order_by("pk")
    )
    missing = usernames - {user.username for user in people}
    if missing:
        raise NotFoundError(f"There is nobody called {min(missing)}.")
    return people


def _check_places(*, actor: Identity, others: Collection[AbstractUser] = ()) -> None:
    """Refuse one more room for those who are in too many: all that they are in goes into `ready`."""
    people = [actor.user_id, *(user.pk for user in others)]
    counts = Membership.objects.filter(user_id__in=people).order_by().values("user_id")
    full = counts.annotate(rooms=Count("pk")).filter(rooms__gte=PLACES)
    crowded = set(full.values_list("user_id", flat=True))
    if actor.user_id in crowded:
        raise NotAllowedError(f"You are in {PLACES} rooms already. Leave one first.")
    for user in others:
        if user.pk in crowded:
            raise NotAllowedError(f"{user.get_username()} is in {PLACES} rooms already.")


def _check_creator(actor: Identity) -> None:
    """Refuse one more room to who has made too many, whether or not they are still in them."""
    # What is no message has no client_id: the index finds these few among all of a person's.
    made = Event.objects.filter(
        by_id=actor.user_id, client_id=None, type=Event.Type.ROOM_CREATED
    ).count()
    if made >= PLACES:
        raise NotAllowedError(f"You have made {PLACES} rooms already.")


def _message(*, room: Room, event_id: str) -> Event:
    message = Event.objects.filter(room=room, pk=event_id, type=Event.Type.MESSAGE_POSTED).first()
    if message is None:
        raise NotFoundError("The message you reply to is not in this room.")
    return message


def _posted_before(
    *, actor: Identity, room: str, client_id: str, body: str, reply_to: str | None
) -> Written:
    stored = (
        Event.objects.select_related("room", "by")
        .filter(by_id=actor.user_id, client_id=client_id)
        .first()
    )
    if stored is None:
        raise UnavailableError
    same = stored.room.slug == room and stored.data["body"] == body
    if not same or stored.data.get("reply_to") != reply_to:
        raise ClientIdConflictError
    return Written(stored, duplicate=True)


def _found(room: Room, *, actor: Identity, at: dt.datetime) -> Event:
    owner = User.objects.get(pk=actor.user_id)
    membership = Membership.objects.create(
        room=room, user=owner, role=Membership.Role.OWNER, joined_seq=1, read_seq=1, joined_at=at
    )
    return log.append(
        room=room,
        type=Event.Type.ROOM_CREATED,
        actor=actor,
        data={"name": room.name, "kind": room.kind},
        at=at,
        about=owner,
        author=membership,
    )


def _created_before(
    *, actor: Identity, room: str, name: str, kind: str, pair: str | None
) -> Written:
    """What stood in the way of a new room: the actor's own earlier wish, or somebody else's room."""
    same = Q(room__slug=room, room__name=name, room__kind=kind, by_id=actor.user_id)
    if pair is not None:
        same = Q(room__pair=pair)
    first = (
        Event.objects.select_related("room", "by")
        .filter(same, type=Event.Type.ROOM_CREATED, room__memberships__user_id=actor.user_id)
        .first()
    )
    if first is None:
        raise NotAllowedError(f"The address “{room}” is taken. Choose another one.")
    return Written(first, duplicate=True)


def _bring_in(room: Room, *, user: AbstractUser, actor: Identity, at: dt.datetime) -> Written:
    try:
        with transaction.atomic():
            log.take_number(Room.objects.filter(pk=room.pk))
            return Written(_add(room, user=user, actor=actor, at=at))
    except IntegrityError:  # they are in already, perhaps since a moment ago from another device
        return Written(_joined_before(room, user_id=user.pk), duplicate=True)


def _add(room: Room, *, user: AbstractUser, actor: Identity, at: dt.datetime) -> Event:
    room.refresh_from_db(fields=["last_seq"])
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


def _joined_before(room: Room, *, user_id: int) -> Event:
    """The event that brought somebody in; where none did, the room's first."""
    seq = Membership.objects.values_list("joined_seq", flat=True).get(room=room, user_id=user_id)
    event = Event.objects.in_room(room.pk).after(max(seq, 1) - 1).first()
    if event is None:
        raise NotAllowedError("You are in this room already.")
    return event


def _page(room: Room, seq: int, *, limit: int, space: Space) -> list[Event]:
    if seq >= room.last_seq:
        return []
    return space.fill(Event.objects.in_room(room.pk).after(seq), limit=limit)


class Space:
    """What still goes into one answer. One event always fits into an empty one."""

    def __init__(self) -> None:
        self._events, self._bytes = EVENTS, PAGE_BYTES

    def fill(self, events: EventQuerySet, *, limit: int) -> list[Event]:
        """As many of these from the start as fit. They are weighed before they are loaded."""
        most = min(limit, self._events) if self._bytes > 0 else 0
        count = 0
        for weight in events.weights()[:most]:
            if weight > self._bytes and self._events < EVENTS:
                self._bytes = 0  # the answer is full: no other room is looked at
                break
            self._bytes -= weight
            self._events -= 1
            count += 1
        return list(events[:count])
