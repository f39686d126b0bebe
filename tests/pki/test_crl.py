"""CRLs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from pkilint import loader, pkix
from pkilint.pkix import crl as pkix_crl
from pkilint.pkix import extension, name
from pkilint.validation import ValidationFindingSeverity

from pki import audit, crl
from pki.errors import AuthorityError, MasterKeyMissingError
from pki.models import Certificate, RevocationList
from pki.revocation import revoke
from tests.factories import PKI, People, make_device
from tests.openssl import openssl

DAY = dt.timedelta(days=1)


def _load(row: RevocationList) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(bytes(row.der))


def test_first_crl_comes_with_the_ca(pki: PKI, at: dt.datetime) -> None:
    row = crl.latest(pki.issuing)
    assert row is not None
    assert (row.number, row.entries, row.this_update) == (1, 0, at)
    assert row.next_update == at + 7 * DAY


def test_numbers_rise_by_one(pki: PKI, at: dt.datetime) -> None:
    rows = [crl.publish(authority=pki.issuing, actor="admin", at=at) for _ in range(3)]
    assert [row.number for row in rows] == [2, 3, 4]
    numbers = [_load(row).extensions.get_extension_for_class(x509.CRLNumber) for row in rows]
    assert [number.value.crl_number for number in numbers] == [2, 3, 4]
    assert not any(number.critical for number in numbers)
    assert audit.verify() > 0


def test_extensions_and_signature(pki: PKI, at: dt.datetime) -> None:
    issuing = x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der))
    signed = _load(crl.publish(authority=pki.issuing, actor="admin", at=at))
    assert signed.is_signature_valid(issuing.public_key())  # type: ignore[arg-type]
    assert signed.issuer == issuing.subject
    key_id = signed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert key_id.key_identifier == own.digest
    assert len(signed.extensions) == 2


def test_reasons(pki: PKI, people: People, at: dt.datetime) -> None:
    """RFC 5280, 5.3.1: no reason is left out, the others are written."""
    silent, stolen = (make_device(people.alice, pki.issuing, at=at) for _ in range(2))
    revoke(actor="a", certificate=silent.certificate, reason="unspecified", at=at)
    revoke(actor="a", certificate=stolen.certificate, reason="keyCompromise", at=at)
    row = crl.latest(pki.issuing)
    assert row is not None
    entries = {entry.serial_number: entry for entry in _load(row)}
    assert set(entries) == {silent.x509.serial_number, stolen.x509.serial_number}
    assert len(entries[silent.x509.serial_number].extensions) == 0
    reason = entries[stolen.x509.serial_number].extensions.get_extension_for_class(x509.CRLReason)
    assert reason.value.reason is x509.ReasonFlags.key_compromise
    assert entries[stolen.x509.serial_number].revocation_date_utc == at
    assert row.entries == 2


def test_crls_of_two_cas_do_not_mix(pki: PKI, people: People, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    revoke(actor="a", certificate=device.certificate, reason="superseded", at=at)
    assert len(_load(crl.publish(authority=pki.issuing, actor="a", at=at))) == 1
    assert len(_load(crl.publish(authority=pki.root, actor="a", at=at))) == 0


def test_entry_leaves_one_crl_after_expiry(pki: PKI, people: People, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    revoke(actor="a", certificate=device.certificate, reason="superseded", at=at)
    expiry = device.certificate.not_after

    def entries(moment: dt.datetime) -> int:
        return crl.publish(authority=pki.issuing, actor="a", at=moment).entries

    assert entries(expiry - DAY) == 1
    assert entries(expiry + DAY) == 1
    assert entries(expiry + 2 * DAY) == 0


def test_publish_due_after_half_the_life(pki: PKI, at: dt.datetime) -> None:
    assert crl.publish_due(at=at + 3 * DAY) == []
    renewed = crl.publish_due(at=at + 4 * DAY)
    assert {row.authority for row in renewed} == {pki.root, pki.issuing}
    assert crl.publish_due(at=at + 4 * DAY) == []


def test_publish_due_when_there_is_none(pki: PKI, at: dt.datetime) -> None:
    pki.issuing.crls.all().delete()
    [row] = crl.publish_due(at=at)
    assert (row.authority, row.number) == (pki.issuing, 2)


def test_ca_that_cannot_publish_keeps_nobody_else_from_it(
    pki: PKI, at: dt.datetime, caplog: pytest.LogCaptureFixture
) -> None:
    broken = min(pki.root, pki.issuing, key=lambda ca: ca.name)
    key = broken.certificate.key
    assert key is not None
    type(key).objects.filter(pk=key.pk).update(wrapped=b"changed since")
    [row] = crl.publish_due(at=at + 4 * DAY)
    assert row.authority != broken
    assert f"CRL of {broken.slug} cannot be published" in caplog.text


def test_due_and_stale(pki: PKI, at: dt.datetime) -> None:
    row, half = crl.latest(pki.issuing), dt.timedelta(days=3.5)
    assert row is not None
    assert [row.is_due_at(at + after) for after in (3 * DAY, half, 8 * DAY)] == [False, True, True]
    assert [row.is_stale_at(at + after) for after in (6 * DAY, 7 * DAY)] == [False, True]


def test_publish_due_leaves_expired_cas_alone(pki: PKI, at: dt.datetime) -> None:
    [row] = crl.publish_due(at=at + 11 * 365 * DAY)
    assert row.authority == pki.root


def test_publish_without_key(pki: PKI, at: dt.datetime) -> None:
    Certificate.objects.filter(pk=pki.issuing.certificate.pk).update(key=None)
    with pytest.raises(AuthorityError, match="not kept here"):
        crl.publish(authority=pki.issuing, actor="admin", at=at)


def test_publish_without_master_key_uses_up_no_number(
    pki: PKI, at: dt.datetime, settings, tmp_path: Path
) -> None:
    home = settings.SIGNET_MASTER_KEY_FILE
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    with pytest.raises(MasterKeyMissingError):
        crl.publish(authority=pki.issuing, actor="admin", at=at)
    settings.SIGNET_MASTER_KEY_FILE = home
    assert crl.publish(authority=pki.issuing, actor="admin", at=at).number == 2


@pytest.mark.parametrize("revoked", [0, 1, 3])
def test_openssl_and_pkilint_accept(
    pki: PKI, people: People, at: dt.datetime, tmp_path: Path, revoked: int
) -> None:
    for _ in range(revoked):
        device = make_device(people.alice, pki.issuing, at=at)
        revoke(actor="a", certificate=device.certificate, reason="superseded", at=at)
    row = crl.latest(pki.issuing)
    assert row is not None
    (tmp_path / "ca.der").write_bytes(bytes(pki.issuing.certificate.der))
    openssl("x509", "-inform", "DER", "-in", tmp_path / "ca.der", "-out", tmp_path / "ca.pem")
    (tmp_path / "crl.pem").write_bytes(crl.crl_pem(row))
    shown = openssl(
        "crl", "-in", tmp_path / "crl.pem", "-CAfile", tmp_path / "ca.pem", "-noout", "-text"
    )
    assert "verify OK" in shown
    assert shown.count("Serial Number:") == revoked
    assert ("No Revoked Certificates" in shown) is (revoked == 0)
    assert _pkilint_errors(bytes(row.der)) == []


def test_many_entries_are_quick(pki: PKI, people: People, at: dt.datetime) -> None:
    """Twenty thousand in about a second; adding one by one would be quadratic."""
    device = make_device(people.alice, pki.issuing, at=at).certificate
    fields = {"authority": pki.issuing, "profile": "person", "owner": people.alice}
    Certificate.objects.bulk_create(
        Certificate(
            **fields,
            serial=f"{2**100 + number:x}",
            sha256=f"{number:064x}",
            spki_sha256="0" * 64,
            subject="CN=alice",
            not_before=device.not_before,
            not_after=device.not_after,
            der=b"",
            issued_by="tests",
            revoked_at=at,
            revocation_reason="superseded",
        )
        for number in range(5000)
    )
    assert crl.publish(authority=pki.issuing, actor="admin", at=at).entries == 5000


def _pkilint_errors(der: bytes) -> list[str]:
    validator = pkix_crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            pkix_crl.create_issuer_validator_container([]),
            pkix_crl.create_validity_validator_container([]),
            pkix_crl.create_extensions_validator_container([]),
        ],
    )
    document = loader.RFC5280CertificateListDocumentLoader().load_der_document(der)
    return [
        str(found)
        for result in validator.validate(document.root)
        for found in result.finding_descriptions
        if found.finding.severity <= ValidationFindingSeverity.WARNING
    ]
