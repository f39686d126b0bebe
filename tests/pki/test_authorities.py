"""Founding CAs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import audit, authorities, crl, crl_publication, outside
from pki.changes import current_version
from pki.errors import (
    AuthorityError,
    BadFileError,
    LintError,
    MasterKeyMissingError,
    ProfileError,
)
from pki.models import AuditEntry, Certificate, CertificateAuthority, PrivateKey
from tests import certs
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
    monkeypatch.setattr(authorities, "free_slug", lambda name: "test-issuing")
    before = Certificate.objects.count(), PrivateKey.objects.count()
    with pytest.raises(AuthorityError, match="test-issuing already"):
        _found("Test Issuing", at, parent=pki.root)
    assert (Certificate.objects.count(), PrivateKey.objects.count()) == before


def test_require_issuing(pki: PKI, at: dt.datetime) -> None:
    assert authorities.require_issuing(at=at) == pki.issuing
    with pytest.raises(AuthorityError, match="No CA may issue"):
        authorities.require_issuing(at=at + dt.timedelta(days=40_000))


# --- From elsewhere -------------------------------------------------------------------------


def _recorded(certificate: bytes, at: dt.datetime) -> CertificateAuthority:
    return authorities.record_outside_authority(actor="admin", certificate=certificate, at=at)


def test_outside_root_and_the_ca_below_it(db: None, at: dt.datetime) -> None:
    top = certs.make_ca("Elsewhere")
    below = top.make_ca("Below")
    with pytest.raises(AuthorityError, match="not signed by any CA known here"):
        _recorded(below.der, at)
    root = _recorded(top.der, at)
    assert (root.slug, root.is_root, root.certificate.is_outside) == ("elsewhere", True, True)
    assert root.certificate.key is None
    assert _recorded(below.der, at).parent == root
    assert _recorded(top.der, at) == root
    assert CertificateAuthority.objects.count() == 2
    assert AuditEntry.objects.filter(action="authority.recorded").count() == 2


def test_outside_ca_of_a_name_that_is_taken(pki: PKI, at: dt.datetime) -> None:
    stranger = _recorded(certs.make_ca("Test Root").der, at)
    assert stranger.name.startswith("Test Root ")
    assert stranger != pki.root
    assert _recorded(bytes(pki.root.certificate.der), at) == pki.root


def test_outside_ca_refused(db: None, at: dt.datetime) -> None:
    top = certs.make_ca("Elsewhere")
    with pytest.raises(BadFileError):
        _recorded(b"nonsense", at)
    with pytest.raises(AuthorityError, match="has expired"):
        _recorded(certs.make_ca("Old", expired=True).der, at)
    with pytest.raises(AuthorityError, match="not a CA"):
        _recorded(top.issue("person").der, at)
    other = _recorded(certs.make_ca("Other").der, at)
    with pytest.raises(AuthorityError, match="was not signed by Other"):
        authorities.record_outside_authority(
            actor="admin", certificate=top.make_ca("Below").der, parent=other, at=at
        )


@pytest.mark.parametrize("text", ["10.0.0.1/8", "exämple.org", "@exämple.org"])
def test_name_constraint_refused(text: str) -> None:
    with pytest.raises(AuthorityError, match="is no name constraint"):
        authorities.name_constraints(permit=[text])


# --- Names whose CRLs would have one address ------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Staff", "Staff delta"),
        ("Staff", "Staff 2"),
        ("Staff", "Staff 256"),
        ("Staff delta", "Staff"),
        ("Staff 2", "Staff"),
    ],
)
def test_name_whose_crls_would_be_mistaken_for_those_of_another(
    pki: PKI, at: dt.datetime, first: str, second: str
) -> None:
    authorities.create_authority(actor="a", name=first, parent=pki.root, at=at)
    with pytest.raises(AuthorityError, match="the same addresses"):
        authorities.create_authority(actor="a", name=second, parent=pki.root, at=at)
    with pytest.raises(AuthorityError, match="the same addresses"):
        outside.request_authority(actor="a", name=second, at=at)
    stranger = certs.make_ca(second)
    with pytest.raises(AuthorityError, match="the same addresses"):
        outside.import_authority(
            actor="a", data=stranger.pem + stranger.key_pem, password=None, name=second, at=at
        )
    # Under a name that nobody chose it comes in with something added.
    known = authorities.record_outside_authority(actor="a", certificate=stranger.der, at=at)
    assert known.name.startswith(f"{second} ")


def test_name_of_a_request_is_kept_free_too(pki: PKI, at: dt.datetime) -> None:
    outside.request_authority(actor="a", name="Staff", at=at)
    with pytest.raises(AuthorityError, match="the same addresses"):
        authorities.create_authority(actor="a", name="Staff 7", parent=pki.root, at=at)


@pytest.mark.parametrize("second", ["Staff G2", "Staff 2024", "Staff 0", "Staff 2 b", "Staffdelta"])
def test_names_that_only_look_alike(pki: PKI, at: dt.datetime, second: str) -> None:
    authorities.create_authority(actor="a", name="Staff", parent=pki.root, at=at)
    assert authorities.create_authority(actor="a", name=second, parent=pki.root, at=at)


def test_every_crl_of_a_ca_has_an_address_that_no_other_ca_may_take(pki: PKI) -> None:
    """The rule above knows the names that CRLs are published under."""
    pki.issuing.has_delta_crls, pki.issuing.crl_partitions = True, crl.MOST_PARTITIONS
    for scope in crl_publication.scopes(pki.issuing)[1:]:
        name = crl_publication.file_name(pki.issuing, scope).removesuffix(".crl")
        with pytest.raises(AuthorityError, match="the same addresses"):
            authorities.free_slug(name)
