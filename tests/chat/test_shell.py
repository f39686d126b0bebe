"""What the page holds before a socket is open."""

from __future__ import annotations

import pytest

from chat import reading
from chat.models import Membership, Room
from chat.shell import FAR, FEW, MOST, kind_words, sections, shell
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


def rooms_of(actor):
    return {room["room"]: room for room in shell(actor=actor, room=None)["rooms"]}


def test_shell_names_the_rooms_of_the_person_alone(cast, den, square):
    assert set(rooms_of(cast.bob)) == {"den"}
    assert rooms_of(cast.bob)["den"]["role"] == "member"
    assert set(rooms_of(cast.charlie)) == set()


def test_shell_has_the_log_of_a_room_of_theirs_alone(cast, den, at):
    post(cast.alice, den, "secret", at=at)
    assert "secret" in str(shell(actor=cast.bob, room=den)["log"])
    for room in (den, "nowhere", None):
        assert shell(actor=cast.charlie, room=room)["log"] is None


def test_log_ends_with_all_that_was_not_read(cast, den, at):
    for number in range(FEW):
        post(cast.alice, den, f"read {number}", at=at)
    head = Room.objects.get(slug=den).last_seq
    reading.mark_read(actor=cast.bob, room=den, seq=head)
    post(cast.alice, den, "new", at=at)

    log = shell(actor=cast.bob, room=den)["log"]

    assert [event["seq"] for event in log["history"]["events"]] == list(
        range(head - FEW + 1, head + 1)
    )
    assert log["history"]["more"]
    (new,) = log["sync"]["rooms"][den]["events"]
    assert new["data"]["body"] == "new"


def test_log_of_who_is_far_behind_ends_at_the_newest(cast, den, at):
    Room.objects.filter(slug=den).update(last_seq=FAR + 10)
    newest = post(cast.alice, den, "newest", at=at).event
    log = shell(actor=cast.bob, room=den)["log"]
    assert log["history"]["events"][-1]["seq"] == newest.seq
    assert log["sync"]["rooms"][den]["events"] == []
    assert rooms_of(cast.bob)[den]["unread"] == MOST


def test_unread_counts_the_messages_of_others(cast, den, at):
    post(cast.alice, den, "one", at=at)
    post(cast.alice, den, "two", at=at)
    assert rooms_of(cast.bob)[den]["unread"] == 2
    post(cast.bob, den, "mine", at=at)
    assert rooms_of(cast.bob)[den]["unread"] == 2
    assert rooms_of(cast.alice)[den]["unread"] == 1


@pytest.mark.parametrize(("level", "unread"), [("all", 1), ("mentions", 0), ("nothing", 0)])
def test_unread_is_what_the_person_wants_to_hear(cast, den, at, level, unread):
    post(cast.alice, den, "one", at=at)
    Membership.objects.filter(user_id=cast.bob.user_id).update(notify=level)
    assert rooms_of(cast.bob)[den]["unread"] == unread


def test_shell_asks_as_often_for_many_rooms_as_for_few(
    cast, den, square, at, django_assert_num_queries
):
    post(cast.alice, den, "unread", at=at)
    shell(actor=cast.bob, room=None)  # the first time begins the log's epoch
    with django_assert_num_queries(4):
        shell(actor=cast.bob, room=None)
    Membership.objects.create(room=Room.objects.get(slug=square), user_id=cast.bob.user_id)
    with django_assert_num_queries(4):
        shell(actor=cast.bob, room=None)


def test_sections_part_rooms_people_and_what_is_archived():
    rooms = [
        {"room": "den", "kind": "private", "archived": False},
        {"room": "dm", "kind": "direct", "archived": False},
        {"room": "old", "kind": "public", "archived": True},
        {"room": "square", "kind": "public", "archived": False},
    ]
    parts = {name: [room["room"] for room in part] for name, part in sections(rooms).items()}
    assert parts == {"rooms": ["den", "square"], "people": ["dm"], "archived": ["old"]}


@pytest.mark.parametrize(
    ("room", "words"),
    [
        ({"kind": "public"}, "Open to everybody here"),
        ({"kind": "private"}, "Private room"),
        ({"kind": "private", "description": "Bears"}, "Bears"),
        ({"kind": "direct", "others": [2]}, "Between the two of you"),
        ({"kind": "direct", "others": [2, 3]}, "Between the people in it"),
        ({"kind": "public", "archived": True}, "Archived: nobody can write here any more"),
    ],
)
def test_a_room_says_what_it_is(room, words):
    assert kind_words({"archived": False, "description": "", "others": [], **room}) == words
