"""What a certificate says of itself, in words for pages and JSON."""

from __future__ import annotations

import hashlib
import re
from typing import TypedDict

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

# What `cryptography` raises for a certificate that a stranger made up: as it is loaded, and later,
# as its names, key and extensions are read.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


SHA256_DIGITS = 64
# 8 bytes and more, in one piece or in pairs.
DIGITS = re.compile(r"[0-9A-Fa-f]{15,}|[0-9A-Fa-f]{2}([:\s][0-9A-Fa-f]{2}){7,}")


class Description(TypedDict):
    subject: str
    issuer: str
    serial: str
    sha256: str
    not_before: str
    not_after: str


def serial_text(number: int) -> str:
    """A serial number as small hexadecimal digits, the way our rows hold it."""
    return f"{number:x}"


def serial_digits(text: str) -> str:
    """A serial number as somebody typed it, with or without colons, the way our rows hold it."""
    return sha256_digits(text).lstrip("0")


def partition_of(serial: int | str, partitions: int) -> int:
    """Which of a CA's partitioned CRLs tells of a serial number (a number, or hexadecimal digits as
    our rows hold them): 1 to `partitions`, and 0 where there is one CRL of everything."""
    if not partitions:
        return 0
    number = int(serial, 16) if isinstance(serial, str) else serial
    return 1 + number % partitions


def sha256_digits(text: str) -> str:
    """A fingerprint as somebody typed it, with or without colons, the way our rows hold it."""
    return "".join(text.replace(":", "").split()).lower()


def plain_digits(text: str) -> str:
    """What somebody looks for: a fingerprint or serial number the way our rows hold it, or the words
    as they are. An address (2001:db8::1) is none of the two."""
    if not DIGITS.fullmatch(text.strip()):
        return text
    digits = sha256_digits(text)
    return digits if len(digits) == SHA256_DIGITS else digits.lstrip("0")


def colons(digest: str) -> str:
    """A hexadecimal digest in the form tools print it: AB:CD:…"""
    return ":".join(digest[i : i + 2].upper() for i in range(0, len(digest), 2))


def describe(der: bytes) -> Description:
    """The facts in a DER certificate; times are ISO 8601 in UTC, names RFC 4514."""
    certificate = x509.load_der_x509_certificate(der)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": serial_text(certificate.serial_number),
        "sha256": hashlib.sha256(der).hexdigest(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }
