"""Exports and private keys that somebody has no right to: not there for them, and recorded."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache

from pki import audit, enrolment
from pki.handout import Format
from pki.models import AuditEntry, Certificate, User
from tests.client import Visitor
from tests.factories import PKI, People, make_device
from tests.pki.client import PASSWORD, ConsoleVisitor
from tests.refusals import refused_entries, state


@pytest.fixture
def mine(pki: PKI, alice: User, at: dt.datetime) -> Certificate:
    return make_device(alice, pki.issuing, at=at).certificate


def exports(pki: PKI, mine: Certificate) -> list[str]:
    return [
        f"/console/pki/truststore/{pki.truststore.pk}/export/pem/",
        f"/console/pki/truststore/{pki.truststore.pk}/export/pkcs12/",
        f"/console/pki/certificateauthority/{pki.root.pk}/pem/",
        f"/console/pki/certificateauthority/{pki.root.pk}/der/",
        "/console/pki/auditentry/export-head/",
        f"/console/pki/certificate/{mine.pk}/pem/",
        f"/console/pki/certificate/add/?owner={mine.owner_id}",
    ]


@pytest.mark.parametrize("is_staff", [False, True], ids=["person", "staff without rights"])
def test_exports_are_refused_to_strangers_and_recorded(
    pki: PKI, people: People, mine: Certificate, is_staff: bool
) -> None:
    cache.clear()
    bob = people.bob
    bob.is_staff = is_staff
    bob.set_password(PASSWORD)
    bob.save()
    visitor = ConsoleVisitor(make_device(bob, pki.issuing).chain)
    if is_staff:
        visitor.unlock()
    before = state()
    for path in exports(pki, mine):
        page = visitor.get(path)
        assert page.status_code == 404, path
        assert "Content-Disposition" not in page
        entry = refused_entries()[-1]
        assert (entry.action, entry.actor) == ("console.refused", "bob")
        assert entry.target == path.split("?")[0]
        assert entry.detail["error"] == "NotAllowedError"
    assert len(refused_entries()) == len(exports(pki, mine))
    assert state() == before
    assert audit.verify() == AuditEntry.objects.count()


def test_the_same_exports_are_there_for_whoever_has_the_right(
    pki: PKI, people: People, mine: Certificate
) -> None:
    cache.clear()
    people.bob.is_staff = True
    people.bob.set_password(PASSWORD)
    people.bob.save()
    names = ["truststore", "certificateauthority", "auditentry", "certificate"]
    rights = Permission.objects.filter(
        codename__in=[*(f"view_{name}" for name in names), "issue_certificate"]
    )
    people.bob.user_permissions.set(rights)
    visitor = ConsoleVisitor(make_device(people.bob, pki.issuing).chain)
    visitor.unlock()
    assert [visitor.get(path).status_code for path in exports(pki, mine)] == [200] * 7
    assert refused_entries() == []


def test_nobody_fills_the_trail_without_a_certificate(pki: PKI, mine: Certificate) -> None:
    for path in exports(pki, mine):
        assert Visitor().get(path).status_code != 200
    assert refused_entries() == []


def test_link_gives_the_private_key_once(pki: PKI, alice: User, at: dt.datetime) -> None:
    """Who comes second learns nothing, and the trail tells that somebody tried."""
    _, token = enrolment.invite(actor="admin", user=alice, device="phone", at=at)
    fields = {"format": Format.P12.value, "password": "one two three four"}
    visitor = Visitor(serves="enrol")
    assert visitor.post(f"/enrol/{token}/", fields)["Content-Type"] == "application/x-pkcs12"
    before = state()
    page = visitor.post(f"/enrol/{token}/", fields)
    assert page.status_code == 404
    assert "has been used" in page.content.decode()
    [entry] = refused_entries()
    assert (entry.action, entry.actor) == ("enrolment.redeem.refused", "alice")
    assert "has been used" in entry.detail["reason"]
    assert visitor.post("/enrol/guessed/", fields).status_code == 404
    assert len(refused_entries()) == 1  # whoever guesses may not fill the trail
    assert state() == before
