"""The verbs of rooms: who gets in, who gets out, and what a room is made of."""

from __future__ import annotations

import pytest

from chat import members, places, rooms
from chat.errors import BadRequestError, NotAllowedError, NotFoundError
from chat.models import Event, Membership, Room
from pki.models import AuditEntry
from tests import factories
from tests.chat.verbs import at_once, post, types

pytestmark = pytest.mark.django_db


class TestRooms:
    def test_creator_owns_and_members_are_in(self, cast, den):
        roles = Membership.objects.filter(room__slug=den).values_list("user__username", "role")
        assert dict(roles) == {"alice": "owner", "bob": "member"}
        assert types(den) == ["room.created", "member.joined"]

    def test_created_event_says_what_the_room_is(self, cast, at):
        wire = rooms.create_room(
            actor=cast.alice, room="new", name="New", kind="public", at=at
        ).reply["event"]
        assert (wire["seq"], wire["type"]) == (1, "room.created")
        assert wire["data"] == {"name": "New", "kind": "public"}

    def test_creating_again_returns_the_first_event(self, cast, den, at):
        again = rooms.create_room(
            actor=cast.alice, room=den, name="Den", kind="private", members=["bob"], at=at
        )
        assert again.duplicate
        assert again.event.seq == 1

    @pytest.mark.parametrize("change", [{"name": "Other"}, {"kind": "public"}])
    def test_taken_address_is_refused(self, cast, den, at, change):
        wish = {"room": den, "name": "Den", "kind": "private"}
        with pytest.raises(NotAllowedError, match="taken"):
            rooms.create_room(actor=cast.alice, at=at, **(wish | change))
        with pytest.raises(NotAllowedError, match="taken"):
            rooms.create_room(actor=cast.charlie, at=at, **wish)

    def test_unknown_and_disabled_people_cannot_be_brought_in(self, cast, people, at):
        people.charlie.is_active = False
        people.charlie.save()
        for name in ("nobody", "charlie"):
            with pytest.raises(NotFoundError, match=name):
                rooms.create_room(
                    actor=cast.alice, room="new", name="New", kind="private", members=[name], at=at
                )
        assert not Room.objects.exists()

    @pytest.mark.parametrize("members", [[], ["alice"]])
    def test_direct_room_needs_somebody_else(self, cast, at, members):
        with pytest.raises(BadRequestError):
            rooms.create_room(
                actor=cast.alice, room="d", name="d", kind="direct", members=members, at=at
            )

    def test_direct_room_of_two_is_found_again(self, cast, at):
        first = rooms.create_room(
            actor=cast.alice, room="d1", name="d", kind="direct", members=["bob"], at=at
        )
        again = rooms.create_room(
            actor=cast.bob, room="d2", name="d", kind="direct", members=["alice"], at=at
        )
        assert again.duplicate
        assert again.event == first.event

    def test_direct_room_of_several_is_found_again_by_each_of_them(self, cast, at):
        wish = {"name": "d", "kind": "direct", "at": at}
        first = rooms.create_room(actor=cast.alice, room="d1", members=["bob", "charlie"], **wish)
        for actor, others in ((cast.bob, ["charlie", "alice"]), (cast.charlie, ["bob", "alice"])):
            again = rooms.create_room(actor=actor, room="d2", members=others, **wish)
            assert (again.duplicate, again.event) == (True, first.event)
        of_two = rooms.create_room(actor=cast.bob, room="d2", members=["alice"], **wish)
        assert not of_two.duplicate
        assert types("d1") == ["room.created", "member.joined", "member.joined"]

    def test_direct_room_has_so_many_people_and_no_more(self, cast, at):
        others = [factories.make_person(f"p{number}").username for number in range(12)]
        with pytest.raises(BadRequestError, match="1 to 11"):
            rooms.create_room(
                actor=cast.alice, room="d", name="d", kind="direct", members=others, at=at
            )

    def test_direct_room_cannot_be_left(self, cast, at):
        rooms.create_room(
            actor=cast.alice, room="d", name="d", kind="direct", members=["bob"], at=at
        )
        with pytest.raises(NotAllowedError):
            rooms.leave(actor=cast.bob, room="d", at=at)

    def test_nobody_is_put_into_direct_rooms_without_end(self, cast, at, monkeypatch):
        monkeypatch.setattr(rooms, "IMPOSED", 1)
        wish = {"name": "d", "kind": "direct", "at": at}
        rooms.create_room(actor=cast.alice, room="d1", members=["bob"], **wish)
        with pytest.raises(NotAllowedError, match="begun 1 direct rooms with bob"):
            rooms.create_room(actor=cast.alice, room="d2", members=["bob", "charlie"], **wish)
        rooms.create_room(actor=cast.alice, room="d3", members=["charlie"], **wish)
        rooms.create_room(actor=cast.bob, room="d4", members=["alice", "charlie"], **wish)
        again = rooms.create_room(actor=cast.alice, room="d5", members=["bob"], **wish)
        assert again.duplicate

    def test_person_is_in_so_many_rooms_and_no_more(self, cast, den, square, at, monkeypatch):
        wish = {"kind": "private", "at": at}
        rooms.join(actor=cast.bob, room=square, at=at)
        monkeypatch.setattr(places, "PLACES", 2)
        with pytest.raises(NotAllowedError, match="You are in 2 rooms already"):
            rooms.create_room(actor=cast.bob, room="new", name="New", **wish)
        with pytest.raises(NotAllowedError, match="bob is in 2 rooms already"):
            rooms.create_room(actor=cast.charlie, room="new", name="New", members=["bob"], **wish)
        assert not Room.objects.filter(slug="new").exists()
        rooms.create_room(actor=cast.charlie, room="open", name="Open", kind="public", at=at)
        with pytest.raises(NotAllowedError, match="Leave one first"):
            rooms.join(actor=cast.bob, room="open", at=at)
        again = {"room": den, "name": "Den", "members": ["bob"]}
        assert rooms.create_room(actor=cast.alice, **again, **wish).duplicate
        assert rooms.join(actor=cast.bob, room=square, at=at).duplicate

        rooms.leave(actor=cast.bob, room=den, at=at)
        rooms.join(actor=cast.bob, room="open", at=at)

    def test_rooms_that_were_made_and_left_count(self, cast, square, at, monkeypatch):
        monkeypatch.setattr(rooms, "PLACES", 2)
        wish = {"name": "New", "kind": "private", "at": at}
        rooms.create_room(actor=cast.alice, room="new", **wish)
        rooms.leave(actor=cast.alice, room="new", at=at)
        with pytest.raises(NotAllowedError, match="You have made 2 rooms already"):
            rooms.create_room(actor=cast.alice, room="newer", **wish)

    def test_public_room_is_joined(self, cast, square, at):
        wire = rooms.join(actor=cast.bob, room=square, at=at).event.wire
        assert (wire["seq"], wire["type"]) == (2, "member.joined")
        assert wire["data"] == {
            "user": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
            "role": "member",
        }
        assert not post(cast.bob, square, at=at).duplicate

    def test_joining_again_returns_the_first_event(self, cast, square, at):
        first = rooms.join(actor=cast.bob, room=square, at=at)
        again = rooms.join(actor=cast.bob, room=square, at=at)
        assert again.duplicate
        assert again.event == first.event

    def test_private_room_cannot_be_joined_and_looks_missing(self, cast, den, at):
        for room in (den, "nowhere"):
            with pytest.raises(NotFoundError, match="no such room"):
                rooms.join(actor=cast.charlie, room=room, at=at)

    def test_who_leaves_is_out(self, cast, den, at):
        wire = rooms.leave(actor=cast.bob, room=den, at=at).event.wire
        assert (wire["seq"], wire["type"]) == (3, "member.left")
        assert wire["data"]["user"]["username"] == "bob"
        with pytest.raises(NotFoundError):
            rooms.leave(actor=cast.bob, room=den, at=at)

    def test_banned_person_joins_no_more_and_learns_why_of_a_public_room(self, cast, square, at):
        members.ban(actor=cast.alice, room=square, user="bob", reason="Spam", at=at)
        with pytest.raises(NotAllowedError, match="You were banned from this room: Spam"):
            rooms.join(actor=cast.bob, room=square, at=at)
        assert types(square) == ["room.created", "member.left"]

    def test_archived_room_is_not_joined(self, cast, square, at):
        rooms.change_room(actor=cast.alice, room=square, archived=True, at=at)
        with pytest.raises(NotAllowedError, match="archived"):
            rooms.join(actor=cast.bob, room=square, at=at)


