"""Prepare, then issue: nothing else makes a certificate."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import authorities, files, issuance, keys, lint
from pki import people as accounts
from pki.changes import current_version
from pki.errors import (
    AuthorityError,
    BadFileError,
    KeyReuseError,
    LintError,
    MasterKeyMissingError,
    ProfileError,
)
from pki.models import AuditEntry, Certificate, PrivateKey
from pki.revocation import revoke
from pki.signals import certificate_issued
from tests import certs
from tests.factories import PKI, People, make_device, make_server_certificate
from tests.openssl import openssl


def _prepare(pki: PKI, people: People, at: dt.datetime, **changes: Any) -> issuance.Prepared:
    fields: dict[str, Any] = {
        "actor": "admin",
        "authority": pki.issuing,
        "profile": "person",
        "owner": people.alice,
        "device": "laptop",
        "at": at,
    }
    if not {"csr", "key", "public_key"} & set(changes):
        fields["public_key"] = certs.make_key().public_key()
    return issuance.prepare(**(fields | changes))


def _write(path: Path, *ders: object) -> Path:
    loaded = [x509.load_der_x509_certificate(bytes(der)) for der in ders]  # type: ignore[call-overload]
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in loaded))
    return path


def test_issue_to_alice(
    pki: PKI, people: People, at: dt.datetime, django_capture_on_commit_callbacks
) -> None:
    heard: list[dict[str, Any]] = []

    def hear(**news: Any) -> None:
        heard.append({name: news[name] for name in ("certificate_id", "sha256")})

    certificate_issued.connect(hear)
    version = current_version()
    prepared = _prepare(pki, people, at)
    with django_capture_on_commit_callbacks(execute=True):
        certificate = issuance.issue(prepared)
        assert heard == []
    certificate_issued.disconnect(hear)

    leaf = x509.load_der_x509_certificate(bytes(certificate.der))
    assert leaf.subject.rfc4514_string() == certificate.subject == "CN=alice"
    assert (certificate.owner, certificate.device) == (people.alice, "laptop")
    assert (certificate.issued_by, certificate.issued_at) == ("admin", at)
    assert certificate.serial == f"{leaf.serial_number:x}"
    assert certificate.not_after == leaf.not_valid_after_utc
    assert certificate.key is None
    assert heard == [{"certificate_id": certificate.pk, "sha256": certificate.sha256}]
    assert current_version() == version  # a leaf changes nobody's trust
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert (entry.actor, entry.action) == ("admin", "certificate.issued")
    assert entry.target == f"certificate {certificate.serial}"
    assert entry.detail["sha256"] == certificate.sha256


def test_prepare_changes_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    before = Certificate.objects.count(), AuditEntry.objects.count(), current_version()
    _prepare(pki, people, at)
    assert before == (Certificate.objects.count(), AuditEntry.objects.count(), current_version())


@pytest.mark.parametrize("algorithm", ["p256", "p384", "ed25519", "rsa3072"])
@pytest.mark.parametrize("kind", ["person", "server"])
def test_openssl_verifies_what_we_issue(
    db: None, people: People, at: dt.datetime, tmp_path: Path, algorithm: str, kind: str
) -> None:
    """Strictly, with the CRLs of both CAs, for the purpose, by name."""
    root = authorities.create_authority(actor="a", name="R", algorithm=algorithm, at=at)
    ca = authorities.create_authority(actor="a", name="I", parent=root, algorithm=algorithm, at=at)
    if kind == "person":
        leaf = make_device(people.alice, ca, at=at).certificate
        for_whom = ["-purpose", "sslclient", "-verify_email", "alice@example.org"]
    else:
        leaf = make_server_certificate(ca, hosts=("chat.example.org",), algorithm=algorithm, at=at)
        for_whom = ["-purpose", "sslserver", "-verify_hostname", "chat.example.org"]
    crls = tmp_path / "crls.pem"
    crls.write_bytes(
        b"".join(
            x509.load_der_x509_crl(bytes(crl.der)).public_bytes(Encoding.PEM)
            for one in (root, ca)
            for crl in one.crls.all()
        )
    )
    arguments = [
        *("verify", "-x509_strict", "-crl_check_all", "-CRLfile", crls, *for_whom),
        *("-CAfile", _write(tmp_path / "root.pem", root.certificate.der)),
        *("-untrusted", _write(tmp_path / "ca.pem", ca.certificate.der)),
        _write(tmp_path / "leaf.pem", leaf.der),
    ]
    assert "leaf.pem: OK" in openssl(*arguments)
    swapped = ["sslserver" if word == "sslclient" else word for word in arguments]
    if kind == "person":
        assert "unsuitable certificate purpose" in openssl(*swapped, fails=True)


@pytest.mark.parametrize("email", ["alice@example.org", ""])
def test_other_verifiers_accept_a_person(
    pki: PKI, people: People, at: dt.datetime, email: str
) -> None:
    """cryptography's client verifier with its own defaults, which want some alternative name."""
    people.alice.email = email
    people.alice.save(update_fields=["email"])
    leaf = make_device(people.alice, pki.issuing, at=at).x509
    root, issuing = (
        x509.load_der_x509_certificate(bytes(ca.certificate.der)) for ca in (pki.root, pki.issuing)
    )
    builder = x509.verification.PolicyBuilder().store(x509.verification.Store([root])).time(at)
    verified = builder.build_client_verifier().verify(leaf, [issuing])
    assert verified.chain == [leaf, issuing, root]
    assert verified.subjects is not None
    [name] = verified.subjects
    assert name.value == (email or leaf.subject)


