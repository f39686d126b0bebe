"""What a person is in: the rooms as `ready` and the heartbeat tell them. Reads only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Count, Exists, OuterRef, Q, Subquery

from chat.models import Membership, Mention
from chat.protocol import Wire

User = get_user_model()


Terms = tuple[Any, ...]


class Standing(NamedTuple):
    """One person's place in one room."""

    user_id: int
    room_id: int
    slug: str
    name: str
    kind: str
    head: int
    read: int
    role: str
    joined_seq: int
    description: str
    posting: str
    slow_seconds: int
    archived_at: dt.datetime | None
    notify: str
    others: tuple[int, ...] = ()  # of a direct room
    mentions: int = 0  # after `read`

    @property
    def terms(self) -> Terms:
        """What a client is told anew when it changes: all but numbers that move with the log."""
        return self._replace(head=0, read=0, joined_seq=0, mentions=0)

    @property
    def wire(self) -> Wire:
        return {
            "room": self.slug,
            "name": self.name,
            "kind": self.kind,
            "head": self.head,
            "read": self.read,
            "role": self.role,
            "description": self.description,
            "posting": self.posting,
            "slow_seconds": self.slow_seconds,
            "archived": self.archived_at is not None,
            "notify": self.notify,
            "others": list(self.others),
            "mentions": self.mentions,
        }


COLUMNS = (
    "user_id",
    "room_id",
    "room__slug",
    "room__name",
    "room__kind",
    "room__last_seq",
    "read_seq",
    "role",
    "joined_seq",
    "room__description",
    "room__posting",
    "room__slow_seconds",
    "room__archived_at",
    "notify",
)


def standings(user_ids: Collection[int]) -> list[Standing]:
    """Every place of these people: one query, and one more where direct rooms are among them."""
    rows = Membership.objects.filter(user_id__in=user_ids).order_by("room__name", "room_id")
    found = [
        Standing(*row[:-1]) if row[-1] is None else _among(Standing(*row[:-1]), row[-1])
        for row in rows.values_list(*COLUMNS, "room__among")
    ]
    names = _names({other for standing in found for other in standing.others})
    return [_named(standing, names) for standing in found]


def with_mentions(found: Sequence[Standing]) -> list[Standing]:
    """The same with how often each person was mentioned since they last read. One query."""
    rows = Membership.objects.filter(
        user_id__in={standing.user_id for standing in found},
        room_id__in={standing.room_id for standing in found},
    )
    mentioning = Mention.objects.filter(
        Q(user=OuterRef("user")) | Q(user=None), room=OuterRef("room"), seq__gt=OuterRef("read_seq")
    ).exclude(message__author=OuterRef("user"))
    named = rows.filter(Exists(mentioning)).annotate(
        mentioned=Subquery(
            mentioning.order_by()
            .values("room")
            .annotate(messages=Count("message", distinct=True))
            .values("messages")
        )
    )
    counts = {
        (user_id, room_id): count
        for user_id, room_id, count in named.values_list("user_id", "room_id", "mentioned")
    }
    return [s._replace(mentions=counts.get((s.user_id, s.room_id), 0)) for s in found]


def key_of(*user_ids: int) -> str:
    """The key of the one direct room of these people."""
    return ":".join(map(str, sorted(set(user_ids))))


def _among(standing: Standing, key: str) -> Standing:
    people = (int(user_id) for user_id in key.split(":"))
    return standing._replace(others=tuple(p for p in people if p != standing.user_id))


def _names(user_ids: set[int]) -> dict[int, str]:
    if not user_ids:
        return {}
    return {user.pk: user.get_full_name() for user in User.objects.filter(pk__in=user_ids)}


def _named(standing: Standing, names: dict[int, str]) -> Standing:
    """A direct room bears the names of the others."""
    others = sorted(names[other] for other in standing.others if other in names)
    return standing._replace(name=", ".join(others)) if others else standing
