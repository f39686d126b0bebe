"""OCSP, judged by openssl and by cryptography's reader."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pki import ocsp as ours
from pki import responder
from pki.changes import announce_change
from pki.errors import MasterKeyMissingError
from pki.models import Certificate, CertificateAuthority
from pki.ocsp import respond
from pki.revocation import release, revoke
from pki.signals import trust_changed
from tests import certs
from tests.factories import PKI, Device, People, make_device
from tests.openssl import openssl

Status = ocsp.OCSPResponseStatus
SERIAL = 0x5A6B7C8D9E0F1A2B3C4D5E6F7A8B9C0D1E2F3A4B


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    ours.cache.clear()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is in memory ages as the test says, however long the test takes."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(ours, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def device(pki: PKI, people: People, at: dt.datetime) -> Device:
    return make_device(people.alice, pki.issuing, at=at)


def _issuer(pki: PKI) -> x509.Certificate:
    return x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der))


def _question(
    pki: PKI,
    device: Device,
    *,
    algorithm: hashes.HashAlgorithm | None = None,
    extension: tuple[x509.ExtensionType, bool] | None = None,
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        device.x509, _issuer(pki), algorithm or hashes.SHA1()
    )
    if extension:
        builder = builder.add_extension(extension[0], critical=extension[1])
    return builder.build().public_bytes(Encoding.DER)


def _ask(pki: PKI, question: bytes, at: dt.datetime) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(respond(question, authority=pki.issuing, at=at))


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["SHA-1", "SHA-256"])
def test_good(pki: PKI, device: Device, at: dt.datetime, algorithm: hashes.HashAlgorithm) -> None:
    answer = _ask(pki, _question(pki, device, algorithm=algorithm), at)
    assert answer.response_status is Status.SUCCESSFUL
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.serial_number == device.x509.serial_number
    assert isinstance(answer.hash_algorithm, type(algorithm))
    assert answer.this_update_utc == at
    assert answer.next_update_utc == at + dt.timedelta(hours=1)
    assert len(answer.extensions) == 0


def test_revoked(pki: PKI, device: Device, at: dt.datetime) -> None:
    question = _question(pki, device)
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.GOOD
    revoke(actor="alice", certificate=device.certificate, reason="keyCompromise", at=at)
    answer = _ask(pki, question, at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise
    assert answer.revocation_time_utc == at


def test_revoked_without_reason(pki: PKI, device: Device, at: dt.datetime) -> None:
    revoke(actor="alice", certificate=device.certificate, reason="unspecified", at=at)
    answer = _ask(pki, _question(pki, device), at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is None


def test_unknown_serial_is_never_good(pki: PKI, device: Device, at: dt.datetime) -> None:
    known = ocsp.load_der_ocsp_request(_question(pki, device))
    stranger = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, known.serial_number + 1, hashes.SHA1()
    )
    answer = _ask(pki, stranger.build().public_bytes(Encoding.DER), at)
    assert answer.response_status is Status.SUCCESSFUL
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_serial_of_another_ca_is_unknown(pki: PKI, device: Device, at: dt.datetime) -> None:
    """The issuing CA's own serial belongs to the root, which is asked elsewhere."""
    known = ocsp.load_der_ocsp_request(_question(pki, device))
    other = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, _issuer(pki).serial_number, hashes.SHA1()
    )
    answer = _ask(pki, other.build().public_bytes(Encoding.DER), at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("length", [1, 16, 32, 128])
@pytest.mark.parametrize("critical", [True, False])
def test_nonce_is_echoed(
    pki: PKI, device: Device, at: dt.datetime, length: int, critical: bool
) -> None:
    nonce = x509.OCSPNonce(b"n" * length)
    answer = _ask(pki, _question(pki, device, extension=(nonce, critical)), at)
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value == nonce


@pytest.mark.parametrize("length", [0, 129, 200])
def test_nonce_of_bad_length(pki: PKI, device: Device, at: dt.datetime, length: int) -> None:
    question = _question(pki, device, extension=(x509.OCSPNonce(b"n" * length), False))
    assert _ask(pki, question, at).response_status is Status.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("critical", "status"), [(False, Status.SUCCESSFUL), (True, Status.MALFORMED_REQUEST)]
)
def test_unknown_extension(
    pki: PKI, device: Device, at: dt.datetime, critical: bool, status: Status
) -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    question = _question(pki, device, extension=(odd, critical))
    assert _ask(pki, question, at).response_status is status


