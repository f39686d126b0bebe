"""What people read, and how far they have read it. Nothing here writes the log.

What always holds: nobody reads past the newest number of the query that found them in the room, so
whoever is put out meanwhile gets nothing that came after it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max

from chat import fanout
from chat.errors import NotAllowedError, NotFoundError
from chat.models import Event, Membership, Message, Room
from chat.permissions import may_post
from chat.places import message_in, own, refusals
from chat.protocol import Wire, person, push
from chat.querysets import WEIGHT, EventQuerySet
from pki.identity import Identity

PAGE = 200  # events of one room in one answer, at most
EVENTS = 500  # of all rooms together
PAGE_BYTES = 131_072  # of text in one answer, about; one event always fits


def sync(*, actor: Identity, rooms: Mapping[str, int], limit: int = PAGE) -> Wire:
    """For each room the events after the given number, in order, as many as fit into one answer.

    A room that may not be read answers for itself with an error; where all of them do, the first
    error is raised. No more than PAGE events of a room and EVENTS of all, and none once PAGE_BYTES
    are full: then `more` is true.
    """
    own_rooms = Room.objects.of_member(actor.user_id).filter(slug__in=rooms)
    mine = {found.slug: found for found in own_rooms}
    errors = refusals(actor=actor, rooms=[slug for slug in rooms if slug not in mine])
    if errors and not mine:
        raise next(iter(errors.values()))
    answer: Wire = {}
    space = Space()
    for slug in filter(mine.__contains__, rooms):
        events = _page(mine[slug], rooms[slug], limit=min(limit, PAGE), space=space)
        last, head = events[-1].seq if events else rooms[slug], mine[slug].last_seq
        answer[slug] = {"events": [e.wire for e in events], "more": last < head, "head": head}
    refused = {slug: {"error": {"code": e.code, "detail": str(e)}} for slug, e in errors.items()}
    return {"rooms": answer | refused}


def history(*, actor: Identity, room: str, before: int, limit: int) -> Wire:
    """The events before a number, newest last; `more` where there are older ones.

    `later` is what became of their messages after that, in order, and the answers under them.
    """
    found = own(actor=actor, room=room).room
    page = Space().fill(_log(found).before(before), limit=min(limit, PAGE))
    edits = _last_edits(found, page)
    events = _fitting(page, edits)
    # Numbers have no holes, so before any but the first there is one.
    more = bool(events) and events[-1].seq > 1
    after = events[0].seq if events else 0
    return _shown(found, events, edits, after=after) | {"more": more}


def thread(*, actor: Identity, room: str, message: str) -> Wire:
    """The message that began the thread of this one, and the newest under it, in order.

    `later` is what became of them, `more` says that some between are left out.
    """
    found = own(actor=actor, room=room).room
    asked = message_in(found, message)
    if asked.seq > found.last_seq:
        raise NotFoundError("The message is not in this room.")
    root = asked.thread_id or asked.pk
    replies = Message.objects.filter(thread_id=root, seq__lte=found.last_seq).order_by()
    under = Event.objects.with_all().filter(pk__in=replies.values("event_id"))
    begun = Event.objects.in_room(found.pk).get(pk=root)
    page = [begun, *Space().fill(under.order_by("-seq"), limit=PAGE)]
    edits = _last_edits(found, page)
    begun, *newest = _fitting(page, edits)
    return _shown(found, [*newest, begun], edits) | {"more": len(newest) < replies.count()}


def pins(*, actor: Identity, room: str) -> Wire:
    """The messages that are pinned now, in the order of the log, and what became of them.

    `more` says that the answer was full before the oldest.
    """
    found = own(actor=actor, room=room).room
    pinned = found.messages.filter(pinned_at__isnull=False, seq__lte=found.last_seq).order_by()
    posted = Event.objects.with_all().filter(pk__in=pinned.values("event_id"))
    page = Space().fill(posted.order_by("-seq"), limit=PAGE)
    edits = _last_edits(found, page)
    events = _fitting(page, edits)
    return _shown(found, events, edits) | {"more": len(events) < pinned.count()}


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
    """Let the others in the room see that the actor is writing, where they may."""
    membership = own(actor=actor, room=room)
    if not may_post(membership):
        raise NotAllowedError("You may not write in this room.")
    frame = push("typing", room=room, user=person(actor.user_id, actor.username, actor.name))
    note = fanout.Note(frame=frame, room_id=membership.room_id, but_user=actor.user_id)
    fanout.announce(fanout.News(notes=(note,)))


def _log(room: Room) -> EventQuerySet:
    """The room's events up to the newest of when it was looked up."""
    return Event.objects.in_room(room.pk).filter(seq__lte=room.last_seq)


