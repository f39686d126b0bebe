"""CAs from elsewhere with their key, and CAs of ours that an outside CA signs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from django.db import transaction

from pki import audit, authorities, crl, imports, keys, outside
from pki.changes import current_version
from pki.errors import AuthorityError, BadFileError, StateError
from pki.models import AuditEntry, AuthorityRequest, Certificate, CertificateAuthority, PrivateKey
from pki.revocation import revoke
from tests import certs
from tests.factories import PKI, make_server_certificate
from tests.locks import held_up, needs_row_locks
from tests.openssl import openssl


def _import(data: bytes, at: dt.datetime, **more: object) -> CertificateAuthority:
    given = {"actor": "admin", "data": data, "password": None, "at": at}
    given["discard_revocations"] = "last_crl" not in more
    return outside.import_authority(**(given | more))  # type: ignore[arg-type]


def _pfx(authority: certs.Authority, password: str) -> bytes:
    above = list(authority.issuers)
    sealing = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(
        b"ca", authority.key, authority.certificate, above, sealing
    )


def test_import_root_and_go_on_with_it(db: None, at: dt.datetime, tmp_path: Path) -> None:
    """What the old system signed and what is signed here hang under the same root."""
    old = certs.make_ca("Old Root")
    before = old.issue("before.example.org")
    version = current_version()
    root = _import(old.pem + old.key_pem, at, last_crl_number=41)
    assert (root.name, root.slug, root.is_root) == ("Old Root", "old-root", True)
    assert (root.certificate.is_outside, root.certificate.key is not None) == (True, True)
    assert current_version() > version
    assert crl.publish(authority=root, actor="admin", at=at).number == 42
    below = authorities.create_authority(actor="admin", name="Below", parent=root, at=at)
    leaf = make_server_certificate(below, hosts=("localhost",))
    files = {"root": old.pem, "below": _pem(below), "before": before.pem}
    paths = {name: tmp_path / f"{name}.pem" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    leaf_path = tmp_path / "leaf.pem"
    leaf_path.write_bytes(
        x509.load_der_x509_certificate(bytes(leaf.der)).public_bytes(Encoding.PEM)
    )
    openssl("verify", "-CAfile", paths["root"], "-untrusted", paths["below"], leaf_path)
    openssl("verify", "-CAfile", paths["root"], paths["before"])
    audit.verify()


def test_import_intermediate_from_pkcs12_brings_its_chain(db: None, at: dt.datetime) -> None:
    top = certs.make_ca("Top", path_length=2)
    middle = top.make_ca("Middle", path_length=1)
    issuing = middle.make_ca("Issuing", path_length=0)
    authority = _import(_pfx(issuing, "secret words"), at, password="secret words")
    assert [level.subject for level in authority.chain] == ["CN=Issuing", "CN=Middle", "CN=Top"]
    assert [level.key is not None for level in authority.chain] == [True, False, False]
    assert authorities.require_issuing(at=at) == authority
    assert make_server_certificate(authority, hosts=("localhost",))


def test_import_intermediate_whose_root_is_missing(db: None, at: dt.datetime) -> None:
    root = certs.make_ca("Top")
    below = root.make_ca("Below")
    with pytest.raises(AuthorityError, match="not signed by any CA known here"):
        _import(below.pem + below.key_pem, at)
    assert not PrivateKey.objects.exists()
    other = certs.make_ca("Top")  # the same name, and another key
    with pytest.raises(AuthorityError, match="not signed by any CA known here"):
        _import(below.pem + below.key_pem, at, chain=other.pem)
    assert _import(below.pem + below.key_pem, at, chain=root.pem).parent is not None
    assert not PrivateKey.objects.exclude(certificates__subject="CN=Below").exists()


def test_import_key_of_a_ca_that_was_known_without(db: None, at: dt.datetime) -> None:
    root = certs.make_ca("Old Root")
    known = authorities.record_outside_authority(actor="admin", certificate=root.der, at=at)
    assert known.certificate.key is None
    assert _import(root.pem + root.key_pem, at) == known
    assert CertificateAuthority.objects.get().certificate.key is not None
    with pytest.raises(AuthorityError, match="here already"):
        _import(root.pem + root.key_pem, at)


def test_without_its_crl_a_ca_is_not_taken_over(db: None, at: dt.datetime) -> None:
    """An empty CRL of ours would make what the old system revoked good again."""
    root = certs.make_ca("Old Root")
    with pytest.raises(StateError, match="newest CRL of this CA"):
        _import(root.pem + root.key_pem, at, last_crl=b"")
    assert not PrivateKey.objects.exists()


def test_crl_of_the_old_system_gives_the_number(db: None, at: dt.datetime) -> None:
    root = certs.make_ca("Old Root")
    taken = _import(root.pem + root.key_pem, at, last_crl=_der(root.crl(number=41)))
    assert crl.publish(authority=taken, actor="admin", at=at).number == 42
    detail = AuditEntry.objects.get(action="authority.imported").detail
    assert (detail["next_crl_number"], detail["discarded_revocations"]) == (42, 0)


def test_crl_with_entries_that_would_be_forgotten(db: None, at: dt.datetime) -> None:
    root = certs.make_ca("Old Root")
    old = _der(root.crl(root.issue("stolen"), number=41))
    with pytest.raises(StateError, match="lists 1 certificates that are not known here"):
        _import(root.pem + root.key_pem, at, last_crl=old)
    assert not CertificateAuthority.objects.exists()
    taken = _import(root.pem + root.key_pem, at, last_crl=old, discard_revocations=True)
    assert taken.next_crl_number == 42
    detail = AuditEntry.objects.get(action="authority.imported").detail
    assert detail["discarded_revocations"] == 1


def test_entry_for_what_is_revoked_here_goes_on_being_listed(db: None, at: dt.datetime) -> None:
    root = certs.make_ca("Old Root")
    below = root.make_ca("Lost")
    for ca in (root, below):
        authorities.record_outside_authority(actor="admin", certificate=ca.der, at=at)
    old = root.crl(below, number=41)
    imports.import_crl(actor="admin", crl=old, at=at)
    taken = _import(root.pem + root.key_pem, at, last_crl=_der(old))
    published = crl.publish(authority=taken, actor="admin", at=at)
    assert (published.number, published.entries) == (42, 1)


def test_crl_numbers_go_on_above_those_that_were_imported(db: None, at: dt.datetime) -> None:
    root = certs.make_ca("Old Root")
    authorities.record_outside_authority(actor="admin", certificate=root.der, at=at)
    imports.import_crl(actor="admin", crl=root.crl(number=41), at=at)
    with pytest.raises(StateError, match="CRL 41 of Old Root is here already"):
        _import(root.pem + root.key_pem, at, last_crl=_der(root.crl(number=40)))
    taken = _import(root.pem + root.key_pem, at)
    assert crl.publish(authority=taken, actor="admin", at=at).number == 42


def test_crl_of_another_ca_says_nothing_about_this_one(db: None, at: dt.datetime) -> None:
    root, namesake = certs.make_ca("Old Root"), certs.make_ca("Old Root")
    with pytest.raises(AuthorityError, match="Old Root did not sign this CRL"):
        _import(root.pem + root.key_pem, at, last_crl=_der(namesake.crl()))
    with pytest.raises(AuthorityError, match="18 digits"):
        _import(root.pem + root.key_pem, at, last_crl=_der(root.crl(number=10**18)))
    assert not CertificateAuthority.objects.exists()


def _der(found: x509.CertificateRevocationList) -> bytes:
    return found.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("extensions", "days", "sentence"),
    [
        ({"ca": False}, 9, "not a CA"),
        ({"cert_sign": False}, 9, "may not sign certificates"),
        ({"crl_sign": False}, 9, "may not sign CRLs"),
        ({"key_id": False}, 9, "no subject key identifier"),
        ({}, -1, "has expired"),
    ],
)
def test_import_refused(
    db: None, at: dt.datetime, extensions: dict[str, bool], days: int, sentence: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, at, days=days, **extensions)
    leaf = certs.Leaf(certificate, key)
    with pytest.raises(AuthorityError, match=sentence):
        _import(leaf.pem + leaf.key_pem, at)
    assert not CertificateAuthority.objects.exists()
    assert not PrivateKey.objects.exists()
    assert AuditEntry.objects.filter(action="authority.import.refused").count() == 1


def test_import_of_a_key_alone(db: None, at: dt.datetime) -> None:
    with pytest.raises(BadFileError, match="key alone"):
        _import(certs.make_ca("Root").key_pem, at)


def test_import_under_a_name_that_is_taken(pki: PKI, at: dt.datetime) -> None:
    stranger = certs.make_ca("Test Root")
    with pytest.raises(AuthorityError, match="test-root already"):
        _import(stranger.pem + stranger.key_pem, at, name="Test Root")
    assert _import(stranger.pem + stranger.key_pem, at).name.startswith("Test Root ")


# --- Signed by another organisation ---------------------------------------------------------


def _request(at: dt.datetime, **more: object) -> AuthorityRequest:
    given = {"actor": "admin", "name": "Staff CA", "at": at}
    return outside.request_authority(**(given | more))  # type: ignore[arg-type]


def _complete(
    request: AuthorityRequest, certificate: bytes, at: dt.datetime, chain: bytes = b""
) -> CertificateAuthority:
    """A minute later, for openssl has just signed."""
    later = at + dt.timedelta(minutes=1)
    return outside.complete_authority(
        actor="admin", request=request, certificate=certificate, chain=chain, at=later
    )


class Outside:
    """Another organisation's root, run with openssl."""

    def __init__(self, home: Path) -> None:
        self.home, self.root, self.key = home, home / "root.pem", home / "root.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key,
                "-out", self.root, "-subj", "/O=Elsewhere/CN=Elsewhere Root", "-days", "30",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def sign(self, csr: bytes, *, extensions: str = "") -> bytes:
        (self.home / "ca.csr").write_bytes(csr)
        (self.home / "ca.ext").write_text(
            extensions
            or "basicConstraints=critical,CA:TRUE,pathlen:0\n"
            "keyUsage=critical,keyCertSign,cRLSign,digitalSignature\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        openssl("x509", "-req", "-in", self.home / "ca.csr", "-CA", self.root, "-CAkey", self.key,
                "-days", "20", "-extfile", self.home / "ca.ext",
                "-out", self.home / "ca.pem")  # fmt: skip
        return (self.home / "ca.pem").read_bytes()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Outside:
    return Outside(tmp_path)


