"""The chat in the console: rooms are made there, the log is only looked at."""

from __future__ import annotations

import pytest
from django.contrib.admin.sites import site
from django.test import RequestFactory

from chat import admin  # noqa: F401 (registers)
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


def test_rooms_are_made_and_changed_but_not_deleted(request_of_admin):
    assert rights(Room, request_of_admin) == {
        "view": True, "add": True, "change": True, "delete": False,
    }  # fmt: skip


def test_console_does_not_show_what_was_said(request_of_admin):
    fields = site.get_model_admin(Event).get_fields(request_of_admin, Event())
    assert "data" not in fields
    assert "certificate_serial" in fields
