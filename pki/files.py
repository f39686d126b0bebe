"""Files that people hand in: requests, certificates and CRLs, as PEM or DER."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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
