"""The verbs of messages. Every door calls these and decides nothing itself.

An event and all that goes with it share a transaction, and are announced after its commit.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from chat import attachments as files
from chat import log, mentions
from chat.errors import (
    BadRequestError,
    ChatError,
    ClientIdConflictError,
    NotAllowedError,
    RateLimitedError,
    UnavailableError,
)
from chat.log import Written
from chat.mentions import Named, named_in
from chat.models import Event, Membership, Message, Room
from chat.permissions import may_delete, may_delete_reported, may_edit, may_moderate, may_post
from chat.places import (
    ARCHIVED,
    check_there,
    last_about,
    message_in,
    message_there,
    own,
    take_number,
    unchanged,
    write_about,
)
from chat.protocol import Wire
from chat.redaction import redact
from chat.rendering import Text, read
from chat.trail import record
from pki.identity import Identity

HELD = "What is written in this room is kept as it is: a legal hold says so."


def post_message(
    *,
    actor: Identity,
    room: str,
    client_id: str,
    body: str,
    reply_to: str | None = None,
    thread: str | None = None,
    attachments: Sequence[str] = (),
    at: dt.datetime,
) -> Written:
    """Post into a room of the actor's, in a thread where one is named, with files they uploaded.

    The same `client_id` with the same content again changes nothing and returns the stored event,
    whatever has become of room and message since. Refuses a room that is not the actor's or where
    they may not write (NotFoundError, NotAllowedError), a `reply_to` or `thread` that is no message
    there and files that are not theirs to post (NotFoundError), neither text nor file and a thread
    within a thread (BadRequestError), a member who is faster than the room's slow mode
    (RateLimitedError), and a `client_id` that stands for something else (ClientIdConflictError).
    """
    draft = Draft(room, client_id, body, reply_to, thread, tuple(attachments))
    try:
        with transaction.atomic():
            place = take_number(actor=actor, room=room)
            return Written(_post(place, draft, actor=actor, at=at))
    except IntegrityError:
        # The unique index decides, so of two copies at the same moment one is the duplicate.
        stored = _stored(actor, client_id)
        if stored is None:
            raise UnavailableError from None
        if not draft.is_stored_as(stored):
            raise ClientIdConflictError from None
    except ChatError:
        own(actor=actor, room=room)
        stored = _stored(actor, client_id)
        if stored is None or not draft.is_stored_as(stored):
            raise
    return Written(stored, duplicate=True)


def edit_message(
    *, actor: Identity, room: str, message: str, body: str, at: dt.datetime
) -> Written:
    """Let the actor's own message say something else; what it said before stays in the log.

    Saying the same changes nothing and returns the last event that said so. Refuses a message that
    is not in a room of the actor's (NotFoundError), and what is somebody else's, gone, under a
    legal hold, or in a room where the actor may not write (NotAllowedError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        found = message_there(place.room, message)
        if not may_edit(place, found):
            raise NotAllowedError("Only its author may edit a message.")
        if found.body == body:
            return unchanged(_last_said(found))
        _check_may_write(place)
        _check_hold(place.room)
        said = _said(body, place.room)
        event = write_about(
            found, Event.Type.MESSAGE_EDITED, place=place, actor=actor, at=at, **said.wire
        )
        Message.objects.filter(pk=found.pk).update(body=body, edited_at=at, **said.holds)
        found.mentions.all().delete()
        mentions.remember(found, said.named)
    return Written(event)


def delete_message(
    *, actor: Identity, room: str, message: str, reason: str = "", at: dt.datetime
) -> Written:
    """Take back what a message said: its text, files, reactions, mentions and pin are gone for
    good, and the log says that there was something.

    Deleting it again changes nothing. A moderator's deletion of what somebody else wrote is
    recorded in the audit trail. Refuses a message that is not in a room of the actor's
    (NotFoundError), and what is neither theirs nor theirs to moderate, has expired or is under a
    legal hold (NotAllowedError).
    """
    with transaction.atomic():
        place = take_number(actor=actor, room=room)
        found = message_in(place.room, message)
        if found.deleted_at is not None:
            return unchanged(last_about(found, Event.Type.MESSAGE_DELETED))
        _check_may_delete(place, found)
        event = _delete(found, place.room, place=place, actor=actor, reason=reason, at=at)
    return Written(event)


def delete_reported(*, actor: Identity, message: Message, at: dt.datetime) -> Event:
    """Delete, from outside its room, a message whose report is being upheld; all else is as in
    `delete_message`, and always recorded in the audit trail.

    Refuses what is gone, under a legal hold or in a direct room (NotAllowedError).
    """
    with transaction.atomic():
        log.take_number(Room.objects.filter(pk=message.room_id))
        room = Room.objects.get(pk=message.room_id)
        found = message_there(room, str(message.pk))
        _check_hold(room)
        if not may_delete_reported(room):
            raise NotAllowedError("In a conversation only who wrote a message can delete it.")
        return _delete(found, room, place=None, actor=actor, reason="", at=at)


@dataclass(frozen=True)
class Draft:
    """What somebody wants to post."""

    room: str
    client_id: str
    body: str
    reply_to: str | None = None
    thread: str | None = None
    attachments: tuple[str, ...] = ()

    def is_stored_as(self, event: Event) -> bool:
        """As far as is still known: of what is deleted or expired, nobody knows what it said."""
        data = event.data
        place = (event.room.slug, data.get("reply_to"), data.get("thread"))
        if place != (self.room, self.reply_to, self.thread):
            return False
        came_with = tuple(file["id"] for file in data.get("attachments", ()))
        return "body" not in data or (data["body"], came_with) == (self.body, self.attachments)


@dataclass(frozen=True)
class Said:
    """A body as it was understood in its room."""

    body: str
    text: Text
    named: Named

    @property
    def wire(self) -> Wire:
        told = {"body": self.body, "html": self.text.html(self.named.people), **self.named.wire}
        return told | ({"action": True} if self.text.is_action else {})

    @property
    def holds(self) -> dict[str, bool]:
        return {"has_link": self.text.has_link, "has_code": self.text.has_code}


def _said(body: str, room: Room) -> Said:
    text = read(body)
    return Said(body, text, named_in(room, text.names))


def _post(place: Membership, draft: Draft, *, actor: Identity, at: dt.datetime) -> Event:
    room = place.room
    if not (draft.body or draft.attachments):
        raise BadRequestError("Write something, or attach a file.")
    _check_may_write(place)
    _check_pace(place, at)
    root = _thread(room, draft.thread)
    if draft.reply_to is not None:
        message_in(room, draft.reply_to)
    said = _said(draft.body, room)
    offered = (
        files.offered(actor=actor, room=room, ids=draft.attachments) if draft.attachments else []
    )
    event = log.append(
        room=room,
        type=Event.Type.MESSAGE_POSTED,
        actor=actor,
        data=said.wire | _beside(draft, offered),
        at=at,
        client_id=draft.client_id,
        author=place,
    )
    message = Message.objects.create(
        event=event,
        room=room,
        seq=event.seq,
        author_id=actor.user_id,
        at=at,
        body=draft.body,
        thread=root,
        has_file=bool(offered),
        has_image=any(file["type"].startswith("image/") for file in offered),
        **said.holds,
    )
    mentions.remember(message, said.named)
    if offered:
        files.claim(actor=actor, ids=draft.attachments, message=message)
    return event


def _beside(draft: Draft, offered: list[Wire]) -> Wire:
    """What goes with the words."""
    told = {
        "client_id": draft.client_id,
        "reply_to": draft.reply_to,
        "thread": draft.thread,
        "attachments": offered or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _thread(room: Room, message: str | None) -> Message | None:
    if message is None:
        return None
    root = message_in(room, message)
    if root.thread_id is not None:
        raise BadRequestError("This message is in a thread. Write under the one that began it.")
    return root


def _check_may_write(place: Membership) -> None:
    if place.room.archived_at is not None:
        raise NotAllowedError(ARCHIVED)
    if not may_post(place):
        raise NotAllowedError("Only moderators write in this room.")


def _check_pace(place: Membership, at: dt.datetime) -> None:
    """Members wait in a slow room, also after a message that they have deleted."""
    slow = place.room.slow_seconds
    if not slow or may_moderate(place):
        return
    written = Message.objects.filter(room=place.room, author_id=place.user_id)
    last = written.order_by("-at").values_list("at", flat=True).first()
    wait = slow - (at - last).total_seconds() if last is not None else 0
    if wait > 0:
        sentence = f"In this room you may write once in {slow} seconds."
        raise RateLimitedError(math.ceil(wait * 1000) / 1000, sentence)


def _check_hold(room: Room) -> None:
    if room.legal_hold:
        raise NotAllowedError(HELD)


def _check_may_delete(place: Membership, message: Message) -> None:
    check_there(message)
    _check_hold(place.room)
    if not may_delete(place, message):
        raise NotAllowedError("You may delete what you wrote yourself.")


def _delete(
    message: Message,
    room: Room,
    *,
    place: Membership | None,
    actor: Identity,
    reason: str,
    at: dt.datetime,
) -> Event:
    """Under the number just taken; without a place it is done from outside the room."""
    event = log.append(
        room=room,
        type=Event.Type.MESSAGE_DELETED,
        actor=actor,
        data={"message": str(message.pk)} | ({"reason": reason} if reason else {}),
        at=at,
        message=message.event,
        author=place,
    )
    redact(message, word="deleted", at=at)
    if place is None or message.author_id != actor.user_id:
        facts = {"seq": message.seq, "author": message.author.username, "reason": reason}
        record(room, "room.message_deleted", actor=actor, at=at, **facts)
    return event


def _last_said(message: Message) -> Event:
    """The event that said what the message says now."""
    if message.edited_at is not None:
        return last_about(message, Event.Type.MESSAGE_EDITED)
    return Event.objects.in_room(message.room_id).get(pk=message.pk)


def _stored(actor: Identity, client_id: str) -> Event | None:
    events = Event.objects.select_related("room", "by")
    return events.filter(by_id=actor.user_id, client_id=client_id).first()
