from __future__ import annotations

import pytest

from chat import fanout, log
from chat.models import Event, Room

pytestmark = pytest.mark.django_db


def test_number_of_a_missing_room_is_not_taken():
    assert log.take_number(Room.objects.filter(slug="nowhere")) == 0


def test_event_is_announced_after_the_commit_only(
    cast, den, at, monkeypatch, django_capture_on_commit_callbacks
):
    announced = []
    monkeypatch.setattr(fanout, "announce", announced.append)
    room = Room.objects.get(slug=den)
    room.last_seq = 3
    with django_capture_on_commit_callbacks(execute=True):
        event = log.append(
            room=room, type=Event.Type.MESSAGE_POSTED, actor=cast.bob, data={}, at=at
        )
        assert announced == []
    assert announced == [fanout.News(rooms=((room.pk, 3),), event=event)]


def test_epoch_stays():
    first = log.epoch()
    assert len(first) == 32
    assert log.epoch() == first
