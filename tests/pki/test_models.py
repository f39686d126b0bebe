"""Facts about one row, and what the database itself refuses."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from pki.models import Certificate, Endpoint, RevocationReason, User
from tests.factories import PKI, People, make_device

Status = Certificate.Status
SECOND = dt.timedelta(seconds=1)


def test_status_at(pki: PKI, people: People, at: dt.datetime) -> None:
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    first, last = certificate.not_before, certificate.not_after
    assert certificate.status is Status.VALID
    assert certificate.status_at(first - SECOND) is Status.NOT_YET_VALID
    assert certificate.status_at(first) is Status.VALID
    assert certificate.status_at(last) is Status.VALID
    assert certificate.status_at(last + SECOND) is Status.EXPIRED
    certificate.revoked_at = at
    assert certificate.status_at(last + SECOND) is Status.REVOKED


def test_fingerprint() -> None:
    certificate = Certificate(sha256="0a" * 32)
    assert certificate.fingerprint == ":".join(["0A"] * 32)


@pytest.mark.parametrize("change", [{"revocation_reason": "superseded"}, {"revoked_at": True}])
def test_revoked_and_reason_go_together(
    pki: PKI, at: dt.datetime, change: dict[str, object]
) -> None:
    if "revoked_at" in change:
        change = {"revoked_at": at}
    with pytest.raises(IntegrityError), transaction.atomic():
        Certificate.objects.filter(pk=pki.issuing.certificate.pk).update(**change)


def test_one_serial_per_ca(pki: PKI, people: People, at: dt.datetime) -> None:
    first, second = (make_device(people.alice, pki.issuing, at=at).certificate for _ in range(2))
    with pytest.raises(IntegrityError), transaction.atomic():
        Certificate.objects.filter(pk=second.pk).update(serial=first.serial)


@pytest.mark.parametrize(
    "fields",
    [
        {"tls": True},
        {"tls": False, "client_certificate": "optional"},
        {"tls": False, "client_certificate": "required"},
    ],
)
def test_endpoint_that_contradicts_itself(db: None, fields: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Endpoint.objects.create(name="x", port=1, serves="main", **fields)


@pytest.mark.parametrize("username", ["alice", "a", "a.b-c_d", "0", "x" * 64])
def test_username(username: str) -> None:
    User(username=username, password="!").clean_fields()


@pytest.mark.parametrize("username", ["", "Alice", "-a", "a b", "ä", "a\n", "a\u202eb", "x" * 65])
def test_username_refused(username: str) -> None:
    with pytest.raises(ValidationError):
        User(username=username, password="!").clean_fields()


def test_person_is_shown_by_name(people: People) -> None:
    assert (str(people.alice), people.alice.get_short_name()) == ("Alice", "alice")
    assert str(User(username="ghost")) == "ghost"


def test_leaves_are_not_revoked_for_a_compromised_ca() -> None:
    values = [value for value, _ in RevocationReason.for_leaves()]
    assert set(RevocationReason.values) - set(values) == {"cACompromise"}