class TestChanging:
    def test_only_differences_are_changed_and_told(self, cast, den, at):
        wire = rooms.change_room(
            actor=cast.alice, room=den, name="Den", description="Ours", slow_seconds=5,
            posting="moderators", at=at,
        ).event.wire  # fmt: skip
        assert (wire["seq"], wire["type"]) == (3, "room.changed")
        assert wire["data"] == {
            "description": "Ours", "slow_seconds": 5, "posting": "moderators",
        }  # fmt: skip
        room = Room.objects.get(slug=den)
        assert (room.description, room.slow_seconds, room.posting) == ("Ours", 5, "moderators")
        assert room.name == "Den"
        entry = AuditEntry.objects.get(action="room.changed")
        assert (entry.actor, entry.target) == ("alice", "room:den")
        assert entry.detail == {
            "changes": {
                "description": ["", "Ours"], "posting": ["members", "moderators"], "slow_seconds": [0, 5],
            },
            "certificate": cast.alice.serial,
        }  # fmt: skip

    def test_room_is_archived_and_opened_again(self, cast, den, at):
        closed = rooms.change_room(actor=cast.alice, room=den, archived=True, at=at)
        assert closed.event.data == {"archived": True}
        with pytest.raises(NotAllowedError):
            post(cast.alice, den, at=at)
        assert rooms.change_room(actor=cast.alice, room=den, archived=True, at=at).duplicate
        opened = rooms.change_room(actor=cast.alice, room=den, archived=False, at=at)
        assert opened.event.data == {"archived": False}
        assert post(cast.alice, den, at=at).event.seq == 5

    def test_what_is_so_already_takes_no_number(self, cast, den, at):
        same = rooms.change_room(actor=cast.alice, room=den, name="Den", at=at)
        assert (same.duplicate, same.event.seq) == (True, 1)
        assert Room.objects.get(slug=den).last_seq == 2
        assert not AuditEntry.objects.filter(action="room.changed").exists()

    def test_owners_alone_change_a_room(self, cast, den, at):
        Membership.objects.filter(user_id=cast.bob.user_id).update(role="moderator")
        with pytest.raises(NotAllowedError, match="Only the owners"):
            rooms.change_room(actor=cast.bob, room=den, name="Mine", at=at)
        with pytest.raises(NotFoundError, match="no such room"):
            rooms.change_room(actor=cast.charlie, room=den, name="Mine", at=at)
        assert types(den) == ["room.created", "member.joined"]

    def test_direct_room_stays_as_it_is(self, cast, at):
        direct = {"room": "d", "name": "d", "kind": "direct", "members": ["bob"]}
        rooms.create_room(actor=cast.alice, at=at, **direct)
        with pytest.raises(NotAllowedError):
            rooms.change_room(actor=cast.alice, room="d", posting="moderators", at=at)