def test_server_certificate_names_this_deployment(
    pki: PKI, at: dt.datetime, settings, tmp_path: Path
) -> None:
    settings.SIGNET_HOSTS = ["localhost", "chat.example.org"]
    certificate = make_server_certificate(pki.issuing, at=at)
    path = _write(tmp_path / "server.pem", certificate.der)
    shown = openssl("x509", "-in", path, "-noout", "-ext", "subjectAltName")
    assert "DNS:localhost, DNS:chat.example.org, IP Address:127.0.0.1, IP Address:0:0:0" in shown
    assert certificate.key is not None


def test_pointers_lead_to_the_public_endpoint(
    pki: PKI, people: People, at: dt.datetime, tmp_path: Path
) -> None:
    path = _write(tmp_path / "alice.pem", make_device(people.alice, pki.issuing, at=at).der)
    shown = openssl("x509", "-in", path, "-noout", "-text")
    for url in ("crl/test-issuing.crl", "ocsp/test-issuing/", "ca/test-issuing.cer"):
        assert f"URI:http://localhost:8080/{url}" in shown


# --- Once, and only what was prepared -------------------------------------------------------


def test_issue_twice(pki: PKI, people: People, at: dt.datetime) -> None:
    prepared = _prepare(pki, people, at)
    assert issuance.issue(prepared)
    with pytest.raises(ProfileError, match="issued already"):
        issuance.issue(prepared)
    assert people.alice.certificates.count() == 1


def test_issue_what_prepare_did_not_return(pki: PKI, people: People, at: dt.datetime) -> None:
    prepared = _prepare(pki, people, at)
    forged = replace(prepared, owner=people.admin)
    with pytest.raises(ProfileError, match="not prepared"):
        issuance.issue(forged)
    assert not people.admin.certificates.exists()


def test_issue_signs_what_was_linted(pki: PKI, people: People, at: dt.datetime) -> None:
    """If signing added or changed a byte, nothing would be issued."""
    prepared = _prepare(pki, people, at)
    object.__setattr__(prepared, "builder", _prepare(pki, people, at).builder)
    with pytest.raises(LintError, match="not what was linted"):
        issuance.issue(prepared)
    assert not people.alice.certificates.exists()


# --- What the profile refuses ---------------------------------------------------------------


