"""The chat in the console: rooms are changed there, the log is only looked at."""

from __future__ import annotations

import pytest
from django.contrib.admin.sites import site
from django.test import RequestFactory

from chat import admin, services  # noqa: F401 (admin registers)
from chat.models import Event, Membership, Room

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_of_admin(people):
    request = RequestFactory().get("/console/")
    request.user = people.admin
    return request


def rights(model, request):
    subject = site.get_model_admin(model)
    return {
        right: getattr(subject, f"has_{right}_permission")(request)
        for right in ("view", "add", "change", "delete")
    }


@pytest.mark.parametrize("model", [Event, Membership])
def test_log_and_memberships_are_read_only(model, request_of_admin):
    assert rights(model, request_of_admin) == {
        "view": True, "add": False, "change": False, "delete": False,
    }  # fmt: skip


def test_rooms_are_changed_but_neither_made_nor_deleted(request_of_admin):
    assert rights(Room, request_of_admin) == {
        "view": True, "add": False, "change": True, "delete": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "given"), [(Room, ("view", "change")), (Membership, ("view",)), (Event, ("view",))]
)
def test_group_can_be_given_no_more_than_there_is(model, given):
    assert site.get_model_admin(model).rights == given


def test_address_and_kind_of_a_room_stay(den, request_of_admin):
    room = Room.objects.get(slug=den)
    form = site.get_model_admin(Room).get_form(request_of_admin, room, change=True)
    assert list(form.base_fields) == ["name", "everyone"]


@pytest.mark.parametrize("name", ["Cave", "Den"])
def test_form_opened_before_a_post_and_saved_after_it_leaves_the_log_alone(
    cast, den, at, request_of_admin, name
):
    subject = site.get_model_admin(Room)
    room = Room.objects.get(slug=den)
    form = subject.get_form(request_of_admin, room, change=True)({"name": name}, instance=room)
    assert form.is_valid()
    services.post_message(actor=cast.bob, room=den, client_id="c1", body="hello", at=at)

    subject.save_model(request_of_admin, form.save(commit=False), form, change=True)

    saved = Room.objects.get(slug=den)
    assert (saved.name, saved.last_seq) == (name, 3)


def test_console_does_not_show_what_was_said(request_of_admin):
    fields = site.get_model_admin(Event).get_fields(request_of_admin, Event())
    assert "data" not in fields
    assert "certificate_serial" in fields
