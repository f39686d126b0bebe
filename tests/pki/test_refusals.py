"""What must not be issued: refused by the outermost verb, recorded, and nothing else changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.core.files.uploadedfile import SimpleUploadedFile

from pki import (
    certification,
    enrolment,
    issuance,
    revocation,
    succession,
    tbs,
    truststore,
    weak_keys,
)
from pki.errors import (
    AuthorityError,
    KeyReuseError,
    NotAllowedError,
    ProfileError,
    StateError,
)
from pki.handout import Format
from pki.models import CertificateProfile, CertificationRequest, User
from tests import certs, rsa_keys
from tests.client import Visitor
from tests.factories import PKI, People, make_device, make_person
from tests.refusals import refused, refused_entries, state

CSR = x509.CertificateSigningRequest


def submit(
    owner: User, csr: CSR, at: dt.datetime, *, device: str = "laptop"
) -> CertificationRequest:
    return certification.submit(
        actor=owner.username,
        requester=owner,
        profile="person",
        csr=csr,
        owner=owner,
        device=device,
        at=at,
    )


def approve(approver: User, request: CertificationRequest, at: dt.datetime) -> object:
    return certification.approve(actor=approver.username, approver=approver, request=request, at=at)


def approvals(number: int) -> None:
    assert CertificateProfile.objects.filter(name="person").update(approvals=number)


# --- Requests -------------------------------------------------------------------------------


def named(text: str, *names: x509.GeneralName) -> CSR:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(certs.make_key(), SHA256())


@cache
def many_names() -> CSR:
    return named("alice", *(x509.DNSName(f"h{number}.example") for number in range(10_000)))


@cache
def long_subject() -> CSR:
    return named("a" * 2**20)


def badly_signed() -> CSR:
    der = bytearray(named("alice").public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der))


def asking(extension: x509.ExtensionType) -> CSR:
    return certs.make_csr("alice", extensions=[(extension, True)])


def of_key(key: rsa.RSAPrivateKey) -> CSR:
    return certs.make_csr("alice", key=key)


REQUESTS: dict[str, tuple[Callable[[], CSR], str]] = {
    "CA flag": (lambda: asking(x509.BasicConstraints(True, None)), "asks to be a CA"),
    "keyCertSign": (lambda: asking(certs._usage(key_cert_sign=True)), "asks to be a CA"),
    "10,000 names": (many_names, "too large: more than 64 KiB"),
    "subject of a megabyte": (long_subject, "too large: more than 64 KiB"),
    "wrong signature": (badly_signed, "signature of this request does not match its key"),
    "NUL in the subject": (lambda: named("alice\0.evil"), "invisible characters in a name"),
    "right-to-left subject": (lambda: named("alice\u202eevil"), "invisible characters in a name"),
    "NUL in a name": (
        lambda: named("alice", x509.DNSName("a\0b.example")),
        "invisible characters in a name",
    ),
    "RSA with 1024 bits": (
        lambda: of_key(rsa.generate_private_key(65537, 1024)),
        "RSA keys need 2048",
    ),
    "exponent 3": (lambda: of_key(rsa.generate_private_key(3, 2048)), "exponent"),
    "ROCA": (lambda: of_key(rsa_keys.roca_key()), "CVE-2017-15361"),
    "primes close together": (lambda: of_key(rsa_keys.close_primes_key()), "close together"),
}


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize(("make", "sentence"), REQUESTS.values(), ids=REQUESTS.keys())
def test_request_is_refused(
    pki: PKI, alice: User, at: dt.datetime, make: Callable[[], CSR], sentence: str
) -> None:
    csr = make()
    with refused(ProfileError, sentence, action="request.submit", actor="alice"):
        submit(alice, csr, at)


def test_listed_key_is_refused(pki: PKI, alice: User, at: dt.datetime, settings, tmp_path) -> None:
    """As Debian's keys of 2006 to 2008, which are shipped as such lists."""
    key = rsa.generate_private_key(65537, 2048)
    listed = tmp_path / "blacklist.RSA-2048"
    listed.write_text(f"{weak_keys.fingerprint(key.public_key().public_numbers().n)}\n")
    settings.SIGNET_WEAK_KEYS = str(tmp_path)
    with refused(ProfileError, "CVE-2008-0166", action="request.submit", actor="alice"):
        submit(alice, of_key(key), at)
    settings.SIGNET_WEAK_KEYS = ""
    assert submit(alice, of_key(key), at).certificate  # it was the list alone


OTHER_DOORS: dict[str, Callable[..., object]] = {
    "console or command": lambda user, csr, at: enrolment.hand_out(
        actor="alice", user=user, device="laptop", format=Format.PEM, password="", csr=csr, at=at
    ),
    "enrolment link": lambda user, csr, at: enrolment.redeem_with_csr(
        token=enrolment.invite(actor="alice", user=user, device="laptop", at=at)[1], csr=csr, at=at
    ),
}


