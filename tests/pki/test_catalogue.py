"""Profiles as rows: those that come with the product, and what admins make of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command

from pki import catalogue, profiles
from pki.apps import make_built_in_profiles
from pki.errors import ProfileError, StateError
from pki.models import AuditEntry, CertificateProfile
from tests.factories import PKI, People, make_device

pytestmark = pytest.mark.django_db


def _row(name: str = "person") -> CertificateProfile:
    return CertificateProfile.objects.get(name=name)


def _change(at: dt.datetime, of: str = "person", /, **changes: Any) -> CertificateProfile:
    return catalogue.change_profile(actor="admin", profile=_row(of), changes=changes, at=at)


def _create(at: dt.datetime, **changes: Any) -> CertificateProfile:
    fields = catalogue.fields_of(profiles.PERSON) | {"name": "guest", "label": "Guest"} | changes
    row = CertificateProfile(**fields)
    return catalogue.create_profile(actor="admin", profile=row, at=at)


# --- Those that come with the product -------------------------------------------------------


def test_rows_stand_for_the_profiles_of_the_product() -> None:
    assert [catalogue.named(profile.name) for profile in profiles.BUILT_IN] == list(
        profiles.BUILT_IN
    )
    assert set(CertificateProfile.objects.values_list("built_in", "enabled")) == {(True, True)}


def test_missing_profile_comes_back_and_an_edited_one_stays(at: dt.datetime) -> None:
    CertificateProfile.objects.filter(name="mail").delete()
    _change(at, validity_days=30)
    make_built_in_profiles(using="default")
    assert catalogue.named("mail") == profiles.MAIL
    assert catalogue.named("person").validity == 30 * profiles.DAY
    assert CertificateProfile.objects.count() == len(profiles.BUILT_IN)


def test_handler_hears_every_migration() -> None:
    CertificateProfile.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert CertificateProfile.objects.count() == len(profiles.BUILT_IN)
    assert apps.get_app_config("pki")


# --- What is asked for ----------------------------------------------------------------------


def test_unknown_profile() -> None:
    with pytest.raises(ProfileError, match="Choose one of: root, intermediate, ocsp, server"):
        catalogue.named("emperor")


def test_profile_that_is_off(at: dt.datetime) -> None:
    assert catalogue.named("code")
    _change(at, "code", enabled=False)
    with pytest.raises(ProfileError, match="switched off"):
        catalogue.named("code")
    with pytest.raises(ProfileError, match=r"mail\.$"):  # nor is it offered
        catalogue.named("emperor")


@pytest.mark.parametrize(
    "damage", [{"purpose": "king"}, {"names": "x"}, {"key_types": 5}, {"validity_days": 9999}]
)
def test_damaged_row_issues_nothing(damage: dict[str, Any]) -> None:
    CertificateProfile.objects.filter(name="person").update(**damage)
    with pytest.raises(ProfileError, match="'person'"):
        catalogue.named("person")


# --- Verbs ----------------------------------------------------------------------------------


def test_create(at: dt.datetime) -> None:
    made = _create(at, validity_days=7, per_person=1)
    assert catalogue.named("guest").validity == 7 * profiles.DAY
    assert not made.built_in
    entry = AuditEntry.objects.get(action="profile.created")
    assert (entry.actor, entry.target) == ("admin", "profile guest")
    assert (entry.detail["validity_days"], entry.detail["purpose"]) == (7, "person")


def test_create_says_it_is_built_in(at: dt.datetime) -> None:
    assert not _create(at, built_in=True).built_in


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "person"}, "There is a profile 'person' already"),
        ({"name": "Guest"}, "small letters"),
        ({"name": "a b"}, "valid"),
        ({"label": ""}, "visible characters"),
        ({"label": "Gu\u202eest"}, "visible characters"),
        ({"approvals": 3}, "less than or equal to 2"),
        ({"extended_key_usage": []}, "needs the purpose clientAuth"),
        ({"purpose": "king"}, "not a valid choice"),
    ],
)
def test_create_refused(at: dt.datetime, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProfileError, match=sentence):
        _create(at, **change)
    assert CertificateProfile.objects.count() == len(profiles.BUILT_IN)
    assert not AuditEntry.objects.filter(action="profile.created").exists()


def test_change(at: dt.datetime) -> None:
    changed = _change(at, validity_days=30, key_types=["p256"])
    assert changed.validity_days == 30
    assert catalogue.named("person").key_types == ("p256",)
    detail = AuditEntry.objects.get(action="profile.changed").detail
    assert detail["validity_days"] == {"from": 365, "to": 30}


def test_change_to_what_it_is_already(at: dt.datetime) -> None:
    _change(at, validity_days=365)
    assert not AuditEntry.objects.filter(action="profile.changed").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "other"}, "cannot be changed: name"),
        ({"purpose": "server"}, "cannot be changed: purpose"),
        ({"built_in": False}, "cannot be changed: built_in"),
        ({"validity_days": 399}, "at most 398 days"),
        ({"key_usage": ["key_cert_sign"]}, "neither certificates nor CRLs"),
    ],
)
def test_change_refused(at: dt.datetime, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProfileError, match=sentence):
        _change(at, **change)
    assert catalogue.named("person") == profiles.PERSON


def test_change_of_what_was_removed(at: dt.datetime) -> None:
    row = _create(at)
    catalogue.remove_profile(actor="admin", profile=_row("guest"), at=at)
    with pytest.raises(StateError, match="removed meanwhile"):
        catalogue.change_profile(actor="admin", profile=row, changes={"label": "x"}, at=at)


def test_change_leaves_what_was_issued(pki: PKI, people: People, at: dt.datetime) -> None:
    before = make_device(people.alice, pki.issuing, at=at).certificate
    _change(at, validity_days=30)
    after = make_device(people.alice, pki.issuing, at=at).certificate
    assert (after.not_after - at).days == 29
    before.refresh_from_db()
    assert (before.not_after - at).days == 364
    assert before.signs_in


def test_remove_refused(pki: PKI, people: People, at: dt.datetime) -> None:
    with pytest.raises(StateError, match="came with the product"):
        catalogue.remove_profile(actor="admin", profile=_row(), at=at)
    _create(at)
    device = make_device(people.alice, pki.issuing, at=at).certificate
    type(device).objects.filter(pk=device.pk).update(profile="guest")
    with pytest.raises(StateError, match="There are certificates"):
        catalogue.remove_profile(actor="admin", profile=_row("guest"), at=at)
    assert _row("guest")


def test_remove_with_requests(people: People, at: dt.datetime) -> None:
    row = _create(at)
    row.requests.create(owner=people.alice, csr=b"", spki_sha256="", requested_by="alice")
    with pytest.raises(StateError, match="There are requests"):
        catalogue.remove_profile(actor="admin", profile=row, at=at)


@pytest.mark.django_db(transaction=True)
def test_refusal_is_recorded(at: dt.datetime) -> None:
    with pytest.raises(ProfileError):
        _change(at, validity_days=399)
    entry = AuditEntry.objects.get(action="profile.change.refused")
    assert entry.actor == "admin"
    assert "398 days" in entry.detail["reason"]
