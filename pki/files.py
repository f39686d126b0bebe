"""Files that people hand in: requests, certificates and CRLs, as PEM or DER, and lists as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar
from unicodedata import category

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pki.errors import BadFileError

LARGEST = 64 * 1024
LARGEST_CRL = 64 * 1024 * 1024
T = TypeVar("T")


def read_csr(data: bytes) -> x509.CertificateSigningRequest:
    """A certificate signing request (PKCS #10); its signature is checked in `issuance.prepare`.

    Refuses (BadFileError) an empty or large file, another kind of file, and one with a private key.
    """
    if b"PRIVATE KEY-----" in data:
        raise BadFileError(
            "This file holds a private key. Send the certificate request alone, and keep the key."
        )
    pem, der = x509.load_pem_x509_csr, x509.load_der_x509_csr
    return _read(data, pem=pem, der=der, what="a certificate request", largest=LARGEST)


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM file in its order, or the one of a DER file; at least one."""
    return _read(
        data,
        pem=x509.load_pem_x509_certificates,
        der=lambda der: [x509.load_der_x509_certificate(der)],
        what="a certificate",
        largest=LARGEST,
    )


def read_revocation_list(data: bytes) -> x509.CertificateRevocationList:
    """A CRL; its signature is checked where it is used. Refuses what is none (BadFileError)."""
    pem, der = x509.load_pem_x509_crl, x509.load_der_x509_crl
    return _read(data, pem=pem, der=der, what="a CRL", largest=LARGEST_CRL)


def _read(
    data: bytes, *, pem: Callable[[bytes], T], der: Callable[[bytes], T], what: str, largest: int
) -> T:
    if not data.strip():
        raise BadFileError("This file is empty.")
    if len(data) > largest:
        raise BadFileError(f"This file is too large for {what}: more than {largest // 1024} KiB.")
    try:
        return pem(data) if b"-----BEGIN" in data else der(data)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise BadFileError(f"This file is not {what} in PEM or DER.") from None


def read_table(
    data: bytes, *, needed: Sequence[str], known: Sequence[str], most: int
) -> list[dict[str, str]]:
    """The rows of a CSV file whose first line names its columns; parted by commas or semicolons.

    Empty rows are left out, and fields stripped. Refuses (BadFileError) another kind of file, a
    column that is not in `known` or is there twice, one of `needed` that is missing, control
    characters, and more than `most` rows.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFileError("This list is not text in UTF-8.") from None
    first = text.partition("\n")[0]
    parted_by = ";" if first.count(";") > first.count(",") else ","
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=parted_by, strict=True)
        columns = [name.strip().lower() for name in next(reader, [])]
        filled = (line for line in enumerate(reader, 2) if any(map(str.strip, line[1])))
        lines = list(islice(filled, most + 1))
    except csv.Error as error:
        raise BadFileError(f"This list cannot be read: {error}.") from None
    missing, unknown = set(needed) - set(columns), set(columns) - set(known)
    if missing or unknown or len(set(columns)) != len(columns):
        raise BadFileError(
            f"The first line of this list must name its columns, each once: {', '.join(needed)}; "
            f"there may also be: {', '.join(sorted(set(known) - set(needed)))}."
        )
    if len(lines) > most:
        raise BadFileError(f"This list has more than {most} rows. Part it into several.")
    return [_fields(columns, values, number) for number, values in lines]


def _fields(columns: list[str], values: list[str], number: int) -> dict[str, str]:
    if len(values) != len(columns):
        raise BadFileError(
            f"Row {number} of this list has {len(values)} fields, and there are {len(columns)} columns."
        )
    stripped = [value.strip() for value in values]
    if any(category(letter) == "Cc" for value in stripped for letter in value):
        raise BadFileError(f"Row {number} of this list has a control character in it. Take it out.")
    return {**dict(zip(columns, stripped, strict=True)), "row": str(number)}
