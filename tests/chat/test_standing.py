from __future__ import annotations

import pytest

from chat import members, reading, rooms
from chat.models import Mention, Message
from chat.standing import key_of, standings, with_mentions
from tests.chat.verbs import post

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
        rooms.create_room(
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


def test_direct_room_of_several_bears_all_other_names(cast, at):
    rooms.create_room(
        actor=cast.alice, room="d", name="x", kind="direct", members=["charlie", "bob"], at=at
    )
    found = {s.user_id: s for s in standings([cast.alice.user_id, cast.bob.user_id])}
    assert found[cast.alice.user_id].name == "Bob, Charlie"
    assert found[cast.bob.user_id].name == "Alice, Charlie"
    assert found[cast.bob.user_id].wire["others"] == sorted(
        [cast.alice.user_id, cast.charlie.user_id]
    )


def test_standing_tells_what_the_room_is_and_what_the_person_chose(cast, den, at):
    rooms.change_room(
        actor=cast.alice, room=den, description="Ours", posting="moderators", slow_seconds=5,
        archived=True, at=at,
    )  # fmt: skip
    members.set_notices(actor=cast.bob, room=den, level="mentions")
    [standing] = standings([cast.bob.user_id])
    assert standing.wire == {
        "room": "den", "name": "Den", "kind": "private", "head": 3, "read": 2, "role": "member",
        "description": "Ours", "posting": "moderators", "slow_seconds": 5, "archived": True,
        "notify": "mentions", "others": [], "mentions": 0,
    }  # fmt: skip


def test_terms_stay_while_the_log_moves_on(cast, den, at):
    def terms():
        return standings([cast.bob.user_id])[0].terms

    before = terms()
    post(cast.alice, den, at=at)
    reading.mark_read(actor=cast.bob, room=den, seq=3)
    assert terms() == before
    members.change_role(actor=cast.alice, room=den, user="bob", role="moderator", at=at)
    assert terms() != before


def mention(room, user_id, seq):
    message = Message.objects.get(room__slug=room, seq=seq)
    Mention.objects.create(message=message, room=message.room, seq=seq, user_id=user_id)


def test_mentions_are_counted_since_the_person_last_read(
    cast, den, square, at, django_assert_num_queries
):
    for _ in range(4):
        post(cast.alice, den, at=at)
    mention(den, cast.bob.user_id, 3)
    mention(den, cast.bob.user_id, 4)
    mention(den, None, 4)  # one message that names him twice
    mention(den, None, 5)
    mention(den, cast.alice.user_id, 6)  # her own words
    reading.mark_read(actor=cast.bob, room=den, seq=3)
    found = standings([cast.alice.user_id, cast.bob.user_id])
    with django_assert_num_queries(1):
        counted = with_mentions(found)
    assert {(s.user_id, s.slug): s.mentions for s in counted} == {
        (cast.alice.user_id, den): 0,
        (cast.alice.user_id, square): 0,
        (cast.bob.user_id, den): 2,
    }


def test_key_is_the_same_from_both_sides():
    assert key_of(3, 17) == key_of(17, 3) == "3:17"
