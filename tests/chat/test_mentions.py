"""Who is meant by a name, and who is not."""

from __future__ import annotations

import pytest

from chat import mentions, rooms
from chat.models import Membership, Mention
from tests import factories
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


@pytest.fixture
def said(cast, den, at):
    return lambda body: post(cast.alice, den, body, at=at).event.data


def test_member_is_named(cast, said):
    data = said("hi @bob!")
    assert data["mentions"] == [cast.bob.user_id]
    assert data["html"] == (
        f'<p>hi <span class="mention" data-user="{cast.bob.user_id}">@bob</span>!</p>'
    )
    row = Mention.objects.get()
    assert (row.user_id, row.seq, row.room.slug) == (cast.bob.user_id, 3, "den")


@pytest.mark.parametrize(
    "body",
    ["@charlie", "@nobody", "`@bob`", "```\n@bob\n```", "a@bob", "[@bob](https://a.example)",
     "https://a.example/@bob", "@bobby", "bob@bob.example"],
)  # fmt: skip
def test_nobody_is_named(cast, said, body, at):
    rooms.create_room(actor=cast.charlie, room="other", name="Other", kind="public", at=at)
    data = said(body)
    assert "mentions" not in data
    assert "everyone" not in data
    assert "<span" not in data["html"]
    assert not Mention.objects.exists()


@pytest.mark.parametrize(
    "body", ["@bob, hi", "(@bob)", "@Bob.", "**@bob**", "> @bob", "- @bob", "@bob's", "@bob @bob"]
)
def test_name_ends_where_it_ends(cast, said, body):
    assert said(body)["mentions"] == [cast.bob.user_id]


def test_dots_dashes_and_underscores_belong_to_a_name(cast, den, said, at):
    user = factories.make_person("a_b.c-d_e")
    Membership.objects.create(room_id=Membership.objects.first().room_id, user=user)
    assert said("ask @a_b.c-d_e.")["mentions"] == [user.pk]


def test_everybody_is_named_at_once(said):
    data = said("@all: look")
    assert data["everyone"] is True
    assert "mentions" not in data
    assert data["html"] == '<p><span class="mention">@all</span>: look</p>'
    assert Mention.objects.get().user_id is None


def test_moderators_are_named_by_their_office(cast, den, at):
    data = post(cast.bob, den, "@moderators @alice help", at=at).event.data
    assert data["mentions"] == [cast.alice.user_id]
    assert '<span class="mention">@moderators</span>' in data["html"]
    rooms.create_room(actor=cast.alice, room="d", name="d", kind="direct", members=["bob"], at=at)
    assert "mentions" not in post(cast.bob, "d", "@moderators", at=at).event.data


def test_no_more_are_named_than_most(cast, den, said, monkeypatch):
    assert len(said("@alice @bob")["mentions"]) == 2
    monkeypatch.setattr(mentions, "MOST", 1)
    assert said("@alice @bob")["mentions"] == [cast.alice.user_id]


def test_names_take_two_queries(cast, den, said, django_assert_max_num_queries):
    with django_assert_max_num_queries(4 + 2 + 2):  # of the post, of the names, and the savepoint
        said("@alice and @bob")