@pytest.mark.parametrize("algorithm", ["p256", "ed25519", "rsa3072"])
def test_intermediate_signed_by_an_outside_root(
    db: None, at: dt.datetime, elsewhere: Outside, algorithm: str, tmp_path: Path
) -> None:
    request = _request(at, algorithm=algorithm)
    (tmp_path / "asked.csr").write_bytes(outside.request_pem(request))
    shown = openssl("req", "-in", tmp_path / "asked.csr", "-noout", "-text", "-verify")
    assert "CA:TRUE, pathlen:0" in shown
    assert "Certificate Sign, CRL Sign" in shown
    signed = elsewhere.sign(outside.request_pem(request))
    authority = _complete(request, signed, at, chain=elsewhere.root.read_bytes())
    assert (authority.slug, authority.parent.slug) == ("staff-ca", "elsewhere-root")  # type: ignore[union-attr]
    assert authority.parent.certificate.is_outside  # type: ignore[union-attr]
    assert authority.crls.count() == 1
    assert not AuthorityRequest.objects.exists()
    leaf = make_server_certificate(authority, hosts=("localhost",))
    leaf_path = tmp_path / "leaf.pem"
    leaf_path.write_bytes(
        x509.load_der_x509_certificate(bytes(leaf.der)).public_bytes(Encoding.PEM)
    )
    openssl("verify", "-CAfile", elsewhere.root, "-untrusted", tmp_path / "ca.pem", leaf_path)
    with pytest.raises(StateError, match="completed or withdrawn"):
        _complete(request, signed, at)


