"""What the page of the chat holds before any socket is open: a person's rooms, and one room's end.

The same shapes as on the wire, so that the client takes them in as if a socket had said them. Reads
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, F

from chat import log, reading
from chat.models import Membership, Message, Room
from chat.protocol import Limits, Wire, person
from chat.standing import Standing, standings, with_mentions
from pki.identity import Identity

FEW = 50  # messages above what was read
FAR = 300  # unread events above which a client begins at the newest (LONGEST_CATCH_UP in store.js)
MOST = 100  # unread messages that are worth counting
KINDS = {
    Room.Kind.PUBLIC: "Open to everybody here",
    Room.Kind.PRIVATE: "Private room",
    Room.Kind.DIRECT: "Between the two of you",
}


def shell(*, actor: Identity, room: str | None) -> Wire:
    """The actor's rooms as `ready` names them, and the end of the one that is opened, if theirs."""
    places = with_mentions(standings([actor.user_id]))
    counts = _unread(places, user_id=actor.user_id)
    opened = next((place for place in places if place.slug == room), None)
    return {
        "user": person(actor.user_id, actor.username, actor.name),
        "certificate": {"serial": actor.serial},
        "rooms": [_told(place, unread=counts.get(place.room_id, 0)) for place in places],
        "limits": Limits().announced(),
        "epoch": log.epoch(),
        "log": _end_of(opened, actor=actor) if opened else None,
    }


def sections(rooms: Sequence[Wire]) -> dict[str, list[Wire]]:
    """The rooms as the list parts them; the client's `sections` does the same."""
    shown = [room for room in rooms if not room["archived"]]
    return {
        "rooms": [room for room in shown if room["kind"] != "direct"],
        "people": [room for room in shown if room["kind"] == "direct"],
        "archived": [room for room in rooms if room["archived"]],
    }


def kind_words(room: Wire) -> str:
    """What a room is, in one line below its name; the client's `kindWords` says the same."""
    if room["archived"]:
        return "Archived: nobody can write here any more"
    if room["kind"] == Room.Kind.DIRECT and len(room["others"]) > 1:
        return "Between the people in it"
    return room["description"] or KINDS[room["kind"]]


def _told(place: Standing, *, unread: int) -> Wire:
    """A room with what its line in the list counts, after what the person wants to hear of it."""
    wants = place.notify
    return {
        **place.wire,
        "unread": unread if wants == Membership.Notify.ALL else 0,
        "mentions": 0 if wants == Membership.Notify.NOTHING else place.mentions,
    }


def _end_of(place: Standing, *, actor: Identity) -> Wire:
    """What was read last and all that came since, as `history` and `sync` answer it."""
    is_far = place.head - place.read > FAR
    seen = place.head if is_far else place.read
    page = reading.history(actor=actor, room=place.slug, before=seen + 1, limit=FEW)
    return {
        "history": {"room": place.slug} | page,
        "sync": reading.sync(actor=actor, rooms={place.slug: seen}),
    }


def _unread(places: Sequence[Standing], *, user_id: int) -> dict[int, int]:
    """How many messages of others wait in each room, answers in threads aside.

    Those of rooms that are far behind are not counted one by one.
    """
    near = [p.room_id for p in places if 0 < p.head - p.read <= FAR]
    waiting: Any = (
        Message.objects.filter(
            room__in=near,
            room__memberships__user_id=user_id,
            seq__gt=F("room__memberships__read_seq"),
            thread=None,
        )
        .exclude(author_id=user_id)
        .order_by()
        .values_list("room")
        .annotate(messages=Count("pk"))
    )
    far = {p.room_id: MOST for p in places if p.head - p.read > FAR}
    return far | (dict(waiting) if near else {})
