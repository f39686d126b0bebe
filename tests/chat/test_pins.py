"""Pins: what moderators keep at hand."""

from __future__ import annotations

import pytest

from chat import messages, pins, rooms
from chat.errors import NotAllowedError, NotFoundError
from chat.models import Message, Room
from tests.chat.verbs import at_once, numbers, post, types

pytestmark = pytest.mark.django_db


@pytest.fixture
def message(cast, den, at):
    return str(post(cast.bob, den, at=at).event.pk)


@pytest.fixture
def about(cast, den, message, at):
    return {"actor": cast.alice, "room": den, "message": message, "at": at}


def test_moderator_pins_and_unpins(about, message, at):
    for verb, type_, pinned_at in (
        (pins.pin_message, "message.pinned", at),
        (pins.unpin_message, "message.unpinned", None),
    ):
        event = verb(**about).event
        assert (event.type, event.data) == (type_, {"message": message})
        assert str(event.message_id) == message
        assert Message.objects.get(pk=message).pinned_at == pinned_at


def test_the_same_again_is_the_event_of_the_first_time(den, about):
    for verb in (pins.pin_message, pins.unpin_message):
        first = verb(**about)
        assert verb(**about).reply == {"event": first.event.wire, "duplicate": True}
    assert numbers(den) == [1, 2, 3, 4, 5]


def test_what_was_never_pinned_cannot_be_unpinned(about):
    with pytest.raises(NotFoundError):
        pins.unpin_message(**about)


def test_pinning_is_for_moderators(cast, den, about, at):
    with pytest.raises(NotAllowedError, match="Only moderators pin"):
        pins.pin_message(**about | {"actor": cast.bob})
    with pytest.raises(NotFoundError):
        pins.pin_message(**about | {"actor": cast.charlie})
    assert numbers(den) == [1, 2, 3]


def test_both_sides_of_a_direct_room_pin(cast, at):
    rooms.create_room(actor=cast.alice, room="d", name="d", kind="direct", members=["bob"], at=at)
    message = str(post(cast.alice, "d", at=at).event.pk)
    for actor in (cast.bob, cast.alice):
        pins.pin_message(actor=actor, room="d", message=message, at=at)


def test_room_has_so_many_and_no_more(cast, den, about, at, monkeypatch):
    monkeypatch.setattr(pins, "MOST", 1)
    pins.pin_message(**about)
    other = str(post(cast.bob, den, at=at).event.pk)
    with pytest.raises(NotAllowedError, match="1 messages are pinned"):
        pins.pin_message(**about | {"message": other})
    pins.unpin_message(**about)
    pins.pin_message(**about | {"message": other})


def test_deletion_takes_the_pin_along(den, about, message):
    pins.pin_message(**about)
    messages.delete_message(**about)
    assert Message.objects.get(pk=message).pinned_at is None
    with pytest.raises(NotAllowedError, match="been deleted"):
        pins.pin_message(**about)


def test_archived_room_stays_as_it_is(den, about, at):
    Room.objects.filter(slug=den).update(archived_at=at)
    with pytest.raises(NotAllowedError, match="archived"):
        pins.pin_message(**about)


@pytest.mark.django_db(transaction=True)
def test_copies_at_the_same_moment_are_one(den, about):
    results = at_once(*[lambda: pins.pin_message(**about)] * 4)
    assert sorted(r.duplicate for r in results) == [False, True, True, True]
    assert types(den)[2:] == ["message.posted", "message.pinned"]
