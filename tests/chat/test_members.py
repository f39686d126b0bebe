"""The verbs about others: who comes in by whom, who is put out, who may come back, who owns."""

from __future__ import annotations

import pytest
from django.db import transaction

from chat import fanout, members, places, reading, rooms
from chat.errors import ChatError, NotAllowedError, NotFoundError
from chat.models import Ban, Membership, Room
from pki import audit
from pki.models import AuditEntry
from tests.chat.verbs import at_once, numbers, post, types

pytestmark = pytest.mark.django_db


def roles(room):
    places = Membership.objects.filter(room__slug=room)
    return dict(places.values_list("user__username", "role"))


def trail():
    """What the audit trail says of rooms, oldest first."""
    entries = AuditEntry.objects.filter(action__startswith="room.").order_by("sequence")
    return [(e.actor, e.action, e.target, e.detail["user"]) for e in entries]


@pytest.fixture
def do(cast, at):
    """A verb as somebody: do("bob", "remove", "den", "charlie")."""

    def verb(who, name, room, user, **more):
        actor = getattr(cast, who)
        return getattr(members, name)(actor=actor, room=room, user=user, at=at, **more)

    return verb


@pytest.fixture
def moderated(cast, den, do):
    """The den with Bob as moderator and Charlie as member; its log has four events."""
    do("alice", "change_role", den, "bob", role="moderator")
    do("alice", "invite", den, "charlie")
    return den


class TestInviting:
    def test_member_brings_somebody_into_a_private_room(self, cast, den, do, at):
        wire = do("bob", "invite", den, "charlie").event.wire
        assert (wire["seq"], wire["type"], wire["by"]["username"]) == (3, "member.joined", "bob")
        assert wire["data"]["user"]["username"] == "charlie"
        assert not post(cast.charlie, den, at=at).duplicate

    def test_inviting_again_takes_no_number(self, den, do):
        first = do("bob", "invite", den, "charlie")
        again = do("alice", "invite", den, "charlie")
        assert (again.duplicate, again.event) == (True, first.event)
        assert Room.objects.get(slug=den).last_seq == 3

    def test_stranger_invites_nobody_and_learns_nothing(self, den, do):
        for room in (den, "nowhere"):
            with pytest.raises(NotFoundError, match="no such room"):
                do("charlie", "invite", room, "charlie")
        assert numbers(den) == [1, 2]

    def test_banned_and_unknown_people_and_direct_and_archived_rooms_are_refused(
        self, cast, den, do, at
    ):
        with pytest.raises(NotFoundError, match="nobody called nobody"):
            do("bob", "invite", den, "nobody")
        do("alice", "ban", den, "charlie", reason="Spam")
        with pytest.raises(NotAllowedError, match="charlie was banned"):
            do("bob", "invite", den, "charlie")
        do("alice", "unban", den, "charlie")
        rooms.change_room(actor=cast.alice, room=den, archived=True, at=at)
        with pytest.raises(NotAllowedError, match="archived"):
            do("bob", "invite", den, "charlie")
        direct = {"room": "d", "name": "d", "kind": "direct", "members": ["bob"]}
        rooms.create_room(actor=cast.alice, at=at, **direct)
        with pytest.raises(NotAllowedError, match="direct room"):
            do("alice", "invite", "d", "charlie")

    def test_who_is_in_too_many_rooms_is_not_brought_into_another(self, den, do, monkeypatch):
        monkeypatch.setattr(places, "PLACES", 1)
        rooms_of_charlie = Room.objects.create(slug="x", name="X", kind="private")
        with pytest.raises(NotFoundError):
            do("bob", "invite", "x", "charlie")
        do("bob", "invite", den, "charlie")
        Membership.objects.filter(user__username="charlie").update(room=rooms_of_charlie)
        with pytest.raises(NotAllowedError, match="charlie is in 1 rooms already"):
            do("bob", "invite", den, "charlie")


