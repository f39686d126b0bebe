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

from pki import authorities, files, issuance, keys, lint, tbs
from pki import people as accounts
from pki.changes import current_version
from pki.description import partition_of
from pki.errors import (
    AuthorityError,
    BadFileError,
    KeyReuseError,
    LintError,
    MasterKeyMissingError,
    ProfileError,
    StateError,
)
from pki.models import (
    AuditEntry,
    Certificate,
    CertificateAuthority,
    CertificateProfile,
    PrivateKey,
)
from pki.revocation import revoke
from pki.signals import certificate_issued
from tests import certs
from tests.factories import (
    PKI,
    People,
    make_device,
    make_people,
    make_pki,
    make_server_certificate,
)
from tests.openssl import openssl

ONLY_EXAMPLE = x509.NameConstraints([x509.DNSName("example.org")], None)


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
        ({"owner": None}, "is for a person: say for whom"),
        ({"profile": "server"}, "People, and only people"),
        ({"profile": "root"}, "A root signs itself"),
        ({"authority": None}, "A root signs itself"),
        ({"profile": "intermediate", "owner": None}, "A CA needs a name"),
        ({"profile": "ocsp", "owner": None}, "An OCSP responder needs a name"),
        ({"name_constraints": ONLY_EXAMPLE}, "Name constraints are for CAs"),
        ({"renews": pki.issuing.certificate}, "Only a CA is renewed"),
        ({"path_length": 0}, "a leaf has no path length"),
        ({"validity": dt.timedelta(days=366)}, "admits 365 days"),
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


def test_retired_ca_signs_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    prepared = _prepare(pki, people, at)
    CertificateAuthority.objects.filter(pk=pki.issuing.pk).update(retired_at=at)
    with pytest.raises(AuthorityError, match="Test Issuing is retired"):
        issuance.issue(prepared)
    with pytest.raises(AuthorityError, match="retired"):
        _prepare(pki, people, at)
    assert not people.alice.certificates.exists()


def test_ca_below_a_retired_root_signs(pki: PKI, people: People, at: dt.datetime) -> None:
    """Retired is who issues nothing more; what was issued stays in force."""
    CertificateAuthority.objects.filter(pk=pki.root.pk).update(retired_at=at)
    assert issuance.issue(_prepare(pki, people, at))


def test_ca_below_a_revoked_root_signs_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    root = Certificate.objects.filter(pk=pki.root.certificate.pk)
    root.update(revoked_at=at, revocation_reason="cACompromise")
    with pytest.raises(AuthorityError, match="Test Root cannot sign: its certificate is revoked"):
        _prepare(pki, people, at)


def test_serial_that_was_given_before(
    pki: PKI, people: People, at: dt.datetime, monkeypatch
) -> None:
    """Nothing is changed, and the next attempt draws another number."""
    taken = make_device(people.alice, pki.issuing, at=at).certificate
    issued = AuditEntry.objects.filter(action="certificate.issued")
    before = issued.count()
    with monkeypatch.context() as patched:
        patched.setattr(tbs, "new_serial", lambda: int(taken.serial, 16))
        prepared = _prepare(pki, people, at)
    with pytest.raises(StateError, match=r"serial number that was drawn .* is taken"):
        issuance.issue(prepared)
    assert people.alice.certificates.get() == taken
    assert issued.count() == before
    assert issuance.issue(_prepare(pki, people, at))


def test_same_serial_of_two_cas_is_no_collision(
    pki: PKI, people: People, at: dt.datetime, monkeypatch
) -> None:
    other = authorities.create_authority(actor="a", name="Other", parent=pki.root, at=at)
    serial = tbs.new_serial()
    monkeypatch.setattr(tbs, "new_serial", lambda: serial)
    for authority in (pki.issuing, other):
        issuance.issue(_prepare(pki, people, at, authority=authority))
    assert people.alice.certificates.count() == 2


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


# --- Profiles -----------------------------------------------------------------------------------


def _edit(name: str, **changes: Any) -> None:
    assert CertificateProfile.objects.filter(name=name).update(**changes)


