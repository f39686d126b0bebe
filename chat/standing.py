"""What a person is in: the rooms as `ready` and the heartbeat tell them. Reads only."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.contrib.auth import get_user_model

from chat.models import Membership, Room
from chat.protocol import Wire

User = get_user_model()


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

    @property
    def wire(self) -> Wire:
        return {
            "room": self.slug,
            "name": self.name,
            "kind": self.kind,
            "head": self.head,
            "read": self.read,
            "role": self.role,
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
)


def standings(user_ids: Collection[int]) -> list[Standing]:
    """Every place of these people: one query, and one more where direct rooms are among them."""
    rows = Membership.objects.filter(user_id__in=user_ids).order_by("room__name", "room_id")
    found = [(Standing(*row[:-1]), row[-1]) for row in rows.values_list(*COLUMNS, "room__pair")]
    names = _names({other for standing, pair in found for other in _others(standing, pair)})
    return [_named(standing, pair, names) for standing, pair in found]


def pair_of(one: int, other: int) -> str:
    """The key of the one direct room of two people."""
    return f"{min(one, other)}:{max(one, other)}"


def _others(standing: Standing, pair: str | None) -> list[int]:
    if standing.kind != Room.Kind.DIRECT or pair is None:
        return []
    return [int(user_id) for user_id in pair.split(":") if int(user_id) != standing.user_id]


def _names(user_ids: set[int]) -> dict[int, str]:
    if not user_ids:
        return {}
    return {user.pk: user.get_full_name() for user in User.objects.filter(pk__in=user_ids)}


def _named(standing: Standing, pair: str | None, names: dict[int, str]) -> Standing:
    """A direct room bears the name of the other person."""
    others = [names[other] for other in _others(standing, pair) if other in names]
    return standing._replace(name=others[0]) if others else standing