class TestRemoving:
    @pytest.mark.parametrize(
        ("who", "whom", "allowed"),
        [
            ("alice", "bob", True),
            ("alice", "charlie", True),
            ("bob", "charlie", True),
            ("bob", "alice", False),
            ("charlie", "bob", False),
            ("charlie", "alice", False),
        ],
    )
    def test_owners_remove_anybody_and_moderators_members(self, moderated, do, who, whom, allowed):
        if allowed:
            assert do(who, "remove", moderated, whom).event.type == "member.left"
        else:
            with pytest.raises(NotAllowedError, match=f"may not remove {whom}"):
                do(who, "remove", moderated, whom)
        assert (whom in roles(moderated)) is not allowed

    def test_who_was_removed_reads_and_writes_no_more(self, cast, den, do, at):
        post(cast.bob, den, at=at)
        assert reading.history(actor=cast.bob, room=den, before=9, limit=9)["events"]
        wire = do("alice", "remove", den, "bob").event.wire
        assert (wire["seq"], wire["data"]["user"]["username"]) == (4, "bob")
        for refused in (
            lambda: post(cast.bob, den, at=at),
            lambda: reading.history(actor=cast.bob, room=den, before=9, limit=9),
            lambda: reading.sync(actor=cast.bob, rooms={den: 0}),
            lambda: places.own(actor=cast.bob, room=den),
        ):
            with pytest.raises(NotFoundError):
                refused()
        assert trail() == [("alice", "room.member_removed", "room:den", "bob")]

    def test_removing_again_changes_nothing(self, den, do):
        first = do("alice", "remove", den, "bob")
        again = do("alice", "remove", den, "bob")
        assert (again.duplicate, again.event, numbers(den)) == (True, first.event, [1, 2, 3])
        assert len(trail()) == 1

    def test_who_was_never_in_and_oneself_cannot_be_removed(self, den, do):
        with pytest.raises(NotFoundError, match="charlie is not in this room"):
            do("alice", "remove", den, "charlie")
        with pytest.raises(NotAllowedError, match="Leave the room"):
            do("alice", "remove", den, "alice")

    def test_nobody_is_above_the_other_in_a_direct_room(self, cast, do, at):
        direct = {"room": "d", "name": "d", "kind": "direct", "members": ["bob"]}
        rooms.create_room(actor=cast.alice, at=at, **direct)
        for verb, more in (
            ("remove", {}),
            ("ban", {"reason": "x"}),
            ("change_role", {"role": "member"}),
        ):
            with pytest.raises(NotAllowedError):
                do("alice", verb, "d", "bob", **more)
        assert types("d") == ["room.created", "member.joined"]

    def test_without_the_audit_entry_nothing_happens(self, den, do, monkeypatch):
        def fail(**_entry):
            raise OSError("no trail")

        monkeypatch.setattr(audit, "record", fail)
        for verb, more in (
            ("remove", {}),
            ("ban", {"reason": "x"}),
            ("change_role", {"role": "owner"}),
        ):
            with pytest.raises(OSError, match="no trail"):
                do("alice", verb, den, "bob", **more)
        assert roles(den) == {"alice": "owner", "bob": "member"}
        assert (numbers(den), Ban.objects.count()) == ([1, 2], 0)


class TestBanning:
    def test_banned_member_is_out_and_the_room_reads_why(self, cast, square, do, at):
        rooms.join(actor=cast.bob, room=square, at=at)
        wire = do("alice", "ban", square, "bob", reason="Spam").event.wire
        assert wire["type"] == "member.left"
        assert wire["data"]["user"]["username"] == "bob"
        assert (wire["data"]["banned"], wire["data"]["reason"]) == (True, "Spam")
        with pytest.raises(NotAllowedError, match="You were banned from this room: Spam"):
            rooms.join(actor=cast.bob, room=square, at=at)
        assert roles(square) == {"alice": "owner"}
        assert trail() == [("alice", "room.member_banned", "room:square", "bob")]

    def test_who_has_left_is_banned_too(self, cast, square, do, at):
        do("alice", "ban", square, "charlie", reason="Elsewhere")
        with pytest.raises(NotAllowedError, match="Elsewhere"):
            rooms.join(actor=cast.charlie, room=square, at=at)

    def test_first_ban_stands(self, square, do):
        first = do("alice", "ban", square, "bob", reason="Spam")
        again = do("alice", "ban", square, "bob", reason="Other")
        assert (again.duplicate, again.event) == (True, first.event)
        assert Ban.objects.get().reason == "Spam"

    def test_plain_members_ban_nobody_and_nobody_an_owner(self, moderated, do):
        for who, whom in (("charlie", "bob"), ("bob", "alice"), ("bob", "bob")):
            with pytest.raises(NotAllowedError):
                do(who, "ban", moderated, whom, reason="x")
        with pytest.raises(NotFoundError, match="nobody called"):
            do("alice", "ban", moderated, "nobody", reason="x")
        assert not Ban.objects.exists()

    def test_unban_lets_come_back_but_brings_nobody_in(self, cast, square, do, at):
        do("alice", "ban", square, "bob", reason="Spam")
        lifted = do("alice", "unban", square, "bob")
        assert lifted.event.type == "member.unbanned"
        assert roles(square) == {"alice": "owner"}
        again = do("alice", "unban", square, "bob")
        assert (again.duplicate, again.event) == (True, lifted.event)
        assert not rooms.join(actor=cast.bob, room=square, at=at).duplicate
        assert [action for _, action, _, _ in trail()] == [
            "room.member_banned",
            "room.member_unbanned",
        ]

    def test_who_may_not_ban_lifts_no_ban(self, moderated, do):
        do("alice", "ban", moderated, "bob", reason="Spam")
        with pytest.raises(NotAllowedError):
            do("charlie", "unban", moderated, "bob")
        with pytest.raises(NotFoundError, match="charlie is not banned"):
            do("alice", "unban", moderated, "charlie")


