"""Trust stores and their snapshots."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pki import authorities, crl, truststore
from pki.bundles import Format
from pki.changes import current_version
from pki.errors import (
    AuthorityError,
    BadFileError,
    CertificateExpiredError,
    CertificateNotTrustedError,
    CertificateRevokedError,
    PKIError,
    RequestError,
    WrongPurposeError,
)
from pki.models import AuditEntry
from pki.revocation import revoke
from tests import certs
from tests.factories import (
    PKI,
    People,
    make_device,
    make_endpoint,
    make_server_certificate,
)
from tests.openssl import openssl

FOREIGN = certs.make_ca("Partner Root")


def _add(pki: PKI, at: dt.datetime, der: bytes) -> None:
    truststore.add_anchor(actor="admin", truststore=pki.truststore, certificate=der, at=at)


def test_create_truststore_twice(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(AuthorityError, match="chat already"):
        truststore.create_truststore(actor="admin", name="chat", at=at)


def test_add_anchor(pki: PKI, at: dt.datetime) -> None:
    version = current_version()
    _add(pki, at, FOREIGN.der)
    assert pki.truststore.anchors.count() == 2
    assert current_version() > version
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert (entry.actor, entry.action) == ("admin", "anchor.added")
    assert entry.detail["subject"] == "CN=Partner Root"


@pytest.mark.parametrize(
    ("der", "error", "sentence"),
    [
        (b"", BadFileError, "not a certificate"),
        (b"garbage", BadFileError, "not a certificate"),
        (FOREIGN.pem, BadFileError, "not a certificate"),
        (FOREIGN.issue("leaf").der, AuthorityError, "signs itself"),
        (FOREIGN.make_ca("Below").der, AuthorityError, "signs itself"),
        (certs.make_ca("Old", expired=True).der, AuthorityError, "expired"),
    ],
    ids=["empty", "garbage", "PEM", "leaf", "intermediate", "expired"],
)
def test_add_anchor_refused(
    pki: PKI, at: dt.datetime, der: bytes, error: type[PKIError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        _add(pki, at, der)
    assert pki.truststore.anchors.count() == 1


def test_add_anchor_that_says_it_signed_itself(pki: PKI, at: dt.datetime) -> None:
    """Issuer and subject are equal, but another key signed."""
    impostor = certs.make_ca("Same Name").make_ca("Same Name")
    with pytest.raises(AuthorityError, match="signs itself"):
        _add(pki, at, impostor.der)


def test_add_anchor_that_is_no_ca(pki: PKI, at: dt.datetime) -> None:
    """A leaf that signed itself."""
    key = certs.make_key()
    itself = certs.Authority(FOREIGN.issue("Loner", key=key).certificate, key)
    with pytest.raises(AuthorityError, match="not that of a CA"):
        _add(pki, at, itself.issue("Loner", key=key).der)


def test_add_anchor_twice(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(AuthorityError, match="has this root already"):
        truststore.add_anchor(actor="admin", truststore=pki.truststore, authority=pki.root, at=at)
    with pytest.raises(AuthorityError, match="Give one root"):
        truststore.add_anchor(actor="admin", truststore=pki.truststore, at=at)


def test_snapshot(pki: PKI, at: dt.datetime) -> None:
    crl.publish(authority=pki.issuing, actor="admin", at=at)
    taken = truststore.snapshot(pki.truststore)
    assert taken.name == "chat"
    assert taken.anchors == (bytes(pki.root.certificate.der),)
    assert taken.intermediates == (bytes(pki.issuing.certificate.der),)
    numbers = [
        x509.load_der_x509_crl(der).extensions.get_extension_for_class(x509.CRLNumber)
        for der in taken.crls
    ]
    assert [number.value.crl_number for number in numbers] == [1, 2]
    with pytest.raises(FrozenInstanceError):
        taken.name = "other"  # type: ignore[misc]


def test_snapshot_takes_two_queries(pki: PKI) -> None:
    with CaptureQueriesContext(connection) as queries:
        truststore.snapshot(pki.truststore)
    assert len(queries) == 2


def test_snapshot_knows_nothing_of_other_roots(pki: PKI, at: dt.datetime) -> None:
    other = authorities.create_authority(actor="a", name="Other Root", at=at)
    authorities.create_authority(actor="a", name="Other Issuing", parent=other, at=at)
    taken = truststore.snapshot(pki.truststore)
    assert (len(taken.anchors), len(taken.intermediates), len(taken.crls)) == (1, 1, 2)


def test_verify_device_of_alice(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    path = truststore.verify(truststore.snapshot(pki.truststore), laptop.chain, at=at)
    assert [link.subject.rfc4514_string() for link in path] == [
        "CN=alice",
        "CN=Test Issuing",
        "CN=Test Root",
    ]


def test_verify_with_leaf_alone(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    assert truststore.verify(truststore.snapshot(pki.truststore), [laptop.der], at=at)


def test_verify_after_revocation(pki: PKI, people: People, at: dt.datetime) -> None:
    """The old snapshot still says yes, the new one says no."""
    laptop = make_device(people.alice, pki.issuing, at=at)
    before = truststore.snapshot(pki.truststore)
    revoke(actor="alice", certificate=laptop.certificate, reason="superseded", at=at)
    assert truststore.verify(before, laptop.chain, at=at)
    with pytest.raises(CertificateRevokedError):
        truststore.verify(truststore.snapshot(pki.truststore), laptop.chain, at=at)


def test_verify_after_revocation_of_the_ca(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    revoke(actor="a", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    with pytest.raises(CertificateRevokedError, match="authority"):
        truststore.verify(truststore.snapshot(pki.truststore), laptop.chain, at=at)


def test_verify_after_anchor_was_withdrawn(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    [anchor] = pki.truststore.anchors.all()
    truststore.withdraw_anchor(actor="admin", anchor=anchor, at=at)
    with pytest.raises(CertificateNotTrustedError):
        truststore.verify(truststore.snapshot(pki.truststore), laptop.chain, at=at)
    with pytest.raises(AuthorityError, match="withdrawn already"):
        truststore.withdraw_anchor(actor="admin", anchor=anchor, at=at)


def test_verify_server_certificate(pki: PKI, at: dt.datetime) -> None:
    server = make_server_certificate(pki.issuing, at=at)
    with pytest.raises(WrongPurposeError):
        truststore.verify(truststore.snapshot(pki.truststore), [bytes(server.der)], at=at)


def test_verify_expired(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    later = laptop.certificate.not_after + dt.timedelta(seconds=1)
    for one in (pki.root, pki.issuing):
        crl.publish(authority=one, actor="a", at=later)
    with pytest.raises(CertificateExpiredError):
        truststore.verify(truststore.snapshot(pki.truststore), laptop.chain, at=later)


@pytest.mark.parametrize("algorithm", ["p384", "ed25519", "rsa3072"])
def test_verify_other_kinds(db: None, people: People, at: dt.datetime, algorithm: str) -> None:
    root = authorities.create_authority(actor="a", name="R", algorithm=algorithm, at=at)
    ca = authorities.create_authority(actor="a", name="I", parent=root, algorithm=algorithm, at=at)
    store = truststore.create_truststore(actor="a", name="other", at=at)
    truststore.add_anchor(actor="a", truststore=store, authority=root, at=at)
    laptop = make_device(people.alice, ca, at=at)
    assert len(truststore.verify(truststore.snapshot(store), laptop.chain, at=at)) == 3
    revoke(actor="a", certificate=laptop.certificate, reason="superseded", at=at)
    with pytest.raises(CertificateRevokedError):
        truststore.verify(truststore.snapshot(store), laptop.chain, at=at)


# --- Exports --------------------------------------------------------------------------------


def test_export_pem(pki: PKI, at: dt.datetime) -> None:
    _add(pki, at, FOREIGN.der)
    pem = _export(pki, at, Format.PEM)
    loaded = x509.load_pem_x509_certificates(pem)
    assert [one.public_bytes(Encoding.DER) for one in loaded] == [
        bytes(pki.root.certificate.der),
        FOREIGN.der,
    ]
    context = ssl.create_default_context(cadata=pem.decode())
    assert len(context.get_ca_certs()) == 2


def test_export_p7b(pki: PKI, at: dt.datetime, tmp_path: Path) -> None:
    path = tmp_path / "chat.p7b"
    path.write_bytes(_export(pki, at, Format.P7B))
    shown = openssl("pkcs7", "-inform", "DER", "-in", path, "-print_certs", "-noout")
    assert "subject=CN = Test Root" in shown


def test_export_der(pki: PKI, at: dt.datetime) -> None:
    assert _export(pki, at, Format.DER) == bytes(pki.root.certificate.der)
    _add(pki, at, FOREIGN.der)
    with pytest.raises(RequestError, match="2 anchors and DER holds one"):
        _export(pki, at, Format.DER)


@pytest.mark.parametrize("format", Format)
def test_export_of_nothing(db: None, at: dt.datetime, format: Format) -> None:
    empty = truststore.create_truststore(actor="a", name="empty", at=at)
    with pytest.raises(AuthorityError, match="no anchor in force"):
        truststore.export(empty, format=format, at=at, password="correct horse")


def _export(pki: PKI, at: dt.datetime, format: Format) -> bytes:
    return truststore.export(pki.truststore, format=format, at=at).content


# --- Roots from elsewhere -------------------------------------------------------------------


def test_foreign_root_and_what_is_below_it_has_rows(pki: PKI, at: dt.datetime) -> None:
    _add(pki, at, FOREIGN.der)
    root = pki.truststore.anchors.get(subject="CN=Partner Root").authority
    assert root is not None
    assert root.certificate.is_outside
    below = FOREIGN.make_ca("Partner Issuing")
    authorities.record_outside_authority(actor="a", certificate=below.der, at=at)
    assert below.der in truststore.snapshot(pki.truststore, at).intermediates


def test_public_roots_are_ours_and_of_endpoints_alone(pki: PKI, at: dt.datetime) -> None:
    """A partner's root vouches for people here; on a device it would vouch for every website."""
    _add(pki, at, FOREIGN.der)
    other = authorities.create_authority(actor="a", name="Other Root", at=at)
    unused = truststore.create_truststore(actor="a", name="unused", at=at)
    truststore.add_anchor(actor="a", truststore=unused, authority=other, at=at)
    assert truststore.public_roots(at=at) == []
    make_endpoint(pki, pki.truststore)
    [root] = truststore.public_roots(at=at)
    assert root.public_bytes(Encoding.DER) == bytes(pki.root.certificate.der)


