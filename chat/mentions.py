"""Who is meant by the names in a message: members of its room, its moderators, or everybody in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Q

from chat.models import Membership, Mention, Message, Room
from chat.permissions import MODERATORS
from chat.protocol import Wire

ALL, THE_MODERATORS = "all", "moderators"
MOST = 50  # people; `@all` is none of them


@dataclass(frozen=True)
class Named:
    """`people` are the names that stand for somebody, with their ids; None where for several."""

    people: Mapping[str, int | None] = field(default_factory=dict)
    user_ids: tuple[int, ...] = ()
    everyone: bool = False

    @property
    def wire(self) -> Wire:
        told: Wire = {"mentions": list(self.user_ids)} if self.user_ids else {}
        return told | ({"everyone": True} if self.everyone else {})


def named_in(room: Room, names: Sequence[str]) -> Named:
    """Whom these names mean in this room. One query, and none where there is no name."""
    places = _places(room, names) if set(names) - {ALL} else {}
    offices = {ALL} if room.kind == Room.Kind.DIRECT else {ALL, THE_MODERATORS}
    groups: dict[str, int | None] = {name: None for name in names if name in offices}
    people = {name: places[name].user_id for name in names if name in places.keys() - groups}
    meant = list(people.values())
    if THE_MODERATORS in groups:
        meant += [place.user_id for place in places.values() if place.role in MODERATORS]
    return Named(
        people={**people, **groups},
        user_ids=tuple(dict.fromkeys(meant))[:MOST],
        everyone=ALL in groups,
    )


def remember(message: Message, named: Named) -> None:
    """Let each of them find that they were named, in the transaction that writes the message."""
    users = [*named.user_ids, *([None] if named.everyone else [])]
    if users:
        Mention.objects.bulk_create(
            Mention(message=message, room_id=message.room_id, seq=message.seq, user_id=user)
            for user in users
        )


def _places(room: Room, names: Sequence[str]) -> dict[str, Membership]:
    meant = Q(user__username__in=names)
    if THE_MODERATORS in names:
        meant |= Q(role__in=MODERATORS)
    places = Membership.objects.select_related("user").filter(meant, room=room)
    return {place.user.get_username(): place for place in places.order_by("pk")}
