"""OCSP, judged by openssl and by cryptography's reader."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pki.errors import MasterKeyMissingError
from pki.ocsp import respond
from pki.revocation import revoke
from tests import certs
from tests.factories import PKI, Device, People, make_device
from tests.openssl import openssl

Status = ocsp.OCSPResponseStatus


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
    assert answer.next_update_utc == at + dt.timedelta(minutes=10)
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