def _page(room: Room, seq: int, *, limit: int, space: Space) -> list[Event]:
    if seq >= room.last_seq:
        return []
    return space.fill(_log(room).after(seq), limit=limit)


class Edit(NamedTuple):
    seq: int
    weight: int


Edits = Mapping[uuid.UUID, Edit]


def _posted(events: list[Event]) -> list[uuid.UUID]:
    return [event.pk for event in events if event.type == Event.Type.MESSAGE_POSTED]


def _last_edits(room: Room, events: list[Event]) -> Edits:
    """The last edit of each of these messages that says something and has one: what it says now."""
    there = [event.pk for event in events if "body" in event.data]
    edits = Event.objects.filter(
        message__in=there, type=Event.Type.MESSAGE_EDITED, seq__lte=room.last_seq
    )
    newest = edits.order_by().values("message").annotate(last=Max("seq")).values("last")
    last = Event.objects.in_room(room.pk).filter(seq__in=newest).order_by("seq")
    rows = last.values_list("message_id", "seq", WEIGHT)
    return {message: Edit(seq, weight) for message, seq, weight in rows}


def _fitting(events: list[Event], edits: Edits) -> list[Event]:
    """As many of these from the start as go into one answer with their last edits; one always does."""
    left = PAGE_BYTES
    for number, event in enumerate(events):
        left -= edits[event.pk].weight if event.pk in edits else 0
        if left < 0 and number:
            return events[:number]
    return events


def _shown(room: Room, events: list[Event], edits: Edits, *, after: int = 0) -> Wire:
    """Events, given newest first, and what is known of their messages from beyond a number.

    Their last edits are always told, so that nobody can push out of the answer what a message says
    now; of the rest the newest, where it is too much.
    """
    messages = _posted(events)
    last = {edits[m].seq: edits[m].weight for m in messages if m in edits and edits[m].seq > after}
    numbers = _numbers_about(messages, after=after, upto=room.last_seq, answers=bool(after))
    known = Event.objects.in_room(room.pk)
    rest = known.filter(seq__in=[n for n in numbers if n not in last]).order_by("-seq")
    later = list(known.filter(seq__in=last)) if last else []
    if numbers:
        later += Space(but=sum(last.values())).fill(rest, limit=EVENTS - len(last))
    return {
        "events": [event.wire for event in reversed(events)],
        "later": [event.wire for event in sorted(later, key=lambda event: event.seq)],
    }


def _numbers_about(messages: list[uuid.UUID], *, after: int, upto: int, answers: bool) -> list[int]:
    """The newest numbers that are about these messages, or of answers under them."""
    between = {"seq__gt": after, "seq__lte": upto}
    asked: list[Any] = [Event.objects.filter(message_id__in=messages, **between)]
    if answers:
        asked.append(Message.objects.filter(thread_id__in=messages, **between))
    found = [rows.order_by("-seq").values_list("seq", flat=True)[:EVENTS] for rows in asked]
    return sorted({number for rows in found for number in rows}, reverse=True)[:EVENTS]


class Space:
    """What still goes into one answer. One event always fits into an empty one."""

    def __init__(self, *, but: int = 0) -> None:
        self._events, self._bytes = EVENTS, PAGE_BYTES - but

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
