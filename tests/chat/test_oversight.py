"""What an admin does to rooms: told to the members, recorded, and no way in."""

from __future__ import annotations

import pytest

from chat import oversight, rooms
from chat.errors import NotAllowedError
from chat.models import Event, Membership, Room
from pki.models import AuditEntry
from tests import factories
from tests.chat.verbs import types

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(people, pki, at):
    return factories.make_identity(people.admin, pki.issuing, at=at)


def test_change_is_told_to_the_room_and_what_is_quiet_is_not(cast, den, admin, at):
    wishes = {"retention_days": 30, "everyone": True, "legal_hold": "Case 7", "name": "Den"}
    changed = oversight.change_room(actor=admin, room=den, wishes=wishes, at=at)
    assert changed == {"retention_days": 30, "everyone": True, "legal_hold": "Case 7"}
    event = Event.objects.latest("seq")
    assert (event.type, event.by.username, event.data) == (
        "room.changed", "admin", {"retention_days": 30},
    )  # fmt: skip
    assert AuditEntry.objects.get(action="room.changed").detail["changes"] == {
        "retention_days": [None, 30], "everyone": [False, True], "legal_hold": ["", "Case 7"],
    }  # fmt: skip
    assert not Membership.objects.filter(user_id=admin.user_id).exists()


def test_quiet_change_takes_no_number_and_no_change_leaves_no_trace(den, admin, at):
    for _ in range(2):
        oversight.change_room(actor=admin, room=den, wishes={"legal_hold": "Case 7"}, at=at)
    assert Room.objects.get(slug=den).last_seq == 2
    assert AuditEntry.objects.filter(action="room.changed").count() == 1


def test_member_becomes_owner_of_a_room_whose_owner_is_gone(cast, people, den, admin, at):
    people.alice.is_active = False
    people.alice.save()
    oversight.appoint_owner(actor=admin, room=den, user="bob", at=at)
    assert Membership.objects.get(user=people.bob).role == "owner"
    assert types(den)[-1] == "member.role"
    rooms.change_room(actor=cast.bob, room=den, name="Cave", at=at)
    assert AuditEntry.objects.get(action="room.role_changed").actor == "admin"


def test_room_that_never_had_an_owner_gets_one(cast, admin, at):
    Room.objects.create(slug="lobby", name="Lobby", kind="public", everyone=True)
    rooms.join_default_rooms(actor=cast.bob, at=at)
    oversight.appoint_owner(actor=admin, room="lobby", user="bob", at=at)
    assert Membership.objects.get().role == "owner"


def test_admin_gets_into_no_room_and_takes_none_from_its_owner(cast, people, den, admin, at):
    with pytest.raises(NotAllowedError, match="has an owner"):
        oversight.appoint_owner(actor=admin, room=den, user="bob", at=at)
    people.alice.is_active = False
    people.alice.save()
    for nobody in ("admin", "alice", "charlie", "nobody"):
        with pytest.raises(NotAllowedError, match="no member"):
            oversight.appoint_owner(actor=admin, room=den, user=nobody, at=at)
    direct = {"room": "d", "name": "d", "kind": "direct", "members": ["charlie"]}
    rooms.create_room(actor=cast.bob, at=at, **direct)
    with pytest.raises(NotAllowedError, match="direct"):
        oversight.appoint_owner(actor=admin, room="d", user="bob", at=at)
    assert types(den) == ["room.created", "member.joined"]
