"""The chat in the console: rooms are changed there, the log is only looked at."""

from __future__ import annotations

import pytest
from django.contrib.admin.sites import site
from django.contrib.auth.models import Permission
from django.test import RequestFactory

from chat import admin, members, messages, rooms  # noqa: F401 (admin registers)
from chat.models import Ban, Event, Membership, Room
from pki.models import AuditEntry
from tests import factories
from tests.pki.client import PASSWORD, ConsoleVisitor

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


@pytest.mark.parametrize("model", [Event, Membership, Ban])
def test_log_memberships_and_bans_are_read_only(model, request_of_admin):
    assert rights(model, request_of_admin) == {
        "view": True, "add": False, "change": False, "delete": False,
    }  # fmt: skip


def test_rooms_are_changed_but_neither_made_nor_deleted(request_of_admin):
    assert rights(Room, request_of_admin) == {
        "view": True, "add": False, "change": True, "delete": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (Room, ("view", "change", "export")),
        (Membership, ("view",)),
        (Ban, ("view",)),
        (Event, ("view",)),
    ],
)
def test_group_can_be_given_no_more_than_there_is(model, given):
    assert site.get_model_admin(model).rights == given


def form_of(room, request, **changes):
    """The form as it is sent with these changes; the room is read anew."""
    room = Room.objects.get(slug=room)
    form_class = site.get_model_admin(Room).get_form(request, room, change=True)
    sent = {**form_class(instance=room).initial, "archived": room.archived_at is not None}
    sent |= changes
    return form_class(
        {k: v for k, v in sent.items() if v is not None and v is not False}, instance=room
    )


def save(form, request):
    assert form.is_valid(), form.errors
    site.get_model_admin(Room).save_model(request, form.save(commit=False), form, change=True)


@pytest.fixture
def admin_of_rooms(request_of_admin, people, pki, at):
    request_of_admin.identity = factories.make_identity(people.admin, pki.issuing, at=at)
    return request_of_admin


def test_address_and_kind_of_a_room_stay(den, request_of_admin):
    form = form_of(den, request_of_admin)
    assert set(form.fields) == {
        "name", "description", "posting", "slow_seconds", "archived", "everyone",
        "retention_days", "legal_hold", "new_owner",
    }  # fmt: skip


def test_direct_room_has_duties_alone(cast, at, request_of_admin):
    rooms.create_room(actor=cast.alice, room="d", name="x", kind="direct", members=["bob"], at=at)
    assert set(form_of("d", request_of_admin).fields) == {"retention_days", "legal_hold"}


def test_who_may_only_look_is_shown_settings_and_no_appointment(den, people):
    request = RequestFactory().get("/console/")
    request.user = people.bob
    subject = site.get_model_admin(Room)
    shown = [
        f
        for _, section in subject.get_fieldsets(request, Room.objects.get())
        for f in section["fields"]
    ]
    assert "archived" in shown
    assert "new_owner" not in shown


def test_change_in_the_console_is_an_event_and_an_audit_entry(cast, den, admin_of_rooms):
    form = form_of(den, admin_of_rooms, name="Cave", archived=True, legal_hold="Case 7")
    save(form, admin_of_rooms)

    event = Event.objects.get(room__slug=den, type="room.changed")
    assert (event.by.username, event.data) == ("admin", {"name": "Cave", "archived": True})
    entry = AuditEntry.objects.first()
    assert (entry.actor, entry.action, entry.target) == ("admin", "room.changed", "room:den")
    assert entry.detail["changes"] == {
        "name": ["Den", "Cave"], "archived": [False, True], "legal_hold": ["", "Case 7"],
    }  # fmt: skip
    room = Room.objects.get(slug=den)
    assert (room.name, room.legal_hold, room.archived_at is not None) == ("Cave", "Case 7", True)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "Den\u200b", "invisible"),
        ("slow_seconds", 3601, "At most 3600"),
        ("retention_days", 0, "At least one day"),
        ("new_owner", "bob", "has an owner"),
    ],
)
def test_bad_setting_is_an_error_of_its_field(den, request_of_admin, field, value, sentence):
    form = form_of(den, request_of_admin, **{field: str(value)})
    assert not form.is_valid()
    assert sentence in str(form.errors[field])


def test_owner_is_appointed_where_there_is_none(cast, den, people, admin_of_rooms):
    people.alice.is_active = False
    people.alice.save()
    save(form_of(den, admin_of_rooms, new_owner="bob"), admin_of_rooms)
    assert Membership.objects.get(user=people.bob).role == "owner"
    late = form_of(den, admin_of_rooms, new_owner="bob")
    assert not late.is_valid()


@pytest.mark.parametrize("name", ["Cave", "Den"])
def test_form_opened_before_a_post_and_saved_after_it_leaves_the_log_alone(
    cast, den, at, admin_of_rooms, name
):
    form = form_of(den, admin_of_rooms, name=name)
    assert form.is_valid()
    messages.post_message(actor=cast.bob, room=den, client_id="c1", body="hello", at=at)
    save(form, admin_of_rooms)

    saved = Room.objects.get(slug=den)
    assert (saved.name, saved.last_seq) == (name, 4 if name == "Cave" else 3)


def in_the_console(user, pki, at):
    user.is_staff = True
    user.set_password(PASSWORD)
    user.save()
    visitor = ConsoleVisitor(factories.make_device(user, pki.issuing, at=at).chain)
    visitor.unlock()
    return visitor


def test_page_of_a_room_is_shown_and_saved(cast, den, people, pki, at):
    members.ban(actor=cast.alice, room=den, user="charlie", reason="Spam", at=at)
    visitor = in_the_console(people.admin, pki, at)
    page = f"/console/chat/room/{Room.objects.get().pk}/change/"
    assert visitor.get(page).status_code == 200
    sent = {"name": "Cave", "posting": "moderators", "slow_seconds": "0", "archived": "on"}
    assert visitor.post(page, sent).status_code == 302
    assert Event.objects.latest("seq").data == {
        "name": "Cave", "posting": "moderators", "archived": True,
    }  # fmt: skip
    for listed in ("room", "membership", "event"):
        assert visitor.get(f"/console/chat/{listed}/").status_code == 200
    assert "Spam" in visitor.get("/console/chat/ban/").text


def test_page_that_may_only_be_looked_at_changes_nothing(den, people, pki, at):
    people.charlie.user_permissions.add(Permission.objects.get(codename="view_room"))
    visitor = in_the_console(people.charlie, pki, at)
    page = f"/console/chat/room/{Room.objects.get().pk}/change/"
    assert "As its owners set it" in visitor.get(page).text
    sent = {"name": "Cave", "posting": "members", "slow_seconds": "0", "new_owner": "bob"}
    assert visitor.post(page, sent).status_code == 404
    assert Room.objects.get().name == "Den"


def test_console_does_not_show_what_was_said(request_of_admin):
    fields = site.get_model_admin(Event).get_fields(request_of_admin, Event())
    assert "data" not in fields
    assert "certificate_serial" in fields