def test_profile_that_is_off(pki: PKI, people: People, at: dt.datetime) -> None:
    _edit("person", enabled=False)
    with pytest.raises(ProfileError, match="switched off"):
        _prepare(pki, people, at)


def test_edited_profile_counts_from_now_on(pki: PKI, people: People, at: dt.datetime) -> None:
    _edit("person", validity_days=7, key_types=["p384"])
    with pytest.raises(ProfileError, match=r"does not admit P-256 keys. Use one of: P-384"):
        _prepare(pki, people, at)
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    assert (issuance.issue(_prepare(pki, people, at, public_key=key)).not_after - at).days == 6


def test_who_signs_in_is_said_when_issued(pki: PKI, people: People, at: dt.datetime) -> None:
    person = issuance.issue(_prepare(pki, people, at))
    mail = issuance.issue(_prepare(pki, people, at, profile="mail"))
    code = issuance.issue(_prepare(pki, people, at, profile="code"))
    server = make_server_certificate(pki.issuing, at=at)
    assert [one.signs_in for one in (person, mail, code, server)] == [True, False, False, False]
    assert not pki.issuing.certificate.signs_in


@pytest.mark.parametrize(
    ("profile", "purpose", "usage"),
    [
        ("mail", "E-mail Protection", "Digital Signature, Key Agreement"),
        ("code", "Code Signing", "Digital Signature\n"),
    ],
)
def test_openssl_reads_mail_and_code(
    pki: PKI,
    people: People,
    at: dt.datetime,
    tmp_path: Path,
    profile: str,
    purpose: str,
    usage: str,
) -> None:
    certificate = issuance.issue(_prepare(pki, people, at, profile=profile))
    path = _write(tmp_path / "leaf.pem", certificate.der)
    shown = openssl("x509", "-in", path, "-noout", "-text")
    assert purpose in shown
    assert usage in shown
    assert "email:alice@example.org" in shown
    assert "Client Authentication" not in shown


def test_openssl_takes_a_mail_certificate_for_smime(
    pki: PKI, people: People, at: dt.datetime, tmp_path: Path
) -> None:
    leaf = issuance.issue(_prepare(pki, people, at, profile="mail"))
    assert "OK" in openssl(
        *("verify", "-x509_strict", "-purpose", "smimesign", "-verify_email", "alice@example.org"),
        *("-CAfile", _write(tmp_path / "root.pem", pki.root.certificate.der)),
        *("-untrusted", _write(tmp_path / "ca.pem", pki.issuing.certificate.der)),
        _write(tmp_path / "leaf.pem", leaf.der),
    )


def test_mail_needs_an_address(pki: PKI, people: People, at: dt.datetime) -> None:
    people.alice.email = ""
    with pytest.raises(ProfileError, match="needs an e-mail address, and Alice has none"):
        _prepare(pki, people, at, profile="mail")


def test_ocsp_responder(pki: PKI, at: dt.datetime, tmp_path: Path) -> None:
    """RFC 6960, 4.2.2.2: the CA's own word, and nowhere to ask about it."""
    prepared = issuance.prepare(
        actor="a",
        authority=pki.issuing,
        profile="ocsp",
        key=keys.create_key(algorithm="p256"),
        common_name="Test Issuing OCSP",
        at=at,
    )
    path = _write(tmp_path / "ocsp.pem", issuance.issue(prepared).der)
    shown = openssl("x509", "-in", path, "-noout", "-text")
    assert "OCSP Signing" in shown
    assert "OCSP No Check" in shown
    assert "CA Issuers" in shown
    assert "CRL Distribution" not in shown
    assert "OCSP - URI" not in shown


def test_limit_per_person(pki: PKI, people: People, at: dt.datetime) -> None:
    _edit("person", per_person=2)
    first = make_device(people.alice, pki.issuing, at=at).certificate
    late = _prepare(pki, people, at)
    make_device(people.alice, pki.issuing, at=at)
    with pytest.raises(ProfileError, match="has 2 valid certificates of profile 'person'"):
        _prepare(pki, people, at)
    with pytest.raises(ProfileError, match="has 2 valid certificates"):
        issuance.issue(late)  # prepared while there was room
    assert issuance.issue(_prepare(pki, people, at, owner=people.bob))
    assert issuance.issue(_prepare(pki, people, at, profile="mail"))
    revoke(actor="alice", certificate=first, reason="superseded", at=at)
    assert issuance.issue(_prepare(pki, people, at))


