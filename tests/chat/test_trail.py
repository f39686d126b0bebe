"""An entry says who did what in which room, and with which certificate."""

from __future__ import annotations

import pytest

from chat import trail
from chat.models import Room
from pki.models import AuditEntry

pytestmark = pytest.mark.django_db


def test_entry_names_room_actor_and_certificate(cast, den, at):
    trail.record(Room.objects.get(), "room.tried", actor=cast.alice, at=at, seq=7)
    entry = AuditEntry.objects.get(action="room.tried")
    assert (entry.actor, entry.target) == ("alice", "room:den")
    assert entry.detail == {"seq": 7, "certificate": cast.alice.serial}
