"""Many certificates at once: every rule that holds for one holds for each of many."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pki import audit, issuance, keys, tbs
from pki import people as accounts
from pki.errors import (
    AuditError,
    AuthorityError,
    KeyReuseError,
    LintError,
    ProfileError,
    RequestError,
    StateError,
)
from pki.issuance import Prepared
from pki.models import AuditEntry, Certificate, CertificateProfile, User
from pki.revocation import revoke
from pki.signals import certificate_issued
from pki.wanted import Wanted
from tests import certs
from tests.factories import PKI, People, make_device, make_pki

Prepare = Callable[..., list[Any]]


def wanted(owner: User, **changes: Any) -> Wanted:
    key = {} if "csr" in changes else {"public_key": certs.make_key().public_key()}
    return Wanted(**{"profile": "person", "owner": owner, "device": "laptop", **key, **changes})


@pytest.fixture
def prepare(pki: PKI, at: dt.datetime) -> Prepare:
    def prepared(*asked: Wanted, **changes: Any) -> list[Any]:
        fields: dict[str, Any] = {"actor": "admin", "authority": pki.issuing, "at": at}
        return issuance.prepare_many(wanted=asked, **(fields | changes))

    return prepared


def reasons(found: list[Any]) -> list[str]:
    return [str(one) if isinstance(one, RequestError) else "ready" for one in found]


def issued() -> int:
    return AuditEntry.objects.filter(action="certificate.issued").count()


def test_all_are_issued_recorded_and_announced(
    people: People, prepare: Prepare, django_capture_on_commit_callbacks
) -> None:
    heard: list[int] = []

    def hear(**news: Any) -> None:
        heard.append(news["certificate_id"])

    before, last = issued(), AuditEntry.objects.order_by("-sequence")[0].sequence
    owners = [people.alice, people.bob, people.charlie]
    certificate_issued.connect(hear)
    found = prepare(*map(wanted, owners))
    with django_capture_on_commit_callbacks(execute=True):
        rows = issuance.issue_many(found)
        assert heard == []
    certificate_issued.disconnect(hear)
    assert [row.owner for row in rows] == owners
    assert heard == [row.pk for row in rows]
    assert list(Certificate.objects.filter(pk__in=heard).order_by("pk")) == rows
    assert issued() == before + 3
    entries = AuditEntry.objects.filter(sequence__gt=last).order_by("sequence")
    assert [entry.target for entry in entries] == [f"certificate {row.serial}" for row in rows]
    assert [entry.detail["sha256"] for entry in entries] == [row.sha256 for row in rows]
    assert audit.verify() == last + 3


def test_number_of_statements_does_not_grow(
    people: People, prepare: Prepare, django_assert_num_queries
) -> None:
    asked = [wanted(people.alice) for _ in range(20)]
    with django_assert_num_queries(4):  # the profile, the CA, the keys, the public address
        found = prepare(*asked)
    with django_assert_num_queries(9):
        issuance.issue_many(found)


def test_refusals_stand_in_their_place(people: People, prepare: Prepare) -> None:
    weak = rsa.generate_private_key(3, 2048).public_key()
    found = prepare(
        wanted(people.alice),
        wanted(people.bob, profile="emperor"),
        wanted(people.bob, public_key=weak),
        wanted(
            people.charlie,
            csr=certs.make_csr("x", extensions=[(certs._usage(crl_sign=True), True)]),
        ),
        wanted(people.charlie),
    )
    assert [type(one) for one in found] == [Prepared, *[ProfileError] * 3, Prepared]
    assert "no profile 'emperor'" in str(found[1])
    assert "public exponent" in str(found[2])
    assert "asks to be a CA" in str(found[3])


def test_lint_speaks_for_each(people: People, prepare: Prepare) -> None:
    people.bob.email = "b o b@example.org"
    found = prepare(wanted(people.alice), wanted(people.bob), wanted(people.charlie))
    assert [type(one) for one in found] == [Prepared, LintError, Prepared]


def test_a_ca_that_may_not_sign_signs_none(
    pki: PKI, people: People, prepare: Prepare, at: dt.datetime
) -> None:
    ready = prepare(wanted(people.alice), wanted(people.bob))
    revoke(actor="admin", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    with pytest.raises(AuthorityError, match="revoked"):
        issuance.issue_many(ready)
    found = prepare(wanted(people.alice), wanted(people.bob))
    assert [type(one) for one in found] == [AuthorityError, AuthorityError]
    assert not Certificate.objects.of_people().exists()


def test_one_key_for_two_people_among_many(people: People, prepare: Prepare) -> None:
    key = certs.make_key().public_key()
    found = prepare(
        wanted(people.alice, public_key=key),
        wanted(people.bob, public_key=key),
        wanted(people.alice, public_key=key, device="the same key again"),
        wanted(people.alice, public_key=key, profile="mail"),
    )
    assert [type(one) for one in found] == [Prepared, KeyReuseError, Prepared, KeyReuseError]


def test_one_key_for_two_people_who_are_not_written_yet(prepare: Prepare) -> None:
    key = certs.make_key().public_key()
    dora, emil = (User(username=name) for name in ("dora", "emil"))
    found = prepare(*(wanted(owner, public_key=key) for owner in (dora, emil, dora)))
    assert [type(one) for one in found] == [Prepared, KeyReuseError, Prepared]


def test_limit_per_person_counts_those_of_the_same_list(
    pki: PKI, people: People, prepare: Prepare, at: dt.datetime
) -> None:
    CertificateProfile.objects.filter(name="person").update(per_person=2)
    make_device(people.alice, pki.issuing, at=at)
    asked = [wanted(owner) for owner in (people.alice, people.bob, people.alice, people.bob)]
    found = prepare(*asked, wanted(people.bob))
    assert [type(one) for one in found] == [
        Prepared,
        Prepared,
        ProfileError,
        Prepared,
        ProfileError,
    ]
    assert "has 2 valid certificates" in str(found[2])
    issuance.issue_many([one for one in found if isinstance(one, Prepared)])
    assert (people.alice.certificates.count(), people.bob.certificates.count()) == (2, 2)


def test_limits_hold_between_check_and_issue(
    pki: PKI, people: People, prepare: Prepare, at: dt.datetime
) -> None:
    """Two lists that were checked at once: the second finds what the first has issued."""
    CertificateProfile.objects.filter(name="person").update(per_person=1)
    key = certs.make_key().public_key()
    first = prepare(wanted(people.alice), wanted(people.bob, public_key=key))
    as_many = prepare(wanted(people.charlie), wanted(people.alice))
    same_key = prepare(wanted(people.charlie, public_key=key))
    issuance.issue_many(first)
    with pytest.raises(ProfileError, match="1 valid certificates"):
        issuance.issue_many(as_many)
    with pytest.raises(KeyReuseError):
        issuance.issue_many(same_key)
    assert not people.charlie.certificates.exists()


def test_one_who_is_disabled_meanwhile_stops_all(
    people: People, prepare: Prepare, at: dt.datetime
) -> None:
    ready, before = prepare(wanted(people.alice), wanted(people.bob)), issued()
    accounts.disable_person(actor="admin", user=User(pk=people.bob.pk), at=at)
    with pytest.raises(ProfileError, match="account of Bob is disabled"):
        issuance.issue_many(ready)
    assert not Certificate.objects.of_people().exists()
    assert issued() == before


def test_a_serial_number_twice_among_many(people: People, prepare: Prepare, monkeypatch) -> None:
    serial, before = tbs.new_serial(), issued()
    monkeypatch.setattr(tbs, "new_serial", lambda: serial)
    ready = prepare(wanted(people.alice), wanted(people.bob))
    with pytest.raises(StateError, match="serial number"):
        issuance.issue_many(ready)
    assert not Certificate.objects.of_people().exists()
    assert issued() == before


def test_each_is_issued_once_and_only_as_prepared(people: People, prepare: Prepare) -> None:
    one, two = prepare(wanted(people.alice), wanted(people.bob))
    for wrong in ([one, one], [one, object()]):
        with pytest.raises((ProfileError, TypeError)):
            issuance.issue_many(wrong)
    issuance.issue(one)
    with pytest.raises(ProfileError, match="issued already"):
        issuance.issue_many([two, one])
    assert not people.bob.certificates.exists()
    assert issuance.issue_many([]) == []


def test_nothing_is_signed_before_all_is_linted(
    people: People, prepare: Prepare, monkeypatch
) -> None:
    signed: list[object] = []
    sign = keys.sign_certificate

    def noted(*values: Any, **named: Any) -> Any:
        signed.append(values)
        return sign(*values, **named)

    monkeypatch.setattr(keys, "sign_certificate", noted)
    people.bob.email = "b o b@example.org"
    prepare(wanted(people.alice), wanted(people.bob))
    assert signed == []


@pytest.mark.django_db(transaction=True)
def test_without_their_audit_entries_none_are_issued(at: dt.datetime, monkeypatch) -> None:
    pki, alice = make_pki(at=at), User.objects.create_user("alice")
    fields: dict[str, Any] = {"actor": "admin", "authority": pki.issuing, "at": at}
    ready = issuance.prepare_many(wanted=[wanted(alice), wanted(alice)], **fields)
    monkeypatch.setattr("pki.audit_chain._plain", lambda detail: {"at": detail and object()})
    with pytest.raises((AuditError, TypeError)):
        issuance.issue_many(ready)  # type: ignore[arg-type]
    assert not alice.certificates.exists()


@pytest.mark.django_db(transaction=True)
def test_refusal_of_many_is_recorded_once(at: dt.datetime) -> None:
    pki, alice = make_pki(at=at), User.objects.create_user("alice")
    fields: dict[str, Any] = {"actor": "admin", "authority": pki.issuing, "at": at}
    ready = issuance.prepare_many(wanted=[wanted(alice), wanted(alice)], **fields)
    accounts.disable_person(actor="admin", user=alice, at=at)
    with pytest.raises(ProfileError):
        issuance.issue_many(ready)  # type: ignore[arg-type]
    entry = AuditEntry.objects.get(action="certificate.issue.refused")
    assert (entry.actor, "disabled" in entry.detail["reason"]) == ("admin", True)
