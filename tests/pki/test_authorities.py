"""Founding CAs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import audit, authorities
from pki.changes import current_version
from pki.errors import AuthorityError, LintError, MasterKeyMissingError, ProfileError
from pki.models import AuditEntry, Certificate, CertificateAuthority, PrivateKey
from tests.factories import PKI
from tests.openssl import openssl


def _found(name: str, at: dt.datetime, **changes: object) -> CertificateAuthority:
    return authorities.create_authority(actor="admin", name=name, at=at, **changes)  # type: ignore[arg-type]


def test_create_root(db: None, at: dt.datetime) -> None:
    root = _found("Staff Root", at)
    certificate = x509.load_der_x509_certificate(bytes(root.certificate.der))
    certificate.verify_directly_issued_by(certificate)
    assert (root.slug, root.is_root, root.certificate.authority) == ("staff-root", True, None)
    assert certificate.not_valid_after_utc > at + dt.timedelta(days=19 * 365)
    assert root.crls.count() == 1
    assert current_version() > 0
    actions = list(AuditEntry.objects.order_by("sequence").values_list("action", flat=True))
    assert actions == ["certificate.issued", "authority.created", "crl.published"]
    assert audit.verify() == 3


def test_create_authority_below(pki: PKI) -> None:
    issuing = x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der))
    issuing.verify_directly_issued_by(
        x509.load_der_x509_certificate(bytes(pki.root.certificate.der))
    )
    constraints = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert pki.issuing.certificate.authority == pki.root


@pytest.mark.parametrize("algorithm", ["p256", "p384", "ed25519", "rsa3072", "rsa4096"])
def test_openssl_reads_every_kind(
    db: None, at: dt.datetime, algorithm: str, tmp_path: Path
) -> None:
    root = x509.load_der_x509_certificate(
        bytes(_found("Root", at, algorithm=algorithm).certificate.der)
    )
    path = tmp_path / "root.pem"
    path.write_bytes(root.public_bytes(Encoding.PEM))
    assert "root.pem: OK" in openssl("verify", "-x509_strict", "-CAfile", path, path)
    shown = openssl("x509", "-in", path, "-noout", "-text")
    assert "CA:TRUE, pathlen:1" in shown
    assert "Certificate Sign, CRL Sign" in shown


@pytest.mark.parametrize("name", ["", " Root", "Ro\u202eot", "R\0", "!!!", "x" * 65])
def test_name_refused(db: None, at: dt.datetime, name: str) -> None:
    with pytest.raises(AuthorityError, match="name of a CA"):
        _found(name, at)
    assert not PrivateKey.objects.exists()


def test_name_taken(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(AuthorityError, match="test-root already"):
        _found("TEST root", at)


def test_no_ca_below_an_issuing_ca(pki: PKI, at: dt.datetime) -> None:
    """Path length 0; and nothing is left behind, neither key nor certificate."""
    before = PrivateKey.objects.count(), Certificate.objects.count()
    with pytest.raises(LintError, match="path_length"):
        _found("Deeper", at, parent=pki.issuing)
    assert before == (PrivateKey.objects.count(), Certificate.objects.count())


def test_unknown_kind_of_key(db: None, at: dt.datetime) -> None:
    with pytest.raises(ProfileError, match="not a kind of key"):
        _found("Root", at, algorithm="rsa1024")


def test_without_master_key(db: None, at: dt.datetime, settings, tmp_path: Path) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    with pytest.raises(MasterKeyMissingError):
        _found("Root", at)
    assert not (tmp_path / "gone.key").exists()
    assert not CertificateAuthority.objects.exists()


def test_name_taken_while_the_key_was_made_is_a_sentence(
    pki: PKI, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorities, "_slug", lambda name: "test-issuing")
    before = Certificate.objects.count(), PrivateKey.objects.count()
    with pytest.raises(AuthorityError, match="test-issuing already"):
        _found("Test Issuing", at, parent=pki.root)
    assert (Certificate.objects.count(), PrivateKey.objects.count()) == before


def test_require_issuing(pki: PKI, at: dt.datetime) -> None:
    assert authorities.require_issuing(at=at) == pki.issuing
    with pytest.raises(AuthorityError, match="No CA may issue"):
        authorities.require_issuing(at=at + dt.timedelta(days=40_000))
