"""What an admin does to rooms in the console: from outside, as no member, and without reading them.

What always holds: each change is recorded in the audit trail, in its own transaction, and what the
members can see of it is an event of the room's log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from chat import log
from chat.errors import NotAllowedError
from chat.members import give_role
from chat.models import Membership, Room
from chat.places import place_of
from chat.rooms import before_and_after, differences, write_changes
from chat.trail import record
from pki.identity import Identity

QUIET = {"everyone", "legal_hold"}  # no event tells of these


def change_room(
    *, actor: Identity, room: str, wishes: Mapping[str, Any], at: dt.datetime
) -> dict[str, Any]:
    """Change settings of any room: those of its owners, retention_days, everyone and legal_hold.

    Returns what was different; where nothing was, nothing is written.
    """
    with transaction.atomic():
        found = Room.objects.select_for_update().get(slug=room)
        changes = differences(found, wishes)
        told = {name: value for name, value in changes.items() if name not in QUIET}
        quiet = {name: value for name, value in changes.items() if name in QUIET}
        facts = before_and_after(found, changes)
        if told:
            write_changes(_numbered(found), told, actor=actor, at=at)
        if quiet:
            Room.objects.filter(pk=found.pk).update(**quiet)
        if changes:
            record(found, "room.changed", actor=actor, at=at, changes=facts)
    return changes


def appoint_owner(*, actor: Identity, room: str, user: str, at: dt.datetime) -> None:
    """Make a member owner of a room whose owners are all gone.

    Refuses what `check_appointment` refuses.
    """
    with transaction.atomic():
        found = _numbered(Room.objects.get(slug=room))
        place = check_appointment(room=found, user=user)
        give_role(place, Membership.Role.OWNER, actor=actor, at=at)


def check_appointment(*, room: Room, user: str) -> Membership:
    """The place of somebody who can be made owner by an admin.

    Refuses a direct room, a room that has an owner whose account is open, and who is no member with
    an open account (NotAllowedError): nobody gets into a room by this.
    """
    if room.kind == Room.Kind.DIRECT:
        raise NotAllowedError("A direct room has no owner.")
    active = Membership.objects.filter(room=room, user__is_active=True)
    if active.filter(role=Membership.Role.OWNER).exists():
        raise NotAllowedError("This room has an owner, who can make others owners.")
    place = place_of(room, username=user)
    if place is None or not place.user.is_active:
        raise NotAllowedError(f"{user} is no member of this room, or their account is disabled.")
    return place


def _numbered(room: Room) -> Room:
    """The room, locked, with its next number taken."""
    log.take_number(Room.objects.filter(pk=room.pk))
    room.refresh_from_db()
    return room
