"""Who may do what in a room. That they may know of it at all is the querysets' question."""

from __future__ import annotations

from chat.models import Membership, Room


def may_post(membership: Membership) -> bool:
    """Every member."""
    return membership.role in Membership.Role.values


def may_join(room: Room) -> bool:
    """Public rooms are open; into the others one is brought."""
    return room.kind == Room.Kind.PUBLIC


def may_leave(membership: Membership) -> bool:
    """A direct room stays the one room of its two people."""
    return membership.room.kind != Room.Kind.DIRECT
