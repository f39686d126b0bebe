import pytest

from chat.models import Membership, Message, Room
from chat.permissions import (
    may_change,
    may_change_role,
    may_delete,
    may_edit,
    may_invite,
    may_join,
    may_leave,
    may_moderate,
    may_pardon,
    may_pin,
    may_post,
    may_react,
    may_remove,
)


def place(role="member", kind="private", *, user_id=1, **room):
    return Membership(room=Room(kind=kind, **room), role=role, user_id=user_id)


@pytest.mark.parametrize(
    ("kind", "allowed"), [("public", True), ("private", False), ("direct", False)]
)
def test_only_public_rooms_are_open(kind, allowed):
    assert may_join(Room(kind=kind)) is allowed


@pytest.mark.parametrize("role", Membership.Role.values)
def test_every_member_posts(role):
    assert may_post(place(role))


@pytest.mark.parametrize(
    ("kind", "allowed"), [("public", True), ("private", True), ("direct", False)]
)
def test_direct_rooms_are_not_left(kind, allowed):
    assert may_leave(place(kind=kind)) is allowed


ROLES = Membership.Role.values


def allowed(may, **room):
    """The roles that may."""
    return [role for role in ROLES if may(place(role, **room))]


@pytest.mark.parametrize(
    ("may", "roles"),
    [
        (may_moderate, ["owner", "moderator"]),
        (may_pardon, ["owner", "moderator"]),
        (may_pin, ["owner", "moderator"]),
        (may_change, ["owner"]),
        (may_change_role, ["owner"]),
        (may_invite, ROLES),
        (may_leave, ROLES),
    ],
)
def test_roles_have_their_rights(may, roles):
    assert allowed(may) == roles


@pytest.mark.parametrize(
    "may", [may_moderate, may_pardon, may_change, may_change_role, may_invite, may_leave]
)
def test_nobody_is_above_the_others_in_a_direct_room(may):
    assert allowed(may, kind="direct") == []


def test_both_sides_of_a_direct_room_pin():
    assert allowed(may_pin, kind="direct") == ROLES


@pytest.mark.parametrize("may", [may_post, may_invite, may_pin])
def test_archived_room_takes_nothing(may, at):
    assert allowed(may, archived_at=at) == []
    assert not may_join(Room(kind="public", archived_at=at))


def test_moderators_alone_post_where_the_room_says_so():
    assert allowed(may_post, posting="moderators") == ["owner", "moderator"]


@pytest.mark.parametrize(
    ("role", "removable"),
    [("owner", [*ROLES, None]), ("moderator", ["member", None]), ("member", [])],
)
def test_owners_remove_anybody_and_moderators_members_and_strangers(role, removable):
    others = [*ROLES, None]
    may = [other for other in others if may_remove(place(role), place(other) if other else None)]
    assert may == removable
    direct = place(role, kind="direct")
    assert not any(may_remove(direct, place(other, kind="direct")) for other in ROLES)


def test_own_words_are_edited_and_those_of_others_deleted_by_moderators():
    own, other = Message(author_id=1), Message(author_id=2)
    assert allowed(lambda place: may_edit(place, own)) == ROLES
    assert allowed(lambda place: may_edit(place, other)) == []
    assert allowed(lambda place: may_delete(place, own)) == ROLES
    assert allowed(lambda place: may_delete(place, other)) == ["owner", "moderator"]
    assert allowed(lambda place: may_delete(place, other), kind="direct") == []
    assert allowed(lambda place: may_delete(place, own), legal_hold="Case 7") == []


def test_members_react_where_only_moderators_write_and_nobody_in_an_archive():
    assert allowed(may_react, posting="moderators") == ROLES
    assert allowed(may_post, posting="moderators") == ["owner", "moderator"]
    assert allowed(may_react, archived_at=1) == []
