"""A form that was open while somebody else changed its row saves what its own person changed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.utils import timezone

from chat import oversight, rooms
from chat.models import Room
from pki import catalogue, endpoints
from pki import people as persons
from pki.models import AuditEntry, CertificateProfile, Endpoint
from tests.factories import make_endpoint, make_identity
from tests.forms import sent_as_shown

pytestmark = pytest.mark.django_db(transaction=True)


def change_of(row):
    meta = row._meta
    return f"/console/{meta.app_label}/{meta.model_name}/{row.pk}/change/"


def test_legal_hold_stays_that_was_set_meanwhile(console, pki, people):
    alice, now = make_identity(people.alice, pki.issuing), timezone.now()
    rooms.create_room(actor=alice, room="den", name="Den", kind="private", at=now)
    page = change_of(Room.objects.get())
    sent = sent_as_shown(console.get(page), retention_days="30", description="Ours")

    hold = {"legal_hold": "Case 7", "name": "Cave"}
    oversight.change_room(actor=alice, room="den", wishes=hold, at=now)
    assert console.post(page, sent).status_code == 302

    room = Room.objects.get()
    assert (room.legal_hold, room.name) == ("Case 7", "Cave")
    assert (room.retention_days, room.description) == (30, "Ours")


def test_rights_stay_away_that_were_taken_meanwhile(console, people):
    group = Group.objects.create(name="Clerks")
    rights = {"is_staff": True, "is_superuser": True, "groups": [group]}
    persons.change_person(actor="x", user=people.bob, changes=rights, at=timezone.now())
    sent = sent_as_shown(console.get(change_of(people.bob)), name="Robert")

    rights = {"is_staff": False, "is_superuser": False, "groups": []}
    persons.change_person(actor="x", user=people.bob, changes=rights, at=timezone.now())
    assert console.post(change_of(people.bob), sent).status_code == 302

    people.bob.refresh_from_db()
    assert (people.bob.name, people.bob.is_staff, people.bob.is_superuser) == (
        "Robert", False, False,
    )  # fmt: skip
    assert not people.bob.groups.exists()
    assert AuditEntry.objects.first().detail == {"name": "Robert"}


def test_group_stays_that_was_given_meanwhile(console, people):
    group = Group.objects.create(name="Clerks")
    sent = sent_as_shown(console.get(change_of(people.bob)), name="Robert")
    given = {"groups": [group]}
    persons.change_person(actor="x", user=people.bob, changes=given, at=timezone.now())
    assert console.post(change_of(people.bob), sent).status_code == 302
    assert [*people.bob.groups.all()] == [group]


def test_rights_of_a_group_stay_away_that_were_taken_meanwhile(console, people):
    group = Group.objects.create(name="Clerks")
    right = Permission.objects.get(codename="view_room")
    group.permissions.set([right])
    sent = sent_as_shown(console.get(change_of(group)), name="Staff")
    assert sent["permissions"] == [str(right.pk)]

    group.permissions.clear()
    assert console.post(change_of(group), sent).status_code == 302

    group.refresh_from_db()
    assert group.name == "Staff"
    assert not group.permissions.exists()
    entry = AuditEntry.objects.get(action="group.changed")
    assert (entry.target, entry.detail) == ("Staff", {"permissions": []})


def test_endpoint_stays_as_it_was_set_meanwhile(console, pki, people):
    endpoint = make_endpoint(pki, pki.truststore, name="side", enabled=False)
    sent = sent_as_shown(console.get(change_of(endpoint)), handshake_seconds="9")
    limits = {"max_connections": 500}
    endpoints.change_endpoint(actor="x", endpoint=endpoint, changes=limits, at=timezone.now())
    console.post(change_of(endpoint), sent)
    found = Endpoint.objects.get(pk=endpoint.pk)
    assert (found.max_connections, found.handshake_seconds) == (500, 9)


def test_profile_stays_as_it_was_set_meanwhile(console, pki):
    profile = CertificateProfile.objects.get(name="person")
    edit = f"/console/pki/certificateprofile/{profile.pk}/edit/"
    sent = sent_as_shown(console.get(edit), validity_days="200")
    strict = {"approvals": 2, "key_types": ["p256"]}
    catalogue.change_profile(actor="x", profile=profile, changes=strict, at=timezone.now())
    assert console.post(edit, sent).status_code == 302
    profile.refresh_from_db()
    assert (profile.approvals, profile.key_types, profile.validity_days) == (2, ["p256"], 200)


def test_what_was_not_shown_is_compared_with_what_is_there(console, people):
    whole = {"name": "Robert", "email": people.bob.email, "is_staff": "on"}
    assert console.post(change_of(people.bob), whole).status_code == 302
    assert AuditEntry.objects.first().detail == {"name": "Robert", "is_staff": "True"}
