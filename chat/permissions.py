"""Who may do what in a room. That they may know of it at all is the querysets' question."""

from __future__ import annotations

from chat.models import Membership, Room

MANAGERS = {Membership.Role.OWNER, Membership.Role.MODERATOR}


def may_post(membership: Membership) -> bool:
    """Every member."""
    return membership.role in Membership.Role.values


def may_join(room: Room) -> bool:
    """Public rooms are open; into the others one is brought."""
    return room.kind == Room.Kind.PUBLIC


def may_leave(membership: Membership) -> bool:
    """A direct room stays the one room of its two people."""
    return membership.room.kind != Room.Kind.DIRECT


def may_manage(membership: Membership | None, *, is_staff: bool) -> bool:
    """Owners and moderators of the room, and staff; nobody in a direct room."""
    if membership is not None and membership.room.kind == Room.Kind.DIRECT:
        return False
    return is_staff or (membership is not None and membership.role in MANAGERS)
