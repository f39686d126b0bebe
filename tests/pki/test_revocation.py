"""Revocation: for good, once, and at once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from django.db import connection

from pki import audit, crl
from pki.changes import current_version
from pki.errors import (
    AlreadyRevokedError,
    AuthorityError,
    MasterKeyMissingError,
    PKIError,
    RequestError,
)
from pki.models import AuditEntry, Certificate, RevocationReason
from pki.ocsp import respond
from pki.revocation import revoke
from pki.signals import certificate_revoked
from tests.factories import PKI, People, make_device, make_people, make_pki
from tests.openssl import openssl


def test_revoke(
    pki: PKI, people: People, at: dt.datetime, django_capture_on_commit_callbacks
) -> None:
    heard: list[dict[str, Any]] = []

    def hear(**news: Any) -> None:
        heard.append({name: news[name] for name in ("certificate_id", "sha256", "reason")})

    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    version = current_version()
    certificate_revoked.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        revoke(actor="alice", certificate=certificate, reason="keyCompromise", at=at)
        assert heard == []
    certificate_revoked.disconnect(hear)

    assert heard == [
        {
            "certificate_id": certificate.pk,
            "sha256": certificate.sha256,
            "reason": "keyCompromise",
        }
    ]
    assert (certificate.revoked_at, certificate.revocation_reason) == (at, "keyCompromise")
    assert certificate.status_at(at) is Certificate.Status.REVOKED
    row = crl.latest(pki.issuing)
    assert row is not None
    assert (row.number, row.entries) == (2, 1)
    assert current_version() == version + 1
    published, revoked = AuditEntry.objects.all()[:2]
    assert (revoked.actor, revoked.action) == ("alice", "certificate.revoked")
    assert revoked.detail["reason"] == "keyCompromise"
    assert published.action == "crl.published"
    audit.verify()


@pytest.mark.parametrize("reason", RevocationReason.values)
def test_every_reason_reaches_the_crl(
    pki: PKI, people: People, at: dt.datetime, reason: str
) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    revoke(actor="alice", certificate=device.certificate, reason=reason, at=at)
    row = crl.latest(pki.issuing)
    assert row is not None
    listed = x509.load_der_x509_crl(bytes(row.der))
    assert listed.get_revoked_certificate_by_serial_number(device.x509.serial_number)


def test_revoke_twice(pki: PKI, people: People, at: dt.datetime) -> None:
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    stale = Certificate.objects.get(pk=certificate.pk)
    revoke(actor="alice", certificate=certificate, reason="superseded", at=at)
    later = at + dt.timedelta(hours=1)
    with pytest.raises(AlreadyRevokedError):
        revoke(actor="mallory", certificate=stale, reason="keyCompromise", at=later)
    certificate.refresh_from_db()
    assert (certificate.revoked_at, certificate.revocation_reason) == (at, "superseded")
    row = crl.latest(pki.issuing)
    assert row is not None
    assert row.number == 2


def test_revoke_within_a_second(pki: PKI, people: People, at: dt.datetime) -> None:
    """Certificates, CRLs and OCSP know whole seconds; our clock does not."""
    moment = at + dt.timedelta(microseconds=654321)
    device = make_device(people.alice, pki.issuing, at=moment)
    revoke(actor="alice", certificate=device.certificate, reason="superseded", at=moment)
    row = crl.latest(pki.issuing)
    assert row is not None
    [entry] = x509.load_der_x509_crl(bytes(row.der))
    assert entry.revocation_date_utc == at
    question = ocsp.OCSPRequestBuilder().add_certificate(
        device.x509, x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der)), SHA256()
    )
    answer = respond(question.build().public_bytes(Encoding.DER), authority=pki.issuing, at=moment)
    assert ocsp.load_der_ocsp_response(answer).revocation_time_utc == at


@pytest.mark.parametrize("reason", ["", "removeFromCRL", "because", "1"])
def test_revoke_for_no_reason(pki: PKI, people: People, at: dt.datetime, reason: str) -> None:
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    with pytest.raises(RequestError, match="keyCompromise"):
        revoke(actor="alice", certificate=certificate, reason=reason, at=at)
    certificate.refresh_from_db()
    assert certificate.revoked_at is None


def test_root_cannot_be_revoked(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(AuthorityError, match="Withdraw it from the trust stores"):
        revoke(actor="admin", certificate=pki.root.certificate, reason="cACompromise", at=at)
    pki.root.certificate.refresh_from_db()
    assert pki.root.certificate.revoked_at is None


def test_ca_goes_into_the_crl_of_its_parent(pki: PKI, at: dt.datetime) -> None:
    revoke(actor="admin", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    root, issuing = crl.latest(pki.root), crl.latest(pki.issuing)
    assert root is not None
    assert issuing is not None
    assert (root.entries, issuing.entries) == (1, 0)


def test_revocation_that_cannot_be_published_is_none(
    pki: PKI, people: People, at: dt.datetime, settings, tmp_path: Path
) -> None:
    """Said plainly to who asks, rather than done halfway."""
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    entries = AuditEntry.objects.count()
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    with pytest.raises(MasterKeyMissingError):
        revoke(actor="alice", certificate=certificate, reason="superseded", at=at)
    certificate.refresh_from_db()
    assert certificate.revoked_at is None
    assert AuditEntry.objects.count() == entries


@pytest.mark.django_db(transaction=True)
def test_two_revoke_at_once_and_one_wins(at: dt.datetime) -> None:
    pki, people = make_pki(at=at), make_people()
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    start = Barrier(4)
    outcomes: list[PKIError | None] = []

    def attempt(actor: str) -> None:
        own = Certificate.objects.get(pk=certificate.pk)
        start.wait(timeout=10)
        try:
            revoke(actor=actor, certificate=own, reason="superseded", at=at)
            outcomes.append(None)
        except PKIError as error:
            outcomes.append(error)
        finally:
            connection.close()

    threads = [Thread(target=attempt, args=(f"door {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, AlreadyRevokedError) for outcome in outcomes) == 3
    row = crl.latest(pki.issuing)
    assert row is not None
    assert row.number == 2
    audit.verify()


def test_openssl_sees_it(pki: PKI, people: People, at: dt.datetime, tmp_path: Path) -> None:
    """First it verifies, then it is revoked, then openssl refuses it and says why."""
    device = make_device(people.alice, pki.issuing, at=at)
    for name, der in (
        ("root", pki.root.certificate.der),
        ("issuing", pki.issuing.certificate.der),
        ("alice", device.der),
    ):
        der_path = tmp_path / f"{name}.der"
        der_path.write_bytes(bytes(der))
        openssl("x509", "-inform", "DER", "-in", der_path, "-out", tmp_path / f"{name}.pem")

    def verdict(*, fails: bool) -> str:
        rows = [crl.latest(pki.root), crl.latest(pki.issuing)]
        pem = b"".join(crl.crl_pem(row) for row in rows if row)
        (tmp_path / "crls.pem").write_bytes(pem)
        return openssl(
            *("verify", "-x509_strict", "-crl_check_all", "-CRLfile", tmp_path / "crls.pem"),
            *("-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "issuing.pem"),
            tmp_path / "alice.pem",
            fails=fails,
        )

    assert "alice.pem: OK" in verdict(fails=False)
    revoke(actor="alice", certificate=device.certificate, reason="keyCompromise", at=at)
    assert "certificate revoked" in verdict(fails=True)
