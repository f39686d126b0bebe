"""Files that people hand in."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pki import files
from pki.errors import BadFileError
from tests import certs

CA = certs.make_ca("Root")
LEAF = CA.issue("alice")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_read(encoding: Encoding) -> None:
    csr = certs.make_csr("alice")
    assert files.read_csr(csr.public_bytes(encoding)) == csr
    assert files.read_certificates(LEAF.certificate.public_bytes(encoding)) == [LEAF.certificate]
    crl = CA.crl(LEAF)
    assert files.read_revocation_list(crl.public_bytes(encoding)) == crl


def test_read_with_text_and_windows_line_ends() -> None:
    pem = b"Certificate:\r\n  Data\r\n" + LEAF.pem.replace(b"\n", b"\r\n")
    assert files.read_certificates(pem) == [LEAF.certificate]


def test_read_certificates_in_order() -> None:
    bundle = LEAF.pem + LEAF.key_pem + CA.pem
    assert files.read_certificates(bundle) == [LEAF.certificate, CA.certificate]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"hello", "not a certificate request"),
        (b"\x30\x82\x01\x00", "not a certificate request"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "not a certificate request"),
        (LEAF.pem, "not a certificate request"),
        (LEAF.key_pem, "holds a private key"),
        (certs.make_csr("a").public_bytes(Encoding.PEM) + LEAF.key_pem, "holds a private key"),
        (b"x" * 70_000, "too large"),
    ],
    ids=["empty", "blank", "text", "short", "torn", "certificate", "key", "with key", "large"],
)
def test_read_csr_bad(data: bytes, sentence: str) -> None:
    with pytest.raises(BadFileError, match=sentence):
        files.read_csr(data)


@pytest.mark.parametrize("data", [b"", b"\0", LEAF.key_pem, CA.crl().public_bytes(Encoding.PEM)])
def test_read_certificate_bad(data: bytes) -> None:
    with pytest.raises(BadFileError):
        files.read_certificates(data)


@pytest.mark.parametrize("data", [b"", b"\0", LEAF.pem])
def test_read_revocation_list_bad(data: bytes) -> None:
    with pytest.raises(BadFileError):
        files.read_revocation_list(data)