def test_prepare_refusals(pki: PKI, people: People, at: dt.datetime) -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    odd = ec.generate_private_key(ec.SECP521R1()).public_key()
    table: list[tuple[dict[str, Any], str]] = [
        ({"profile": "emperor"}, "no profile 'emperor'"),
        ({"public_key": weak}, "this one has 1024"),
        ({"public_key": odd}, "secp521r1"),
        ({"public_key": None}, "Give one key"),
        ({"csr": certs.make_csr("x"), "public_key": odd}, "Give one key"),
        ({"owner": None}, "People, and only people"),
        ({"profile": "server"}, "People, and only people"),
        ({"profile": "root"}, "A root signs itself"),
        ({"authority": None}, "A root signs itself"),
        ({"profile": "intermediate", "owner": None}, "A CA needs a name"),
        ({"common_name": "bob"}, "carries their username"),
        ({"hosts": ["chat.example.org"]}, "Servers, and only servers"),
        ({"device": "x" * 65}, "64 visible characters"),
        ({"device": "lap\u202etop"}, "64 visible characters"),
        ({"device": "lap\0top"}, "64 visible characters"),
    ]
    before = Certificate.objects.count()
    for change, sentence in table:
        with pytest.raises(ProfileError, match=sentence):
            _prepare(pki, people, at, **change)
    assert Certificate.objects.count() == before


def test_prepare_server_with_bad_hosts(pki: PKI, at: dt.datetime) -> None:
    for host in ("*.example.org", "UPPER.example", "a..b", "-a.example", "10.0.0.0/8", "a b"):
        with pytest.raises((LintError, ProfileError)):
            make_server_certificate(pki.issuing, hosts=(host,), at=at)


def test_prepare_for_disabled_person(pki: PKI, people: People, at: dt.datetime) -> None:
    accounts.disable_person(actor="admin", user=people.alice, at=at)
    with pytest.raises(ProfileError, match="disabled"):
        _prepare(pki, people, at)


def test_issue_for_person_disabled_meanwhile(pki: PKI, people: People, at: dt.datetime) -> None:
    prepared = _prepare(pki, people, at)
    accounts.disable_person(actor="admin", user=type(people.alice)(pk=people.alice.pk), at=at)
    with pytest.raises(ProfileError, match="disabled"):
        issuance.issue(prepared)
    assert not people.alice.certificates.exists()


def test_email_that_is_no_mailbox(pki: PKI, people: People, at: dt.datetime) -> None:
    for email in ("alice", "älice@example.org", "alice@b c", "a\nb@example.org"):
        people.alice.email = email
        with pytest.raises((ProfileError, LintError)):
            _prepare(pki, people, at)


# --- The CA ---------------------------------------------------------------------------------


