from __future__ import annotations

import pytest
from django.db import transaction

from chat import members, places
from chat.errors import NotAllowedError, NotFoundError, UnavailableError
from chat.models import Event, Room
from chat.querysets import RoomQuerySet
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


def test_own_place_is_found_and_no_other(cast, den, square):
    assert places.own(actor=cast.bob, room=den).role == "member"
    for room, error in (
        (den, NotFoundError),
        ("nowhere", NotFoundError),
        (square, NotAllowedError),
    ):
        with pytest.raises(error):
            places.own(actor=cast.charlie, room=room)


def test_number_is_taken_by_members_alone(cast, den):
    with transaction.atomic():
        assert places.take_number(actor=cast.bob, room=den).room.last_seq == 3
    with pytest.raises(NotFoundError), transaction.atomic():
        places.take_number(actor=cast.charlie, room=den)
    assert Room.objects.get(slug=den).last_seq == 3


def test_who_comes_in_between_the_two_queries_is_asked_to_try_again(cast, den, monkeypatch):
    monkeypatch.setattr(RoomQuerySet, "of_member", lambda self, _user_id: self.none())
    with pytest.raises(UnavailableError), transaction.atomic():
        places.take_number(actor=cast.bob, room=den)


def test_number_that_is_given_back_is_taken_by_the_next(cast, den, at):
    first = Event.objects.get(room__slug=den, seq=1)
    with transaction.atomic():
        places.take_number(actor=cast.bob, room=den)
        assert places.unchanged(first).duplicate
    assert post(cast.bob, den, at=at).event.seq == 3


def test_people_are_called_by_username_and_must_have_an_open_account(people):
    assert places.people_called({"bob", "alice"}) == [people.alice, people.bob]
    people.bob.is_active = False
    people.bob.save()
    with pytest.raises(NotFoundError, match="nobody called bob"):
        places.people_called({"bob", "alice"})


def test_crowded_people_are_named(cast, people, den, square, monkeypatch):
    monkeypatch.setattr(places, "PLACES", 2)
    places.check_places(actor=cast.bob, others=[people.charlie])
    with pytest.raises(NotAllowedError, match="You are in 2 rooms"):
        places.check_places(actor=cast.alice)
    with pytest.raises(NotAllowedError, match="alice is in 2 rooms"):
        places.check_places(actor=cast.bob, others=[people.alice])
    with pytest.raises(NotAllowedError, match="alice is in 2 rooms"):
        places.check_places_of([people.alice])


def test_message_is_looked_up_in_its_own_room(cast, den, square, at):
    posted = str(post(cast.alice, square, at=at).event.pk)
    assert places.message_in(Room.objects.get(slug=square), posted).body == "hello"
    with pytest.raises(NotFoundError, match="not in this room"):
        places.message_in(Room.objects.get(slug=den), posted)


def test_ban_is_one_persons_in_one_room(cast, den, square, at):
    members.ban(actor=cast.alice, room=den, user="charlie", reason="Spam", at=at)
    banned = {"user_id": cast.charlie.user_id}
    assert places.ban_of(Room.objects.get(slug=den), **banned).reason == "Spam"
    assert places.ban_of(Room.objects.get(slug=square), **banned) is None
    assert places.ban_of(Room.objects.get(slug=den), user_id=cast.bob.user_id) is None
