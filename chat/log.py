"""The numbered log of a room: the only place where events are written.

A number is taken by an UPDATE of the room's row, in the transaction that writes the event. The row
stays locked until the commit, so numbers are committed in their order and none is left out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import partial

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import F

from chat import fanout, protocol
from chat.models import Event, LogEpoch, Membership, Room
from chat.protocol import Wire
from chat.querysets import RoomQuerySet
from pki.identity import Identity

User = get_user_model()
EPOCH_ROW = 1


@dataclass(frozen=True)
class Written:
    """An event of the log; `duplicate` where it was there before this request."""

    event: Event
    duplicate: bool = False

    @property
    def reply(self) -> Wire:
        return {"event": self.event.wire} | ({"duplicate": True} if self.duplicate else {})


def person(user: AbstractUser) -> Wire:
    return protocol.person(user.pk, user.username, user.get_full_name())


def take_number(rooms: RoomQuerySet) -> int:
    """Lock the one room and take its next number; 0 where there is no such room."""
    return rooms.update(last_seq=F("last_seq") + 1)


def append(
    *,
    room: Room,
    type: Event.Type,
    actor: Identity | None,
    data: Wire,
    at: dt.datetime,
    about: AbstractUser | None = None,
    message: Event | None = None,
    client_id: str | None = None,
    author: Membership | None = None,
) -> Event:
    """Write the event under the number just taken (`room.last_seq`); announce it after the commit.

    `about` is the person whose membership changes with it, `message` the posted event that it is
    about, `author` the actor's place if it has been read with its user already. Without an actor
    it is the server that did it.
    """
    by = None if author is None else author.user
    if by is None and actor is not None:
        by = User.objects.get(pk=actor.user_id)
    event = Event.objects.create(
        room=room,
        seq=room.last_seq,
        type=type,
        at=at,
        by=by,
        about_id=about.pk if about is not None else None,
        message=message,
        certificate_serial="" if actor is None else actor.serial,
        client_id=client_id,
        data=data,
    )
    people = () if about is None else (about.pk,)
    news = fanout.News(rooms=((room.pk, event.seq),), people=people, event=event)
    transaction.on_commit(partial(fanout.announce, news), robust=True)
    return event


def epoch() -> str:
    """The age of the log, as clients compare it."""
    return LogEpoch.objects.get_or_create(pk=EPOCH_ROW)[0].value.hex
