"""Who may do what in a room. That they may know of it at all is the querysets' question."""

from __future__ import annotations

from chat.models import Membership, Message, Room

MODERATORS = {Membership.Role.OWNER, Membership.Role.MODERATOR}


def may_moderate(membership: Membership) -> bool:
    """Owners and moderators. In a direct room nobody is above the others."""
    return membership.room.kind != Room.Kind.DIRECT and membership.role in MODERATORS


def may_post(membership: Membership) -> bool:
    """Every member, unless the room is archived or for moderators' words alone."""
    room = membership.room
    open_to_all = room.posting == Room.Posting.MEMBERS
    return room.archived_at is None and (open_to_all or may_moderate(membership))


def may_edit(membership: Membership, message: Message) -> bool:
    """Their own words."""
    return message.author_id == membership.user_id


def may_delete(membership: Membership, message: Message) -> bool:
    """Their own words; moderators also those of others. Nobody where a legal hold keeps them."""
    is_own = message.author_id == membership.user_id
    return not membership.room.legal_hold and (is_own or may_moderate(membership))


def may_delete_reported(room: Room) -> bool:
    """Who settles reports, as moderators would: not in a direct room, nor under a legal hold."""
    return room.kind != Room.Kind.DIRECT and not room.legal_hold


def may_react(membership: Membership) -> bool:
    """Every member, also where only moderators write."""
    return membership.room.archived_at is None


def may_pin(membership: Membership) -> bool:
    """Moderators, and both sides of a direct room."""
    is_direct = membership.room.kind == Room.Kind.DIRECT
    return membership.room.archived_at is None and (is_direct or may_moderate(membership))


def may_join(room: Room) -> bool:
    """Public rooms are open; into the others one is brought."""
    return room.kind == Room.Kind.PUBLIC and room.archived_at is None


def may_leave(membership: Membership) -> bool:
    """A direct room stays the one room of its people."""
    return membership.room.kind != Room.Kind.DIRECT


def may_invite(membership: Membership) -> bool:
    """Every member; a direct room stays among those who began it."""
    room = membership.room
    return room.kind != Room.Kind.DIRECT and room.archived_at is None


def may_change(membership: Membership) -> bool:
    """Owners alone; a direct room is what it is."""
    is_direct = membership.room.kind == Room.Kind.DIRECT
    return not is_direct and membership.role == Membership.Role.OWNER


def may_remove(membership: Membership, other: Membership | None) -> bool:
    """Owners anybody, moderators members, also such as are not in the room: of them, to ban."""
    if other is not None and may_moderate(other):
        return may_change(membership)
    return may_moderate(membership)


def may_change_role(membership: Membership) -> bool:
    """Owners alone, of everybody."""
    return may_change(membership)


def may_pardon(membership: Membership) -> bool:
    """Who may ban."""
    return may_moderate(membership)