def test_complete_with_the_certificate_of_another_key(
    db: None, at: dt.datetime, elsewhere: Outside
) -> None:
    ours, other = _request(at), _request(at, name="Other CA")
    signed = elsewhere.sign(outside.request_pem(other))
    with pytest.raises(AuthorityError, match="another key"):
        _complete(ours, signed, at, chain=elsewhere.root.read_bytes())
    assert AuthorityRequest.objects.count() == 2
    assert not CertificateAuthority.objects.exists()


@pytest.mark.parametrize(
    ("extensions", "sentence"),
    [
        ("basicConstraints=critical,CA:FALSE\n", "not a CA"),
        ("subjectAltName=DNS:example.org\n", "not a CA"),
        ("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\n", "sign certificates"),
        ("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n", "sign CRLs"),
    ],
)
def test_complete_with_what_is_no_ca(
    db: None, at: dt.datetime, elsewhere: Outside, extensions: str, sentence: str
) -> None:
    request = _request(at)
    signed = elsewhere.sign(outside.request_pem(request), extensions=extensions)
    with pytest.raises(AuthorityError, match=sentence):
        _complete(request, signed, at, chain=elsewhere.root.read_bytes())
    assert AuthorityRequest.objects.count() == 1


def test_complete_without_the_chain(db: None, at: dt.datetime, elsewhere: Outside) -> None:
    request = _request(at)
    signed = elsewhere.sign(outside.request_pem(request))
    with pytest.raises(AuthorityError, match="certificates of the CAs above"):
        _complete(request, signed, at)
    stranger = certs.make_ca("Elsewhere Root")
    with pytest.raises(AuthorityError, match="certificates of the CAs above"):
        _complete(request, signed, at, chain=stranger.pem)
    later = at + dt.timedelta(days=25)
    with pytest.raises(AuthorityError, match="has expired"):
        _complete(request, signed, later, chain=elsewhere.root.read_bytes())