def test_revoked_ca_signs_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    prepared = _prepare(pki, people, at)
    revoke(actor="admin", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    with pytest.raises(AuthorityError, match="revoked"):
        issuance.issue(prepared)
    with pytest.raises(AuthorityError, match="revoked"):
        _prepare(pki, people, at)
    assert not people.alice.certificates.exists()


def test_expired_ca_signs_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    with pytest.raises(AuthorityError, match="expired"):
        _prepare(pki, people, at + dt.timedelta(days=11 * 365))


def test_certificate_ends_with_its_ca(pki: PKI, people: People, at: dt.datetime) -> None:
    nearly_over = pki.issuing.certificate.not_after - dt.timedelta(days=30)
    device = make_device(people.alice, pki.issuing, at=nearly_over)
    assert device.certificate.not_after == pki.issuing.certificate.not_after


def test_ca_without_its_key_signs_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    pki.issuing.certificate.key = None
    with pytest.raises(AuthorityError, match="not kept here"):
        _prepare(pki, people, at)


def test_issue_without_master_key(
    pki: PKI, people: People, at: dt.datetime, settings, tmp_path: Path
) -> None:
    prepared = _prepare(pki, people, at)
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    count = PrivateKey.objects.count()
    with pytest.raises(MasterKeyMissingError):
        issuance.issue(prepared)
    assert not people.alice.certificates.exists()
    assert PrivateKey.objects.count() == count


# --- Keys that belong to somebody -----------------------------------------------------------


def test_key_of_somebody_else(pki: PKI, people: People, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    with pytest.raises(KeyReuseError, match="belongs to somebody else"):
        _prepare(pki, people, at, owner=people.bob, public_key=device.key.public_key())


def test_key_of_two_at_once(pki: PKI, people: People, at: dt.datetime) -> None:
    """Both were prepared before either was issued; one wins."""
    key = certs.make_key().public_key()
    first = _prepare(pki, people, at, public_key=key)
    second = _prepare(pki, people, at, public_key=key, owner=people.bob)
    issuance.issue(first)
    with pytest.raises(KeyReuseError):
        issuance.issue(second)
    assert not people.bob.certificates.exists()


def test_key_of_a_ca_or_server(pki: PKI, people: People, at: dt.datetime) -> None:
    server = make_server_certificate(pki.issuing, at=at)
    for row in (pki.root.certificate.key, pki.issuing.certificate.key, server.key):
        assert row is not None
        with pytest.raises(KeyReuseError):
            _prepare(pki, people, at, public_key=keys.public_key(row))


def test_renewal_with_the_same_key(pki: PKI, people: People, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    again = issuance.issue(_prepare(pki, people, at, public_key=device.key.public_key()))
    assert again.spki_sha256 == device.certificate.spki_sha256
    assert again.serial != device.certificate.serial


def test_stolen_key_is_never_certified_again(pki: PKI, people: People, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    revoke(actor="alice", certificate=device.certificate, reason="keyCompromise", at=at)
    with pytest.raises(KeyReuseError, match="lost or stolen"):
        _prepare(pki, people, at, public_key=device.key.public_key())


# --- Requests -------------------------------------------------------------------------------


def test_csr_gives_its_key_and_nothing_else(pki: PKI, people: People, at: dt.datetime) -> None:
    csr = certs.make_csr(
        "admin",
        extensions=[
            (x509.SubjectAlternativeName([x509.RFC822Name("admin@example.org")]), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
        ],
    )
    certificate = issuance.issue(_prepare(pki, people, at, csr=csr))
    leaf = x509.load_der_x509_certificate(bytes(certificate.der))
    assert leaf.public_key() == csr.public_key()
    assert leaf.subject.rfc4514_string() == "CN=alice"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.RFC822Name("alice@example.org")]
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=None),
        certs._usage(key_cert_sign=True),
        certs._usage(crl_sign=True),
    ],
    ids=["cA", "keyCertSign", "cRLSign"],
)
def test_csr_that_asks_to_be_ca(
    pki: PKI, people: People, at: dt.datetime, extension: x509.ExtensionType
) -> None:
    with pytest.raises(ProfileError, match="asks to be a CA"):
        _prepare(pki, people, at, csr=certs.make_csr("x", extensions=[(extension, True)]))


def test_csr_with_wrong_signature(pki: PKI, people: People, at: dt.datetime) -> None:
    der = bytearray(certs.make_csr("alice").public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(ProfileError, match="signature"):
        _prepare(pki, people, at, csr=files.read_csr(bytes(der)))


def test_csr_with_unreadable_extensions(pki: PKI, people: People, at: dt.datetime) -> None:
    broken = x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"\x30\x03\x01")
    csr = certs.make_csr("alice", extensions=[(broken, True)])
    with pytest.raises(BadFileError, match="cannot be read"):
        _prepare(pki, people, at, csr=csr)


def test_csr_made_by_openssl(pki: PKI, people: People, at: dt.datetime, tmp_path: Path) -> None:
    openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=whoever", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "csr.pem"),
    )
    csr = files.read_csr((tmp_path / "csr.pem").read_bytes())
    certificate = issuance.issue(_prepare(pki, people, at, csr=csr))
    path = _write(tmp_path / "alice.pem", certificate.der)
    assert "CN = alice" in openssl("x509", "-in", path, "-noout", "-subject")
    public = openssl("x509", "-in", path, "-noout", "-pubkey")
    assert public == openssl("pkey", "-in", tmp_path / "key.pem", "-pubout")


def test_lint_is_asked(pki: PKI, people: People, at: dt.datetime, monkeypatch) -> None:
    def never(_: lint.Candidate):
        yield "no"

    monkeypatch.setattr(lint, "RULES", (never,))
    with pytest.raises(LintError, match="never: no"):
        _prepare(pki, people, at)
