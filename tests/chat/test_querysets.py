from __future__ import annotations

import json

import pytest

from chat.models import Event, Room
from chat.protocol import JSONCodec
from chat.querysets import FRAME
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


def slugs(rooms):
    return sorted(room.slug for room in rooms)


def test_rooms_of_a_person_and_those_they_may_know_of(cast, den, square):
    assert slugs(Room.objects.of_member(cast.alice.user_id)) == ["den", "square"]
    assert slugs(Room.objects.of_member(cast.bob.user_id)) == ["den"]
    assert slugs(Room.objects.of_member(cast.charlie.user_id)) == []
    assert slugs(Room.objects.visible_to(cast.bob.user_id)) == ["den", "square"]
    assert slugs(Room.objects.visible_to(cast.charlie.user_id)) == ["square"]


def test_events_of_a_room_by_number(cast, den, square):
    room = Room.objects.get(slug=den)
    in_room = Event.objects.in_room(room.pk)
    assert [event.seq for event in in_room.after(0)] == [1, 2]
    assert [event.seq for event in in_room.after(1)] == [2]
    assert [event.seq for event in in_room.before(3)] == [2, 1]


def test_wire_form_needs_no_more_queries(cast, den, django_assert_num_queries):
    room = Room.objects.get(slug=den)
    with django_assert_num_queries(1):
        assert [event.wire["seq"] for event in Event.objects.in_room(room.pk).after(0)] == [1, 2]


@pytest.mark.parametrize("letter", ["a", "é", "計", "🦊"])
def test_weight_of_an_event_counts_bytes(cast, den, at, letter):
    post(cast.bob, den, letter * 1000, at=at)
    event = Event.objects.get(type=Event.Type.MESSAGE_POSTED)
    sent = len(JSONCodec().encode(event.wire).encode())
    (weight,) = Event.objects.filter(pk=event.pk).weights()
    ascii_only = len(json.dumps(event.data))
    assert sent - FRAME < weight <= max(sent, ascii_only) + FRAME