def test_withdraw_request(db: None, at: dt.datetime) -> None:
    request = _request(at)
    outside.withdraw_request(actor="admin", request=request, at=at)
    assert not AuthorityRequest.objects.exists()
    assert not PrivateKey.objects.exists()
    with pytest.raises(StateError):
        outside.withdraw_request(actor="admin", request=request, at=at)


def test_name_of_a_request_is_taken(db: None, at: dt.datetime) -> None:
    _request(at)
    with pytest.raises(AuthorityError, match="staff-ca already"):
        authorities.create_authority(actor="admin", name="Staff CA", at=at)
    with pytest.raises(AuthorityError, match="path length"):
        _request(at, name="Deep CA", path_length=5)


def _pem(authority: CertificateAuthority) -> bytes:
    certificate = x509.load_der_x509_certificate(bytes(authority.certificate.der))
    return certificate.public_bytes(Encoding.PEM)


def _self_signed(
    key: ec.EllipticCurvePrivateKey,
    at: dt.datetime,
    *,
    days: int,
    ca: bool = True,
    cert_sign: bool = True,
    crl_sign: bool = True,
    key_id: bool = True,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Odd Root")])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(at - dt.timedelta(days=20))
        .not_valid_after(at + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=cert_sign,
                crl_sign=crl_sign,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
    )
    if key_id:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(key, SHA256())


# --- Renewed by another organisation --------------------------------------------------------


@pytest.fixture
def staff(db: None, at: dt.datetime, elsewhere: Outside) -> CertificateAuthority:
    signed = elsewhere.sign(outside.request_pem(_request(at)))
    return _complete(AuthorityRequest.objects.get(), signed, at, chain=elsewhere.root.read_bytes())


def _request_renewal(authority: CertificateAuthority, at: dt.datetime) -> AuthorityRequest:
    return outside.request_renewal(actor="admin", authority=authority, at=at)


def test_renewal_by_an_outside_root_keeps_name_key_and_what_was_signed(
    staff: CertificateAuthority, at: dt.datetime, elsewhere: Outside, tmp_path: Path
) -> None:
    before = staff.certificate
    leaf = make_server_certificate(staff, hosts=("localhost",), at=at + dt.timedelta(minutes=1))
    (tmp_path / "leaf.cer").write_bytes(bytes(leaf.der))
    request = _request_renewal(staff, at)
    with pytest.raises(StateError, match="already"):
        _request_renewal(staff, at)
    (tmp_path / "asked.csr").write_bytes(outside.request_pem(request))
    shown = openssl("req", "-in", tmp_path / "asked.csr", "-noout", "-text", "-verify")
    for words in ("CN = Staff CA", "CA:TRUE, pathlen:0", "Certificate Sign", "Subject Key Ident"):
        assert words in shown
    version = current_version()
    renewed = _complete(request, elsewhere.sign(outside.request_pem(request)), at)

    assert renewed == staff
    assert renewed.certificate != before
    assert renewed.certificate.key == before.key
    assert (renewed.certificate.is_outside, renewed.parent) == (True, staff.parent)
    assert current_version() > version
    assert not AuthorityRequest.objects.exists()
    entry = AuditEntry.objects.get(action="authority.renewed")
    assert entry.detail["before"] == before.sha256
    (tmp_path / "now.pem").write_bytes(_pem(renewed).strip())
    openssl("x509", "-in", tmp_path / "leaf.cer", "-inform", "DER", "-out", tmp_path / "leaf.pem")
    openssl(
        "verify", "-CAfile", elsewhere.root, "-untrusted", tmp_path / "now.pem", tmp_path / "leaf.pem"
    )  # fmt: skip
    assert make_server_certificate(renewed, hosts=("localhost",))
    crl.publish(authority=renewed, actor="admin", at=at + dt.timedelta(minutes=1))
    audit.verify()


def test_renewal_with_another_name_key_identifier_or_the_old_certificate(
    staff: CertificateAuthority, at: dt.datetime, elsewhere: Outside
) -> None:
    request, before = _request_renewal(staff, at), staff.certificate
    key = before.key
    assert key is not None
    other_name = keys.sign_request(outside._authority_csr("Other CA", 0), key=key)
    begin = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
    other_identifier = f"{begin}subjectKeyIdentifier=01:02:03\n"
    cases = [
        (elsewhere.sign(other_name.public_bytes(Encoding.PEM)), "under its own name"),
        (elsewhere.sign(outside.request_pem(request), extensions=other_identifier), "identifier"),
        (_pem(staff), "known here already"),
    ]
    for certificate, sentence in cases:
        with pytest.raises(AuthorityError, match=sentence):
            _complete(request, certificate, at)
    staff.refresh_from_db()
    assert staff.certificate == before
    assert AuthorityRequest.objects.count() == 1


def test_withdrawn_renewal_leaves_the_ca_its_key(
    staff: CertificateAuthority, at: dt.datetime
) -> None:
    request = _request_renewal(staff, at)
    outside.withdraw_request(actor="admin", request=request, at=at)
    assert not AuthorityRequest.objects.exists()
    assert crl.publish(authority=staff, actor="admin", at=at + dt.timedelta(minutes=1))


def test_renewal_of_a_ca_on_a_token_that_is_withdrawn_leaves_its_key_there(
    staff: CertificateAuthority, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects on a token do not come back when a transaction is rolled back."""
    destroyed: list[PrivateKey] = []
    monkeypatch.setattr(keys, "discard_key", destroyed.append)
    outside.withdraw_request(actor="admin", request=_request_renewal(staff, at), at=at)
    assert destroyed == []


def test_renewal_by_an_outside_root_does_not_undo_a_revocation(
    staff: CertificateAuthority, at: dt.datetime, elsewhere: Outside
) -> None:
    """Neither asked for before it nor after."""
    request, before = _request_renewal(staff, at), staff.certificate
    signed = elsewhere.sign(outside.request_pem(request))
    revoke(actor="admin", certificate=before, reason="certificateHold", at=at)
    with pytest.raises(AuthorityError, match="Release it first"):
        _complete(request, signed, at)
    revoke(actor="admin", certificate=before, reason="superseded", at=at)
    with pytest.raises(AuthorityError, match="has a new key"):
        _complete(request, signed, at)
    staff.refresh_from_db()
    assert staff.certificate == before
    outside.withdraw_request(actor="admin", request=request, at=at)
    with pytest.raises(AuthorityError, match="has a new key"):
        _request_renewal(staff, at)
    assert not AuthorityRequest.objects.exists()


def test_renewal_of_what_is_renewed_here_or_kept_elsewhere(pki: PKI, at: dt.datetime) -> None:
    for authority in (pki.root, pki.issuing):
        with pytest.raises(AuthorityError, match="renewed here"):
            _request_renewal(authority, at)
    stranger = certs.make_ca("Stranger")
    known = authorities.record_outside_authority(actor="admin", certificate=stranger.der, at=at)
    with pytest.raises(AuthorityError, match="renewed there"):
        _request_renewal(known, at)
    assert not AuthorityRequest.objects.exists()


# --- What is locked first -------------------------------------------------------------------


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_ca_that_is_renewed_is_locked_before_the_audit_trail(
    staff: CertificateAuthority, at: dt.datetime, tmp_path: Path
) -> None:
    """As whoever revokes does, also where the CA above is written down first."""
    request = _request_renewal(staff, at)
    (tmp_path / "other").mkdir()
    other = Outside(tmp_path / "other")
    signed, root = other.sign(outside.request_pem(request)), other.root.read_bytes()
    with transaction.atomic():
        crl.lock(staff)
        completing = held_up(lambda: _complete(request, signed, at, chain=root))
        audit.record(actor="admin", action="test.held", target="", detail={}, at=at)
    assert completing.result(30) == staff


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("held", [Certificate, CertificateAuthority])
def test_ca_that_gets_its_key_is_locked_before_the_audit_trail(
    at: dt.datetime, held: type[Certificate | CertificateAuthority]
) -> None:
    top, other = certs.make_ca("Top"), certs.make_ca("Other")
    below, crossed = top.make_ca("Below"), other.make_ca("Top", key=top.key)
    for ca in (top, below):
        known = authorities.record_outside_authority(actor="admin", certificate=ca.der, at=at)
    chain = crossed.pem + other.pem
    with transaction.atomic():
        list(held.objects.select_for_update(no_key=True))
        taking = held_up(lambda: _import(below.pem + below.key_pem, at, chain=chain))
        audit.record(actor="admin", action="test.held", target="", detail={}, at=at)
    assert taking.result(30) == known