def test_question_about_another_ca(pki: PKI, device: Device, at: dt.datetime) -> None:
    """Same name, same serial, other key: not ours to say."""
    twin = certs.make_ca("Test Issuing")
    stranger = twin.issue("alice", serial=device.x509.serial_number)
    question = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(stranger.certificate, twin.certificate, hashes.SHA256())
        .build()
        .public_bytes(Encoding.DER)
    )
    assert _ask(pki, question, at).response_status is Status.UNAUTHORIZED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda der: b"",
        lambda der: b"\x30\x00",
        lambda der: b"GET / HTTP/1.1",
        lambda der: der[:-1],
        lambda der: der + b"\0",
        lambda der: der + b"\0" * 5000,
        lambda der: b"\x30\x84\xff\xff\xff\xff" + der,
    ],
    ids=["empty", "hollow", "text", "short", "long", "huge", "lying"],
)
def test_malformed(
    pki: PKI, device: Device, at: dt.datetime, spoil: Callable[[bytes], bytes]
) -> None:
    question = spoil(_question(pki, device))
    assert _ask(pki, question, at).response_status is Status.MALFORMED_REQUEST


def test_every_flipped_byte_is_answered(pki: PKI, device: Device, at: dt.datetime) -> None:
    question = _question(pki, device)
    for position in range(len(question)):
        spoilt = bytearray(question)
        spoilt[position] ^= 0xFF
        answer = _ask(pki, bytes(spoilt), at)
        if answer.response_status is Status.SUCCESSFUL:
            assert answer.serial_number != device.x509.serial_number
            assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"\x00", Status.SUCCESSFUL),
        (b"\x7f" * 20, Status.SUCCESSFUL),
        (b"\x00" + b"\xff" * 20, Status.SUCCESSFUL),
        (b"\xff", Status.MALFORMED_REQUEST),
        (b"\x7f" * 21, Status.MALFORMED_REQUEST),
    ],
    ids=["zero", "long", "longest", "negative", "too long"],
)
def test_odd_serials(
    pki: PKI, device: Device, at: dt.datetime, octets: bytes, status: Status
) -> None:
    known = ocsp.load_der_ocsp_request(_question(pki, device))
    answer = _ask(pki, _bare_question(known, octets), at)
    assert answer.response_status is status
    if status is Status.SUCCESSFUL:
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def _bare_question(known: ocsp.OCSPRequest, serial: bytes) -> bytes:
    """A request with any serial number, in DER by hand (all lengths below 128)."""

    def tlv(tag: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return bytes([tag, len(content)]) + content

    sha1 = bytes.fromhex("300906052b0e03021a0500")
    name, key = tlv(4, known.issuer_name_hash), tlv(4, known.issuer_key_hash)
    certificate_id = tlv(0x30, sha1, name, key, tlv(2, serial))
    return tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, certificate_id))))


def test_without_master_key(
    pki: PKI, device: Device, at: dt.datetime, settings, tmp_path: Path
) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    with pytest.raises(MasterKeyMissingError):
        respond(_question(pki, device), authority=pki.issuing, at=at)


