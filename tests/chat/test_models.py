from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from chat.models import SLUG, Event, Membership, Room

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("slug", ["a", "0", "den-2", "x" * 64])
def test_slug_is_an_address(slug):
    SLUG(slug)


@pytest.mark.parametrize("slug", ["", "-a", "A", "a b", "a_b", "ä", "x" * 65, "a\n", "../a", " a"])
def test_anything_else_is_none(slug):
    with pytest.raises(ValidationError):
        SLUG(slug)


def make(room, user, **fields):
    with transaction.atomic():
        return Event.objects.create(
            room=room, by=user, type="message.posted", certificate_serial="ab", **fields
        )


def test_database_keeps_numbers_and_client_ids_single(alice, bob):
    den = Room.objects.create(slug="den", name="Den", kind="private")
    make(den, alice, seq=1, client_id="c")
    make(den, bob, seq=2, client_id="c")
    make(den, alice, seq=3)
    make(den, alice, seq=4)
    with pytest.raises(IntegrityError):
        make(den, bob, seq=4)
    with pytest.raises(IntegrityError):
        make(den, alice, seq=5, client_id="c")


def test_person_is_in_a_room_once(alice):
    den = Room.objects.create(slug="den", name="Den", kind="private")
    Membership.objects.create(room=den, user=alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(room=den, user=alice)


def test_two_people_have_one_direct_room():
    Room.objects.create(slug="a", name="A", kind="direct", among="1:2")
    Room.objects.create(slug="b", name="B", kind="private")
    Room.objects.create(slug="c", name="C", kind="private")
    with pytest.raises(IntegrityError), transaction.atomic():
        Room.objects.create(slug="d", name="D", kind="direct", among="1:2")


def test_rows_have_names_for_people(alice):
    den = Room(slug="den", name="Den")
    assert str(den) == "Den"
    assert str(Membership(room=den, user=alice)) == "Alice in Den"
    event = Event(room=den, seq=3, type="message.posted", id=uuid.uuid4())
    assert str(event) == "Den 3 message.posted"
