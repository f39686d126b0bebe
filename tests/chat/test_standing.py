from __future__ import annotations

import pytest

from chat import services
from chat.standing import pair_of, standings

pytestmark = pytest.mark.django_db


def test_places_of_many_people_take_one_query(cast, den, square, django_assert_num_queries):
    with django_assert_num_queries(1):
        found = standings([cast.alice.user_id, cast.bob.user_id, cast.charlie.user_id])
    assert {(s.user_id, s.slug, s.role, s.head) for s in found} == {
        (cast.alice.user_id, den, "owner", 2),
        (cast.alice.user_id, square, "owner", 1),
        (cast.bob.user_id, den, "member", 2),
    }


def test_names_of_direct_rooms_take_one_more(cast, den, at, django_assert_num_queries):
    for slug, other in (("d1", "bob"), ("d2", "charlie")):
        services.create_room(
            actor=cast.alice, room=slug, name="x", kind="direct", members=[other], at=at
        )
    with django_assert_num_queries(2):
        found = standings([cast.alice.user_id, cast.bob.user_id])
    names = {(s.user_id, s.slug): s.name for s in found if s.kind == "direct"}
    assert names == {
        (cast.alice.user_id, "d1"): "Bob",
        (cast.alice.user_id, "d2"): "Charlie",
        (cast.bob.user_id, "d1"): "Alice",
    }


def test_pair_is_the_same_from_both_sides():
    assert pair_of(3, 17) == pair_of(17, 3) == "3:17"
