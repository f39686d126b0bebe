import pytest

from chat.models import Membership, Room
from chat.permissions import may_join, may_leave, may_post


def place(role="member", kind="private"):
    return Membership(room=Room(kind=kind), role=role)


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