@pytest.mark.django_db(transaction=True)
def test_ban_and_join_at_once_leave_the_banned_outside(cast, square, at):
    for _ in range(5):
        at_once(
            lambda: members.ban(actor=cast.alice, room=square, user="bob", reason="Spam", at=at),
            lambda: rooms.join(actor=cast.bob, room=square, at=at),
        )
        assert not Membership.objects.filter(user_id=cast.bob.user_id).exists()
        members.unban(actor=cast.alice, room=square, user="bob", at=at)


@pytest.mark.django_db(transaction=True)
def test_joining_from_several_devices_at_once_brings_in_once(cast, square, at):
    written = at_once(*[lambda: rooms.join(actor=cast.bob, room=square, at=at)] * 3)
    assert len({one.event.pk for one in written}) == 1
    assert types(square) == ["room.created", "member.joined"]


class TestRoomsForEveryone:
    @pytest.fixture
    def lobby(self, db):
        return Room.objects.create(slug="lobby", name="Lobby", kind="public", everyone=True)

    def test_new_person_is_brought_in_once(self, cast, lobby, at):
        for _ in range(2):
            rooms.join_default_rooms(actor=cast.bob, at=at)
        assert types("lobby") == ["member.joined"]
        assert not post(cast.bob, "lobby", at=at).duplicate

    def test_who_has_left_stays_outside(self, cast, lobby, at):
        rooms.join_default_rooms(actor=cast.bob, at=at)
        rooms.leave(actor=cast.bob, room="lobby", at=at)
        rooms.join_default_rooms(actor=cast.bob, at=at)
        assert not Membership.objects.filter(room=lobby).exists()

    def test_banned_people_are_not_brought_back(self, cast, lobby, at):
        rooms.join_default_rooms(actor=cast.alice, at=at)
        Membership.objects.update(role="owner")
        members.ban(actor=cast.alice, room="lobby", user="bob", reason="Spam", at=at)
        Event.objects.filter(about_id=cast.bob.user_id).update(about=None)
        rooms.join_default_rooms(actor=cast.bob, at=at)
        assert not Membership.objects.filter(user_id=cast.bob.user_id).exists()

    def test_archived_room_takes_nobody(self, cast, lobby, at):
        Room.objects.update(archived_at=at)
        rooms.join_default_rooms(actor=cast.bob, at=at)
        assert types("lobby") == []

    def test_private_room_for_everyone_takes_all(self, cast, lobby, at):
        Room.objects.update(kind="private")
        rooms.join_default_rooms(actor=cast.bob, at=at)
        assert types("lobby") == ["member.joined"]

    def test_other_rooms_are_left_alone(self, cast, square, at):
        rooms.join_default_rooms(actor=cast.bob, at=at)
        assert not Membership.objects.filter(user_id=cast.bob.user_id).exists()