def test_openssl_agrees(pki: PKI, device: Device, at: dt.datetime, tmp_path: Path) -> None:
    """openssl asks and reads; it holds the root alone and checks the signature."""
    root = x509.load_der_x509_certificate(bytes(pki.root.certificate.der))
    for name, certificate in (("root", root), ("ca", _issuer(pki)), ("alice", device.x509)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    whom = ("-issuer", tmp_path / "ca.pem", "-cert", tmp_path / "alice.pem")

    def verdict(*hashing: str) -> str:
        openssl("ocsp", *hashing, *whom, "-reqout", tmp_path / "q.der")
        answer = respond((tmp_path / "q.der").read_bytes(), authority=pki.issuing, at=at)
        (tmp_path / "a.der").write_bytes(answer)
        return openssl(
            *("ocsp", "-no_nonce", *hashing, *whom, "-reqin", tmp_path / "q.der"),
            *("-respin", tmp_path / "a.der", "-CAfile", tmp_path / "root.pem"),
        )

    for hashing in ((), ("-sha256",)):
        shown = verdict(*hashing)
        assert "Response verify OK" in shown
        assert "alice.pem: good" in shown
        assert "WARNING" not in shown
    revoke(actor="alice", certificate=device.certificate, reason="keyCompromise", at=at)
    shown = verdict()
    assert "alice.pem: revoked" in shown
    assert "Reason: keyCompromise" in shown


def test_openssl_asking_for_two_at_once(
    pki: PKI, device: Device, at: dt.datetime, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(_issuer(pki).public_bytes(Encoding.PEM))
    path = tmp_path / "q.der"
    openssl(
        *("ocsp", "-issuer", tmp_path / "ca.pem", "-serial", "1", "-serial", "2"),
        *("-reqout", path),
    )
    assert _ask(pki, path.read_bytes(), at).response_status is Status.UNAUTHORIZED


# --- The responder ----------------------------------------------------------------------------


def _delegate(pki: PKI, at: dt.datetime) -> Certificate:
    made = responder.renew(actor="tests", authority=pki.issuing, at=at)
    pki.issuing.refresh_from_db()
    return made


@pytest.mark.parametrize("status", ["good", "revoked", "unknown"])
@pytest.mark.parametrize("hashing", [(), ("-sha256",)], ids=["SHA-1", "SHA-256"])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_openssl_accepts_a_delegated_signer_by_its_chain(
    pki: PKI,
    device: Device,
    at: dt.datetime,
    tmp_path: Path,
    status: str,
    hashing: tuple[str, ...],
    nonce: str,
) -> None:
    """It holds the root alone; the CA is named as the issuer, the responder by nobody."""
    _delegate(pki, at)
    root = x509.load_der_x509_certificate(bytes(pki.root.certificate.der))
    for name, certificate in (("root", root), ("ca", _issuer(pki))):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    serial = device.x509.serial_number + (status == "unknown")
    if status == "revoked":
        revoke(actor="a", certificate=device.certificate, reason="affiliationChanged", at=at)
    whom = ("-issuer", tmp_path / "ca.pem", "-serial", hex(serial))
    openssl("ocsp", *hashing, nonce, *whom, "-reqout", tmp_path / "q.der")
    answer = respond((tmp_path / "q.der").read_bytes(), authority=pki.issuing, at=at)
    (tmp_path / "a.der").write_bytes(answer)
    shown = openssl(
        *("ocsp", "-no_nonce", *hashing, *whom, "-reqin", tmp_path / "q.der"),
        *("-respin", tmp_path / "a.der", "-CAfile", tmp_path / "root.pem"),
    )
    assert "Response verify OK" in shown
    assert "WARNING" not in shown  # the nonce came back
    assert f": {status}" in shown
    assert ("Reason: affiliationChanged" in shown) is (status == "revoked")
    (signer,) = ocsp.load_der_ocsp_response(answer).certificates
    assert signer != _issuer(pki)


def test_the_responder_is_named_by_its_key(pki: PKI, device: Device, at: dt.datetime) -> None:
    made = x509.load_der_x509_certificate(bytes(_delegate(pki, at).der))
    answer = _ask(pki, _question(pki, device), at)
    key_id = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert answer.responder_name is None
    assert answer.responder_key_hash == key_id
    assert answer.certificates == [made]


def test_an_answer_does_not_outlive_who_signed_it(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    ends = _delegate(pki, at).not_after
    answer = _ask(pki, _question(pki, device), ends - dt.timedelta(minutes=10))
    assert answer.next_update_utc == ends


def test_an_expired_ca_says_nothing_more(pki: PKI, device: Device, at: dt.datetime) -> None:
    question, ends = _question(pki, device), pki.issuing.certificate.not_after
    assert _ask(pki, question, ends).response_status is Status.SUCCESSFUL
    late = ends + dt.timedelta(seconds=1)
    assert _ask(pki, question, late).response_status is Status.UNAUTHORIZED


def test_an_expired_certificate_is_still_answered(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    for moment in (at - dt.timedelta(hours=1), device.certificate.not_after + dt.timedelta(1)):
        answer = _ask(pki, _question(pki, device), moment)
        assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD


def test_a_hash_nobody_uses(pki: PKI, device: Device, at: dt.datetime) -> None:
    question = _question(pki, device, algorithm=hashes.SHA384())
    assert _ask(pki, question, at).response_status is Status.UNAUTHORIZED


def test_hold_and_release(pki: PKI, device: Device, at: dt.datetime) -> None:
    question = _question(pki, device)
    revoke(actor="a", certificate=device.certificate, reason="certificateHold", at=at)
    answer = _ask(pki, question, at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.certificate_hold
    release(actor="a", certificate=device.certificate, at=at)
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.GOOD


# --- What is kept -----------------------------------------------------------------------------


def _ask_memory(pki: PKI, question: bytes, at: dt.datetime) -> ocsp.OCSPCertStatus | None:
    found = ours.answer_from_memory(question, slug=pki.issuing.slug, at=at)
    return found and ocsp.load_der_ocsp_response(found.der).certificate_status


def test_an_answer_is_signed_once_for_half_its_life(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    question, half = _question(pki, device), dt.timedelta(minutes=30)
    first = respond(question, authority=pki.issuing, at=at)
    assert respond(question, authority=pki.issuing, at=at + half - dt.timedelta(0, 1)) == first
    assert _ask(pki, question, at + half).this_update_utc == at + half


def test_an_answer_of_the_future_is_signed_anew_once_the_clock_is_right(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    question = _question(pki, device)
    for ahead in (dt.timedelta(minutes=1), dt.timedelta(days=30)):
        ours.cache.clear()
        assert _ask(pki, question, at + ahead).this_update_utc == at + ahead
        assert ours.answer_from_memory(question, slug=pki.issuing.slug, at=at) is None
        assert _ask(pki, question, at).this_update_utc == at


def test_a_responder_of_the_future_signs_nothing_now(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    question, ahead = _question(pki, device), at + dt.timedelta(days=30)
    _delegate(pki, ahead)
    assert _ask(pki, question, ahead).certificates
    assert not _ask(pki, question, at).certificates


def test_what_is_signed_ahead_replaces_answers_of_the_future(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    minute = dt.timedelta(minutes=1)
    signed = ours.sign_ahead(at=at + minute, seconds=60)
    assert signed
    assert ours.sign_ahead(at=at, seconds=60) == signed


def test_what_was_revoked_in_the_future_is_revoked_now(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    revoke(
        actor="alice",
        certificate=device.certificate,
        reason="superseded",
        at=at + dt.timedelta(days=30),
    )
    answer = _ask(pki, _question(pki, device), at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_time_utc == at


def test_an_answer_that_still_holds_is_not_signed_again_after_a_change(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    question = _question(pki, device)
    first = respond(question, authority=pki.issuing, at=at)
    announce_change()
    assert _ask_memory(pki, question, at) is ocsp.OCSPCertStatus.GOOD  # not told yet
    assert respond(question, authority=pki.issuing, at=at) == first
    trust_changed.send(sender=None)
    assert _ask_memory(pki, question, at) is None
    assert respond(question, authority=pki.issuing, at=at) == first


def test_a_new_responder_signs_anew(pki: PKI, device: Device, at: dt.datetime) -> None:
    first = respond(_question(pki, device), authority=pki.issuing, at=at)
    _delegate(pki, at)
    assert respond(_question(pki, device), authority=pki.issuing, at=at) != first


def test_nothing_is_kept_of_what_must_not_be(pki: PKI, device: Device, at: dt.datetime) -> None:
    known = ocsp.load_der_ocsp_request(_question(pki, device))
    respond(_bare_question(known, b"\x05"), authority=pki.issuing, at=at)  # unknown
    nonce = (x509.OCSPNonce(b"n" * 16), False)
    respond(_question(pki, device, extension=nonce), authority=pki.issuing, at=at)
    respond(b"malformed", authority=pki.issuing, at=at)
    assert len(ours.cache) == 0
    respond(_question(pki, device), authority=pki.issuing, at=at)
    assert len(ours.cache) == 1


def test_a_kept_answer_is_no_answer_to_a_nonce(pki: PKI, device: Device, at: dt.datetime) -> None:
    respond(_question(pki, device), authority=pki.issuing, at=at)
    nonce = x509.OCSPNonce(b"n" * 16)
    question = _question(pki, device, extension=(nonce, False))
    assert ours.answer_from_memory(question, slug=pki.issuing.slug, at=at) is None
    assert _ask(pki, question, at).extensions.get_extension_for_class(x509.OCSPNonce).value == nonce


def test_a_certificate_issued_after_it_was_asked_for_is_good(
    pki: PKI, people: People, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pki.tbs.new_serial", lambda: SERIAL)
    name, key = ours._issuers(bytes(pki.issuing.certificate.der))["sha1"]
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, SERIAL, hashes.SHA1())
    question = builder.build().public_bytes(Encoding.DER)
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    make_device(people.alice, pki.issuing, at=at)
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.GOOD


def test_an_answer_worked_out_before_a_revocation_does_not_come_in_after_it(
    pki: PKI, device: Device, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is read, somebody revokes and everybody is told, and only then is it signed."""
    question, sign = _question(pki, device), responder.sign

    def slow(*arguments: object, **named: object) -> bytes:
        monkeypatch.setattr(responder, "sign", sign)
        revoke(actor="a", certificate=device.certificate, reason="keyCompromise", at=at)
        trust_changed.send(sender=None)
        ours.cache.compare(10**6, read_at=0.0)
        return sign(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(responder, "sign", slow)
    answer = _ask(pki, question, at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD  # it was, when it was asked
    assert len(ours.cache) == 0
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_a_change_by_another_process_is_seen_without_any_signal(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    """No signal reaches us: the transaction of a test does not end."""
    question = _question(pki, device)
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.GOOD
    revoke(actor="a", certificate=device.certificate, reason="superseded", at=at)
    assert _ask(pki, question, at).certificate_status is ocsp.OCSPCertStatus.REVOKED


# --- From memory ------------------------------------------------------------------------------


def test_memory_answers_what_was_asked_before(pki: PKI, device: Device, at: dt.datetime) -> None:
    question = _question(pki, device)
    assert ours.answer_from_memory(question, slug=pki.issuing.slug, at=at) is None
    first = respond(question, authority=pki.issuing, at=at)
    found = ours.answer_from_memory(question, slug=pki.issuing.slug, at=at)
    assert found
    assert found.der == first
    assert ours.answer_from_memory(question, slug="none", at=at) is None


def test_memory_is_trusted_for_half_a_second(
    pki: PKI, device: Device, at: dt.datetime, clock: SimpleNamespace
) -> None:
    question = _question(pki, device)
    respond(question, authority=pki.issuing, at=at)
    clock.now += 0.4
    assert _ask_memory(pki, question, at) is ocsp.OCSPCertStatus.GOOD
    clock.now += 0.2
    assert _ask_memory(pki, question, at) is None


def test_memory_knows_when_a_ca_or_its_responder_ends(
    pki: PKI, device: Device, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    _delegate(pki, at)
    respond(_question(pki, device), authority=pki.issuing, at=at)
    monkeypatch.setattr(ours.cache, "get", lambda key, at: ours.try_later())
    ends = pki.issuing.responder.not_after  # type: ignore[union-attr]
    slug, question = pki.issuing.slug, _question(pki, device)
    assert ours.answer_from_memory(question, slug=slug, at=ends)
    assert not ours.answer_from_memory(question, slug=slug, at=ends + dt.timedelta(seconds=1))


def test_memory_reads_nothing(
    pki: PKI, device: Device, at: dt.datetime, django_assert_num_queries
) -> None:
    respond(_question(pki, device), authority=pki.issuing, at=at)
    with django_assert_num_queries(0):
        assert _ask_memory(pki, _question(pki, device), at) is ocsp.OCSPCertStatus.GOOD
    with django_assert_num_queries(1):  # the trust version
        respond(_question(pki, device), authority=pki.issuing, at=at)


# --- Signed ahead -----------------------------------------------------------------------------


def test_valid_certificates_are_signed_ahead_newest_first(
    pki: PKI, people: People, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [make_device(people.alice, pki.issuing, device=f"{n}", at=at) for n in range(4)]
    serials = [device.x509.serial_number for device in devices]
    revoke(actor="a", certificate=devices[3].certificate, reason="superseded", at=at)
    CertificateAuthority.objects.exclude(pk=pki.issuing.pk).update(name="Z")  # comes after it
    monkeypatch.setattr(ours.cache, "room", 8)
    assert ours.sign_ahead(at=at, seconds=60) == 4  # half of the room, in both hashes
    assert {serial for _, _, serial in ours.cache._kept} == {serials[2], serials[1]}
    assert ours.sign_ahead(at=at, seconds=60) == 0


def test_memory_answers_what_was_signed_ahead_once_the_ca_is_known(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    ours.sign_ahead(at=at, seconds=60)
    assert _ask_memory(pki, _question(pki, device), at) is None
    respond(_question(pki, device), authority=pki.issuing, at=at)
    assert _ask_memory(pki, _question(pki, device), at) is ocsp.OCSPCertStatus.GOOD


def test_signing_ahead_stops_in_time_and_goes_on(pki: PKI, people: People, at: dt.datetime) -> None:
    for number in range(3):
        make_device(people.alice, pki.issuing, device=f"{number}", at=at)
    total = 2 * Certificate.objects.exclude(authority=None).count()
    turns = [ours.sign_ahead(at=at, seconds=0) for _ in range(total + 1)]
    assert turns == [1] * total + [0]


def test_signing_ahead_comes_before_the_time_is_over(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    everything = ours.sign_ahead(at=at, seconds=60)
    assert ours.sign_ahead(at=at + dt.timedelta(minutes=26), seconds=60) == 0
    assert ours.sign_ahead(at=at + dt.timedelta(minutes=28), seconds=60) == everything


def test_what_was_signed_ahead_is_dropped_by_a_revocation(
    pki: PKI, device: Device, at: dt.datetime
) -> None:
    ours.sign_ahead(at=at, seconds=60)
    revoke(actor="a", certificate=device.certificate, reason="superseded", at=at)
    ours.sign_ahead(at=at, seconds=60)
    answer = _ask(pki, _question(pki, device), at)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