@pytest.mark.parametrize("door", OTHER_DOORS.values(), ids=OTHER_DOORS.keys())
def test_request_is_refused_at_every_door(
    pki: PKI, alice: User, at: dt.datetime, door: Callable[..., object]
) -> None:
    before = state()
    for make, sentence in (REQUESTS["CA flag"], REQUESTS["wrong signature"]):
        with pytest.raises(ProfileError, match=sentence):
            door(alice, make(), at)
        newest = refused_entries()[-1]
        assert newest.actor == "alice"
        assert sentence in newest.detail["reason"]
    assert len(refused_entries()) == 2
    assert state() == before


@pytest.mark.parametrize("kind", ["10,000 names", "subject of a megabyte", "CA flag"])
def test_page_for_requests_says_why(pki: PKI, alice: User, kind: str) -> None:
    visitor = Visitor(make_device(alice, pki.issuing).chain)
    before, (make, _) = state(), REQUESTS[kind]
    file = SimpleUploadedFile("a.csr", make().public_bytes(Encoding.DER))
    fields = {"profile": "person", "device": "phone", "file": file}
    page = visitor.post("/devices/requests/", fields)
    sentence = "asks to be a CA" if kind == "CA flag" else "too large"
    assert page.status_code == 400
    assert sentence in page.content.decode()
    [entry] = refused_entries()
    assert (entry.action, entry.actor) == ("request.submit.refused", "alice")
    assert sentence in entry.detail["reason"]
    assert state() == before


# --- Keys and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("is_waiting", [False, True], ids=["issued", "waiting"])
def test_one_key_for_two_people(
    pki: PKI, people: People, at: dt.datetime, is_waiting: bool
) -> None:
    approvals(int(is_waiting))
    csr = certs.make_csr("whoever")
    submit(people.alice, csr, at)
    with refused(KeyReuseError, "somebody else", action="request.submit", actor="bob"):
        submit(people.bob, csr, at)


def test_key_that_was_reported_stolen(pki: PKI, alice: User, at: dt.datetime) -> None:
    csr = certs.make_csr("alice")
    certificate = submit(alice, csr, at).certificate
    assert certificate
    revocation.revoke(actor="alice", certificate=certificate, reason="keyCompromise", at=at)
    with refused(KeyReuseError, "lost or stolen", action="request.submit", actor="alice"):
        submit(alice, csr, at)


def test_serial_number_drawn_twice(pki: PKI, alice: User, at: dt.datetime, monkeypatch) -> None:
    serial = tbs.new_serial()
    monkeypatch.setattr(tbs, "new_serial", lambda: serial)
    submit(alice, certs.make_csr("alice"), at)
    with refused(StateError, "serial number", action="request.submit", actor="alice"):
        submit(alice, certs.make_csr("alice"), at, device="phone")


# --- Who and when ---------------------------------------------------------------------------


def test_requester_approves_nothing_of_their_own(pki: PKI, people: People, at: dt.datetime) -> None:
    """Not even an administrator with every right."""
    approvals(1)
    request = submit(people.admin, certs.make_csr("admin"), at)
    with refused(
        NotAllowedError, "somebody else must approve", action="request.approve", actor="admin"
    ):
        approve(people.admin, request, at)
    chief = make_person("chief", is_staff=True, is_superuser=True)
    approve(chief, request, at)  # it was the person alone


def test_one_person_gives_no_two_approvals(pki: PKI, people: People, at: dt.datetime) -> None:
    approvals(2)
    request = submit(people.alice, certs.make_csr("alice"), at)
    approve(people.admin, request, at)
    with refused(StateError, "somebody else too", action="request.approve", actor="admin"):
        approve(people.admin, request, at)


def test_stranger_approves_nothing(pki: PKI, people: People, at: dt.datetime) -> None:
    approvals(1)
    request = submit(people.alice, certs.make_csr("alice"), at)
    with refused(NotAllowedError, "may not decide", action="request.approve", actor="bob"):
        approve(people.bob, request, at)


def test_retired_ca_issues_nothing(pki: PKI, alice: User, at: dt.datetime) -> None:
    succession.retire_authority(actor="admin", authority=pki.issuing, is_last_one_too=True, at=at)
    with refused(AuthorityError, "is retired", action="certificate.issue", actor="tests"):
        make_device(alice, pki.issuing, at=at)
    with refused(AuthorityError, "No CA may issue", action="request.submit", actor="alice"):
        submit(alice, certs.make_csr("alice"), at)


def test_ca_that_retires_between_decision_and_signature(
    pki: PKI, alice: User, at: dt.datetime
) -> None:
    prepared = issuance.prepare(
        actor="alice",
        authority=pki.issuing,
        profile="person",
        public_key=certs.make_key().public_key(),
        owner=alice,
        device="laptop",
        at=at,
    )
    succession.retire_authority(actor="admin", authority=pki.issuing, is_last_one_too=True, at=at)
    with refused(AuthorityError, "is retired", action="certificate.issue", actor="alice"):
        issuance.issue(prepared)


def test_anchor_is_not_added_twice(pki: PKI, at: dt.datetime) -> None:
    with refused(AuthorityError, "already", action="anchor.add", actor="admin"):
        truststore.add_anchor(actor="admin", truststore=pki.truststore, authority=pki.root, at=at)