class TestRoles:
    def test_owner_makes_another_owner_who_unmakes_the_first(self, den, do):
        wire = do("alice", "change_role", den, "bob", role="owner").event.wire
        assert (wire["type"], wire["data"]["role"]) == ("member.role", "owner")
        do("bob", "change_role", den, "alice", role="member")
        assert roles(den) == {"alice": "member", "bob": "owner"}
        entries = AuditEntry.objects.filter(action="room.role_changed").order_by("sequence")
        assert [(e.detail["from"], e.detail["to"]) for e in entries] == [
            ("member", "owner"),
            ("owner", "member"),
        ]

    def test_same_role_again_changes_nothing(self, den, do):
        first = do("alice", "change_role", den, "bob", role="moderator")
        again = do("alice", "change_role", den, "bob", role="moderator")
        assert (again.duplicate, again.event, numbers(den)) == (True, first.event, [1, 2, 3])
        assert do("alice", "change_role", den, "alice", role="owner").event.seq == 1

    def test_others_give_no_roles(self, moderated, do):
        for who in ("bob", "charlie"):
            with pytest.raises(NotAllowedError, match="Only the owners"):
                do(who, "change_role", moderated, who, role="owner")
        with pytest.raises(NotFoundError, match="nobody is not in this room"):
            do("alice", "change_role", moderated, "nobody", role="owner")

    def test_last_owner_neither_steps_down_nor_leaves(self, cast, den, do, at):
        with pytest.raises(NotAllowedError, match="Make somebody else an owner first"):
            do("alice", "change_role", den, "alice", role="member")
        with pytest.raises(NotAllowedError, match="Make somebody else an owner first"):
            rooms.leave(actor=cast.alice, room=den, at=at)
        assert (roles(den)["alice"], numbers(den)) == ("owner", [1, 2])

        do("alice", "change_role", den, "bob", role="owner")
        rooms.leave(actor=cast.alice, room=den, at=at)
        assert roles(den) == {"bob": "owner"}

    def test_owner_whose_account_is_disabled_counts_for_none(self, cast, people, den, do, at):
        do("alice", "invite", den, "charlie")
        do("alice", "change_role", den, "bob", role="owner")
        people.bob.is_active = False
        people.bob.save()
        with pytest.raises(NotAllowedError, match="last owner"):
            rooms.leave(actor=cast.alice, room=den, at=at)
        do("alice", "change_role", den, "bob", role="member")


class TestNotices:
    def test_choice_is_kept_and_told_once(
        self, cast, den, monkeypatch, django_capture_on_commit_callbacks
    ):
        told = []
        monkeypatch.setattr(fanout, "announce", told.append)
        with django_capture_on_commit_callbacks(execute=True):
            for _ in range(2):
                members.set_notices(actor=cast.bob, room=den, level="nothing")
        assert told == [fanout.News(people=(cast.bob.user_id,))]
        assert Membership.objects.get(user_id=cast.bob.user_id).notify == "nothing"
        with pytest.raises(NotFoundError):
            members.set_notices(actor=cast.charlie, room=den, level="all")


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_two_owners_who_unmake_each_other_leave_one(self, den, do):
        do("alice", "change_role", den, "bob", role="owner")
        results = at_once(
            lambda: do("alice", "change_role", den, "bob", role="member"),
            lambda: do("bob", "change_role", den, "alice", role="member"),
        )
        assert sorted(roles(den).values()) == ["member", "owner"]
        assert sum(isinstance(result, NotAllowedError) for result in results) == 1
        assert numbers(den) == [1, 2, 3, 4]

    def test_two_owners_who_leave_at_once_leave_one(self, cast, den, do, at):
        do("alice", "invite", den, "charlie")
        do("alice", "change_role", den, "bob", role="owner")
        results = at_once(
            *(
                lambda who=who: rooms.leave(actor=who, room=den, at=at)
                for who in (cast.alice, cast.bob)
            )
        )
        assert sorted(roles(den).values()) == ["member", "owner"]
        assert sum(isinstance(result, NotAllowedError) for result in results) == 1

    def test_ban_and_invitation_leave_the_banned_outside(self, den, do):
        for _ in range(5):
            results = at_once(
                lambda: do("alice", "ban", den, "charlie", reason="Spam"),
                lambda: do("bob", "invite", den, "charlie"),
            )
            assert [
                r for r in results if not isinstance(r, ChatError) and isinstance(r, Exception)
            ] == []
            assert "charlie" not in roles(den)
            do("alice", "unban", den, "charlie")
        assert numbers(den) == list(range(1, len(numbers(den)) + 1))

    def test_who_is_removed_while_posting_writes_nothing_after_the_farewell(
        self, cast, den, do, at
    ):
        for _ in range(5):
            at_once(
                lambda: do("alice", "remove", den, "bob"),
                *(lambda: post(cast.bob, den, at=at) for _ in range(3)),
            )
            assert types(den)[-1] == "member.left"
            do("alice", "invite", den, "bob")
        assert numbers(den) == list(range(1, len(numbers(den)) + 1))


def test_repeat_within_a_transaction_of_somebody_else_spoils_nothing(den, do):
    """As where several verbs are done together: the number alone is given back."""
    with transaction.atomic():
        do("alice", "invite", den, "bob")
        do("alice", "invite", den, "charlie")
    assert numbers(den) == [1, 2, 3]
