"""Looking up who and what is there: members of a room, public rooms, people. Reads only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import (
    BooleanField,
    Case,
    Count,
    Exists,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from chat import log, protocol
from chat.models import Ban, Membership, Room
from chat.permissions import may_pardon
from chat.places import own
from chat.protocol import Wire
from pki.identity import Identity

User = get_user_model()
MEMBERS = 1000  # in one answer, owners and moderators first
ROOMS = 100
PEOPLE = 10
WORD = re.compile(r"[^\W_]+")
BEFORE_WORDS = " -'’"
RANK = Case(
    *(When(role=role, then=Value(rank)) for rank, role in enumerate(Membership.Role.values))
)


class NamedSo(Func):
    """Whether the words of a name are what a query asks for, in PostgreSQL's language for both."""

    template = "to_tsvector('simple', %(expressions)s)"
    arg_joiner = ") @@ to_tsquery('simple', "
    output_field = BooleanField()


def members(*, actor: Identity, room: str) -> Wire:
    """Who is in a room of the actor's; `count` is all of them. Moderators also see who is banned."""
    place = own(actor=actor, room=room)
    places = Membership.objects.filter(room=place.room)
    shown = places.select_related("user").order_by(RANK, "user__username")[:MEMBERS]
    answer: Wire = {"members": [_member(one) for one in shown], "count": places.count()}
    if may_pardon(place):
        bans = Ban.objects.filter(room=place.room).select_related("user", "by")
        answer["bans"] = [_ban(one) for one in bans.order_by("-at")[:MEMBERS]]
    return answer


def public_rooms(*, actor: Identity, query: str = "") -> Wire:
    """The public rooms that are not archived and have the query in their name or address."""
    wanted = Q(name__icontains=query) | Q(slug__icontains=query)
    mine = Membership.objects.filter(room=OuterRef("pk"), user_id=actor.user_id)
    found = list(
        Room.objects.filter(wanted, kind=Room.Kind.PUBLIC, archived_at=None)
        .annotate(joined=Exists(mine))
        .order_by("name", "slug")[:ROOMS]
    )
    counts = _counts(found)
    return {
        "rooms": [
            {
                "room": room.slug,
                "name": room.name,
                "description": room.description,
                "members": counts.get(room.pk, 0),
                "joined": room.joined,
            }
            for room in found
        ]
    }


def people(*, query: str) -> Wire:
    """At most PEOPLE with an open account whose username begins so, or whose name has the words.

    Of a word its beginning is enough. Which ones are told where there are more is left to the
    database, except that the username itself comes first: to sort them all would take too long.
    """
    active = User.objects.filter(is_active=True).order_by()
    username = query.lower()
    found = list(active.filter(username=username))
    found += _some(active.filter(username__startswith=username), but=found)
    if words := WORD.findall(query):
        found += _some(active.filter(_named(words)), but=found)
    return {"people": [log.person(user) for user in found]}


def _some(matching: QuerySet[Any], *, but: list[Any]) -> list[Any]:
    if len(but) >= PEOPLE:
        return []
    others = matching.exclude(pk__in=[user.pk for user in but])
    return sorted(others[: PEOPLE - len(but)], key=lambda user: user.username)


def _named(words: Sequence[str]) -> Q | NamedSo:
    """By the index of migration 0006 where there is one."""
    if connection.vendor == "postgresql":
        return NamedSo("name", Value(" & ".join(f"'{word}':*" for word in words)))
    wanted = Q()
    for word in words:
        begins = (Q(name__icontains=f"{before}{word}") for before in BEFORE_WORDS)
        wanted &= reduce(Q.__or__, begins, Q(name__istartswith=word))
    return wanted


def _member(place: Membership) -> Wire:
    joined_at = protocol.moment(place.joined_at)
    return {"user": log.person(place.user), "role": place.role, "joined_at": joined_at}


def _ban(ban: Ban) -> Wire:
    return {
        "user": log.person(ban.user),
        "by": log.person(ban.by),
        "reason": ban.reason,
        "at": protocol.moment(ban.at),
    }


def _counts(rooms: Sequence[Room]) -> dict[int, int]:
    places = Membership.objects.filter(room__in=rooms).order_by().values("room_id")
    return dict(places.annotate(people=Count("pk")).values_list("room_id", "people"))
