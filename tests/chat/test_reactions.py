"""Reactions: there once or not there, however often it is said."""

from __future__ import annotations

import pytest

from chat import messages, reactions
from chat.errors import NotAllowedError, NotFoundError
from chat.models import Reaction, Room
from tests.chat.verbs import at_once, numbers, post, types

pytestmark = pytest.mark.django_db


@pytest.fixture
def message(cast, den, at):
    return str(post(cast.alice, den, at=at).event.pk)


@pytest.fixture
def add(den, message, at):
    return lambda actor, emoji="👍": reactions.add_reaction(
        actor=actor, room=den, message=message, emoji=emoji, at=at
    )


@pytest.fixture
def remove(den, message, at):
    return lambda actor, emoji="👍": reactions.remove_reaction(
        actor=actor, room=den, message=message, emoji=emoji, at=at
    )


def test_reaction_comes_and_goes(cast, message, add, remove):
    for verb, type_, left in ((add, "reaction.added", 1), (remove, "reaction.removed", 0)):
        event = verb(cast.bob).event
        assert (event.type, event.data) == (type_, {"message": message, "emoji": "👍"})
        assert str(event.message_id) == message
        assert Reaction.objects.count() == left


def test_the_same_again_is_the_event_of_the_first_time(cast, den, add, remove):
    for verb in (add, remove):
        first = verb(cast.bob)
        assert verb(cast.bob).reply == {"event": first.event.wire, "duplicate": True}
    assert numbers(den) == [1, 2, 3, 4, 5]
    assert not add(cast.bob).duplicate
    assert Room.objects.get(slug=den).last_seq == 6


def test_people_and_emoji_are_told_apart(cast, den, add, remove):
    for actor, emoji in ((cast.alice, "👍"), (cast.bob, "👍"), (cast.bob, "🎉")):
        assert not add(actor, emoji).duplicate
    remove(cast.bob)
    left = set(Reaction.objects.values_list("user", "emoji"))
    assert left == {(cast.alice.user_id, "👍"), (cast.bob.user_id, "🎉")}


def test_what_was_never_there_cannot_be_taken_away(cast, den, add, remove):
    add(cast.alice)
    with pytest.raises(NotFoundError, match="nothing to take back"):
        remove(cast.bob)
    assert numbers(den) == [1, 2, 3, 4]


def test_message_bears_so_many_and_no_more(cast, add, monkeypatch):
    monkeypatch.setattr(reactions, "MOST", 2)
    add(cast.bob, "👍")
    add(cast.bob, "🎉")
    with pytest.raises(NotAllowedError, match="at most 2 different"):
        add(cast.bob, "👀")
    assert not add(cast.alice, "🎉").duplicate


def test_stranger_reacts_to_nothing(cast, den, add, message, square, at):
    add(cast.bob)
    with pytest.raises(NotFoundError, match="no such room"):
        add(cast.charlie)
    with pytest.raises(NotFoundError, match="not in this room"):
        reactions.add_reaction(actor=cast.alice, room=square, message=message, emoji="👍", at=at)


def test_deleted_message_has_none_and_gets_none(cast, den, message, add, at):
    add(cast.bob)
    messages.delete_message(actor=cast.alice, room=den, message=message, at=at)
    assert not Reaction.objects.exists()
    with pytest.raises(NotAllowedError, match="been deleted"):
        add(cast.bob)


def test_archived_room_is_still(cast, den, add, at):
    Room.objects.filter(slug=den).update(posting="moderators")
    add(cast.bob)
    Room.objects.filter(slug=den).update(archived_at=at)
    with pytest.raises(NotAllowedError, match="archived"):
        add(cast.bob, "🎉")


@pytest.mark.django_db(transaction=True)
def test_copies_at_the_same_moment_are_one(cast, den, add, remove):
    for verb, type_ in ((add, "reaction.added"), (remove, "reaction.removed")):
        results = at_once(*[lambda verb=verb: verb(cast.bob)] * 6)
        assert sorted(r.duplicate for r in results) == [False] + [True] * 5
        assert types(den)[-1] == type_
    assert numbers(den) == [1, 2, 3, 4, 5]
