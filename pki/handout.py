"""What is handed to a person: a key made for them, packed once and never stored."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES
from django.utils.text import slugify

from pki.errors import RequestError
from pki.models import Certificate

# Without 0, 1, i, l, o, u: what is read aloud or typed from another screen stays unambiguous.
PASSWORD_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # noqa: S105 (an alphabet, not a password)
PASSWORD_GROUPS, PASSWORD_GROUP = 4, 4  # 16 letters of 30: 78 bits; 19 with dashes, macOS takes 20
PASSWORD_MINIMUM = 12


class Format(StrEnum):
    """How a key and its certificate are packed. `p12-compat` is for older importers: 3DES, SHA-1."""

    PEM = "pem"
    P12 = "p12"
    P12_COMPAT = "p12-compat"


@dataclass(frozen=True)
class Handout:
    """One file for one person; `content` holds a private key and is not to be kept."""

    filename: str
    media_type: str
    content: bytes


def make_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key for a person: the one kind that every browser and phone imports."""
    return ec.generate_private_key(ec.SECP256R1())


def make_password() -> str:
    """A password for a PKCS #12 file: four groups of four letters."""
    return "-".join(
        "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_GROUP))
        for _ in range(PASSWORD_GROUPS)
    )


def pack(
    *,
    key: ec.EllipticCurvePrivateKey | None,
    chain: Sequence[x509.Certificate],
    format: Format,
    password: str | None,
    name: str,
) -> Handout:
    """Pack a certificate (first in `chain`) with its CAs and, where given, its key.

    Refuses a PKCS #12 file without a key or with a password shorter than 12 characters: its MAC is
    the weak spot that a guesser works on (RFC 7292).
    """
    if format is Format.PEM:
        return Handout(f"{name}.pem", "application/x-pem-file", _pem(key, chain))
    if key is None:
        raise RequestError("A PKCS #12 file holds a private key; for a CSR choose PEM.")
    if password is None or len(password) < PASSWORD_MINIMUM or not password.isascii():
        raise RequestError(
            f"The file needs a password of at least {PASSWORD_MINIMUM} ASCII characters."
        )
    content = pkcs12.serialize_key_and_certificates(
        name.encode(),
        key,
        chain[0],
        list(chain[1:]),
        _encryption(format).build(password.encode()),
    )
    return Handout(f"{name}.p12", "application/x-pkcs12", content)


def chain_of(certificate: Certificate) -> list[x509.Certificate]:
    """A certificate of ours with those of the CAs above it, up to the root's."""
    above = certificate.authority.chain if certificate.authority else []
    return [x509.load_der_x509_certificate(bytes(row.der)) for row in (certificate, *above)]


def pem_file(certificate: Certificate) -> str:
    """A certificate and the CAs above it in one file."""
    return "".join(pem_chain(certificate))


def pem_chain(certificate: Certificate) -> list[str]:
    """The same as PEM, one text for each."""
    return [link.public_bytes(Encoding.PEM).decode() for link in chain_of(certificate)]


def file_stem(certificate: Certificate) -> str:
    """What a downloaded file is called, without its suffix: alice-laptop, www-example-org."""
    names = (certificate.owner.username, certificate.device) if certificate.owner else ()
    return slugify(" ".join(names)) or slugify(certificate.subject) or certificate.serial[:16]


def _pem(key: ec.EllipticCurvePrivateKey | None, chain: Sequence[x509.Certificate]) -> bytes:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) if key else b""
    return private + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def _encryption(format: Format) -> pkcs12.KeySerializationEncryptionBuilder:  # type: ignore[name-defined]
    builder = PrivateFormat.PKCS12.encryption_builder()
    if format is Format.P12_COMPAT:
        return (
            builder.kdf_rounds(50_000)
            .key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(SHA1())  # noqa: S303 (older phones know no other; the password is ours)
        )
    return (
        builder.kdf_rounds(50_000)
        .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
    )