def test_validity_is_shortened_only(pki: PKI, people: People, at: dt.datetime) -> None:
    short = issuance.issue(_prepare(pki, people, at, validity=dt.timedelta(days=2)))
    assert (short.not_after - at).days == 1


# --- CAs ----------------------------------------------------------------------------------------


def _prepare_ca(pki: PKI, at: dt.datetime, **changes: Any) -> issuance.Prepared:
    fields: dict[str, Any] = {
        "actor": "admin",
        "authority": pki.root,
        "profile": "intermediate",
        "common_name": "New CA",
        "at": at,
    }
    if "key" not in changes:
        fields["key"] = keys.create_key(algorithm="p256")
    return issuance.prepare(**(fields | changes))


def _found(certificate: Certificate, name: str, parent: CertificateAuthority | None) -> Any:
    return CertificateAuthority.objects.create(
        name=name, slug=name.lower(), parent=parent, certificate=certificate
    )


def test_path_length_stands_for_that_of_the_profile(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(LintError, match="path_length: is not below that of the CA"):
        _prepare_ca(pki, at, path_length=1)
    root = issuance.issue(
        _prepare_ca(pki, at, authority=None, profile="root", common_name="Deep", path_length=2)
    )
    deep = _found(root, "Deep", None)
    middle = issuance.issue(_prepare_ca(pki, at, authority=deep, path_length=1))
    value = x509.load_der_x509_certificate(bytes(middle.der)).extensions
    assert value.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    with pytest.raises(ProfileError, match="path length of 0 to 4"):
        _prepare_ca(pki, at, path_length=5)


def test_ca_at_the_end_of_its_path_signs_no_ca(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(LintError, match="path_length"):
        _prepare_ca(pki, at, authority=pki.issuing)


def test_name_constraints(pki: PKI, people: People, at: dt.datetime, tmp_path: Path) -> None:
    """Critical, seen by openssl, and kept by what the CA signs, also two levels down."""
    row = issuance.issue(_prepare_ca(pki, at, name_constraints=ONLY_EXAMPLE))
    ca = _found(row, "Bound", pki.root)
    path = _write(tmp_path / "ca.pem", row.der)
    shown = openssl("x509", "-in", path, "-noout", "-ext", "nameConstraints")
    assert "Name Constraints: critical" in shown
    assert "DNS:example.org" in shown

    make_server_certificate(ca, hosts=("chat.example.org",), at=at)
    with pytest.raises(LintError, match=r"elsewhere.net is not permitted by the name constraints"):
        make_server_certificate(ca, hosts=("elsewhere.net",), at=at)


def test_name_constraints_of_a_ca_further_up(pki: PKI, at: dt.datetime) -> None:
    root = issuance.issue(
        _prepare_ca(
            pki,
            at,
            authority=None,
            profile="root",
            common_name="Top",
            name_constraints=ONLY_EXAMPLE,
        )
    )
    top = _found(root, "Top", None)
    below = _found(issuance.issue(_prepare_ca(pki, at, authority=top)), "Below", top)
    with pytest.raises(LintError, match="names_within_constraints"):
        make_server_certificate(below, hosts=("elsewhere.net",), at=at)


def test_renewal_of_a_ca_with_its_key(
    pki: PKI, people: People, at: dt.datetime, tmp_path: Path
) -> None:
    """Leaves of the old certificate are verified with the new one."""
    leaf = make_device(people.alice, pki.issuing, at=at).certificate
    old = pki.issuing.certificate
    with pytest.raises(KeyReuseError):
        _prepare_ca(pki, at, key=old.key)
    new = issuance.issue(_prepare_ca(pki, at, key=old.key, renews=old, common_name=""))
    assert (new.subject, new.spki_sha256) == (old.subject, old.spki_sha256)
    assert new.serial != old.serial
    assert "OK" in openssl(
        *("verify", "-x509_strict", "-CAfile", _write(tmp_path / "r", pki.root.certificate.der)),
        *("-untrusted", _write(tmp_path / "ca", new.der), _write(tmp_path / "leaf", leaf.der)),
    )
    again = issuance.issue(_prepare_ca(pki, at, key=old.key, renews=new))
    assert again.subject == old.subject


def test_renewal_takes_no_key_of_another_ca(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(KeyReuseError, match="belongs to somebody else"):
        _prepare_ca(pki, at, key=pki.root.certificate.key, renews=pki.issuing.certificate)
    revoke(actor="a", certificate=pki.issuing.certificate, reason="keyCompromise", at=at)
    with pytest.raises(KeyReuseError, match="lost or stolen"):
        _prepare_ca(pki, at, key=pki.issuing.certificate.key, renews=pki.issuing.certificate)


def test_partition_is_named_by_the_certificate(pki: PKI, people: People, at: dt.datetime) -> None:
    CertificateAuthority.objects.filter(pk=pki.issuing.pk).update(crl_partitions=3)
    pki.issuing.refresh_from_db()
    seen = set()
    for _ in range(12):
        device = make_device(people.alice, pki.issuing, at=at)
        points = device.x509.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        [url] = [name.value for point in points for name in point.full_name]
        partition = 1 + int(device.certificate.serial, 16) % 3
        assert partition_of(device.certificate.serial, 3) == partition
        assert url == f"http://localhost:8080/crl/test-issuing-{partition}.crl"
        seen.add(partition)
    assert len(seen) > 1


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


@pytest.mark.parametrize("reason", ["keyCompromise", "cACompromise"])
def test_stolen_key_is_never_certified_again(
    pki: PKI, people: People, at: dt.datetime, reason: str
) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    revoke(actor="alice", certificate=device.certificate, reason=reason, at=at)
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


def test_csr_is_told_what_it_does_not_get(pki: PKI, people: People, at: dt.datetime) -> None:
    csr = certs.make_csr(
        "admin",
        extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)],
    )
    prepared = _prepare(pki, people, at, csr=csr)
    assert prepared.differences == (
        "The request asks for the subject CN=admin, which the certificate will not have.",
        "The request asks for the purpose serverAuth, which the certificate will not have.",
    )
    assert _prepare(pki, people, at).differences == ()
    assert _prepare(pki, people, at, csr=certs.make_csr("alice")).differences == ()


def test_profile_that_refuses_excess(pki: PKI, people: People, at: dt.datetime) -> None:
    _edit("person", excess="refuse")
    assert issuance.issue(_prepare(pki, people, at, csr=certs.make_csr("alice")))
    with pytest.raises(ProfileError, match=r"refuses requests that ask for more.*subject CN=admin"):
        _prepare(pki, people, at, csr=certs.make_csr("admin"))


def test_server_request_for_its_own_hosts(pki: PKI, at: dt.datetime) -> None:
    hosts = ["a.example.org", "b.example.org"]
    csr = certs.make_csr(
        hosts[0],
        extensions=[(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), False)],
    )
    fields: dict[str, Any] = {"actor": "a", "authority": pki.issuing, "profile": "server"}
    assert issuance.prepare(**fields, csr=csr, hosts=hosts, at=at).differences == ()
    [difference] = issuance.prepare(**fields, csr=csr, hosts=hosts[:1], at=at).differences
    assert "b.example.org" in difference


@pytest.mark.django_db(transaction=True)
def test_refusals_are_recorded(at: dt.datetime) -> None:
    pki, people = make_pki(at=at), make_people()
    with pytest.raises(ProfileError):
        _prepare(pki, people, at, public_key=rsa.generate_private_key(3, 2048).public_key())
    entry = AuditEntry.objects.get(action="certificate.issue.refused")
    assert entry.actor == "admin"
    assert "public exponent" in entry.detail["reason"]
    prepared = _prepare(pki, people, at)
    issuance.issue(prepared)
    with pytest.raises(ProfileError):
        issuance.issue(prepared)
    assert AuditEntry.objects.filter(action="certificate.issue.refused").count() == 2


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
