from __future__ import annotations

import json

import pytest
from django.db import connection

from chat import directory, members, rooms
from chat.errors import NotFoundError
from chat.models import Membership, Room
from chat.protocol import moment
from pki.models import User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def crowd(people):
    for username, name in (
        ("zoe", "Zoë Bobbins"),
        ("dan", "Dan Bob"),
        ("bobby", "Robert Tables"),
        ("gone", "Bob Gone"),
    ):
        factories.make_person(username, name=name, email=f"{username}@mail.example")
    type(people.bob).objects.filter(username="gone").update(is_active=False)


def found(query):
    return [person["username"] for person in directory.people(query=query)["people"]]


class TestMembers:
    def test_members_are_told_with_owners_first(self, cast, den, at):
        members.invite(actor=cast.alice, room=den, user="charlie", at=at)
        members.change_role(actor=cast.alice, room=den, user="charlie", role="moderator", at=at)
        answer = directory.members(actor=cast.bob, room=den)
        assert answer["count"] == 3
        assert [(m["user"]["username"], m["role"]) for m in answer["members"]] == [
            ("alice", "owner"), ("charlie", "moderator"), ("bob", "member"),
        ]  # fmt: skip
        assert answer["members"][0]["joined_at"] == moment(at)

    def test_bans_are_for_moderators(self, cast, den, at):
        members.ban(actor=cast.alice, room=den, user="charlie", reason="Spam", at=at)
        [ban] = directory.members(actor=cast.alice, room=den)["bans"]
        assert (ban["user"]["username"], ban["by"]["username"]) == ("charlie", "alice")
        assert (ban["reason"], ban["at"]) == ("Spam", moment(at))
        assert "bans" not in directory.members(actor=cast.bob, room=den)

    def test_stranger_is_told_of_no_room(self, cast, den):
        with pytest.raises(NotFoundError):
            directory.members(actor=cast.charlie, room=den)

    def test_large_room_answers_in_few_queries_and_says_how_many_there_are(
        self, cast, den, monkeypatch, django_assert_num_queries
    ):
        monkeypatch.setattr(directory, "MEMBERS", 1)
        with django_assert_num_queries(4):
            answer = directory.members(actor=cast.alice, room=den)
        assert (len(answer["members"]), answer["count"]) == (1, 2)


class TestRooms:
    def test_public_rooms_are_listed_and_no_others(self, cast, den, square, at):
        rooms.create_room(actor=cast.alice, room="old", name="Old", kind="public", at=at)
        Room.objects.filter(slug="old").update(archived_at=at)
        assert directory.public_rooms(actor=cast.charlie) == {
            "rooms": [
                {
                    "room": "square",
                    "name": "Square",
                    "description": "",
                    "members": 1,
                    "joined": False,
                }
            ]
        }
        assert directory.public_rooms(actor=cast.alice)["rooms"][0]["joined"]

    def test_name_or_address_has_the_query_in_it(self, cast, square):
        for query, count in (("quar", 1), ("SQ", 1), ("den", 0), ("%", 0)):
            assert len(directory.public_rooms(actor=cast.bob, query=query)["rooms"]) == count

    def test_many_rooms_take_two_queries(self, cast, square, at, django_assert_num_queries):
        for number in range(5):
            Room.objects.create(slug=f"r{number}", name=f"R{number}", kind="public")
        Membership.objects.create(room=Room.objects.get(slug="r3"), user_id=cast.bob.user_id)
        with django_assert_num_queries(2):
            found = directory.public_rooms(actor=cast.bob)["rooms"]
        assert [room["members"] for room in found] == [0, 0, 0, 1, 0, 1]


class TestPeople:
    def test_username_or_words_of_the_name_begin_with_the_query(self, crowd):
        assert found("bob") == found("BOB") == ["bob", "bobby", "dan", "zoe"]
        assert found("table") == ["bobby"]
        assert found("dan b") == found("bob da") == ["dan"]
        assert found("dan x") == []

    def test_words_are_found_behind_a_dash_or_an_apostrophe(self):
        factories.make_person("x", name="Ann-Marie O'Neill")
        assert found("marie") == found("neill") == found("o'neill") == found("ann-m") == ["x"]

    @pytest.mark.parametrize("query", ["%", "_", "obb", "\\", "'", "' | x", "x:*", "!x", "(", ":*"])
    def test_nothing_in_the_query_stands_for_anything(self, crowd, query):
        assert found(query) == []

    def test_ten_at_most_and_the_username_itself_first(self, crowd):
        for number in range(12):
            factories.make_person(f"bo{number}")
        factories.make_person("bo")
        assert found("bo")[0] == "bo"
        assert len(found("bo")) == 10

    def test_addresses_of_mail_are_never_told_nor_searched(self, crowd):
        assert found("mail") == []
        assert "@" not in json.dumps(directory.people(query="zoe"))

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite looks through all")
    def test_index_answers_for_words_of_names(self, crowd):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
        named = User.objects.filter(directory._named(["bob"])).order_by()
        assert "chat_words_of_names" in named.explain()