# --- Dates ----------------------------------------------------------------------------------


DAY = dt.timedelta(days=1)


def _date(pki: PKI, at: dt.datetime, first: dt.datetime | None, last: dt.datetime | None) -> None:
    truststore.date_anchor(
        actor="admin",
        anchor=pki.truststore.anchors.get(),
        trusted_from=first,
        trusted_until=last,
        at=at,
    )


def test_anchor_counts_between_its_dates_alone(pki: PKI, at: dt.datetime) -> None:
    _date(pki, at, at, at + DAY)
    for moment, count in ((at - DAY / 2, 0), (at, 1), (at + DAY / 2, 1), (at + DAY, 0)):
        taken = truststore.snapshot(pki.truststore, moment)
        assert (len(taken.anchors), len(taken.crls)) == (count, 2 * count), moment
    with pytest.raises(AuthorityError, match="no anchor in force"):
        truststore.export(pki.truststore, format=Format.PEM, at=at + DAY)
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert (entry.action, entry.detail["until"]) == ("anchor.dated", (at + DAY).isoformat())


def test_dates_may_be_taken_away_again(pki: PKI, at: dt.datetime) -> None:
    _date(pki, at, None, at)
    assert not truststore.snapshot(pki.truststore, at).anchors
    _date(pki, at, None, None)
    assert truststore.snapshot(pki.truststore, at).anchors


def test_dates_that_never_meet(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(RequestError, match="after the first"):
        _date(pki, at, at, at)


def test_date_that_comes_is_announced(pki: PKI, at: dt.datetime) -> None:
    _date(pki, at, at + DAY, at + 2 * DAY)
    for moment, is_announced in (
        (at, False),
        (at + DAY, True),
        (at + DAY + dt.timedelta(seconds=61), True),
        (at + DAY + dt.timedelta(minutes=5), False),
        (at + 2 * DAY, True),
    ):
        version = current_version()
        assert truststore.announce_dates(at=moment) is is_announced, moment
        assert current_version() == version + is_announced


def test_set_recognition(pki: PKI, at: dt.datetime) -> None:
    version = current_version()
    truststore.set_recognition(actor="admin", truststore=pki.truststore, recognises="email", at=at)
    pki.truststore.refresh_from_db()
    assert (pki.truststore.recognises, current_version()) == ("email", version + 1)
    with pytest.raises(RequestError, match="no way"):
        truststore.set_recognition(
            actor="admin", truststore=pki.truststore, recognises="face", at=at
        )
