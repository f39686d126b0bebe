"""Verification of a client's chain against anchors and CRLs. No database.

Two engines must agree on the path: OpenSSL in its strict mode, which also judges at the endpoints,
and cryptography's verifier, which knows the web PKI's limits on keys and extensions. (Ed25519 CAs
it does not know; over them OpenSSL judges alone.) CRLs are checked here, because neither is told
about them: whose CRL it is, its signature, that it is current and whole, and then its entries.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterable, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from OpenSSL import crypto

from pki import algorithms
from pki.description import UNREADABLE
from pki.errors import (
    CertificateExpiredError,
    CertificateNotTrustedError,
    CertificateNotYetValidError,
    CertificateRevokedError,
    NoCertificateError,
    WrongPurposeError,
)

LONGEST_CHAIN = 5  # certificates a peer may send; more only cost time (hostile chains)
LARGEST_CERTIFICATE = 16 * 1024
DEEPEST = 4  # CAs between leaf and anchor
PURPOSE = ExtendedKeyUsageOID.CLIENT_AUTH
T = TypeVar("T", bound=x509.ExtensionType)


def verify(
    *,
    anchors: Sequence[bytes],
    intermediates: Sequence[bytes],
    crls: Sequence[bytes],
    chain: Sequence[bytes],
    at: dt.datetime,
) -> list[x509.Certificate]:
    """Seven checks; the first that fails is the answer. All arguments are DER, the leaf is first."""
    # 1. There is a chain, and it is small enough to be looked at.
    leaf, *sent = _parse(chain)
    # 2. It is meant for signing people in.
    _require_purpose(leaf)
    # 3. A path leads to an anchor. An expired leaf is judged at its last second, so that the
    #    answer says "expired" only of a certificate that was trusted.
    moment = min(max(at, leaf.not_valid_before_utc), leaf.not_valid_after_utc)
    roots = [x509.load_der_x509_certificate(der) for der in anchors]
    between = _distinct([*sent, *map(x509.load_der_x509_certificate, intermediates)])
    path = _openssl_path(leaf, between, roots, moment)
    # 4. The second engine agrees.
    _require_agreement(path, moment)
    # 5. No CA on the path sends its certificates for another purpose.
    _require_ca_purposes(path[1:-1])
    # 6. Nobody on the path is revoked. (Before 7: a revoked certificate stays revoked.)
    _require_unrevoked(path, crls, at)
    # 7. It is valid now.
    if at > leaf.not_valid_after_utc:
        raise CertificateExpiredError
    if at < leaf.not_valid_before_utc:
        raise CertificateNotYetValidError
    return path


def _parse(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not chain:
        raise NoCertificateError
    if len(chain) > LONGEST_CHAIN or any(len(der) > LARGEST_CERTIFICATE for der in chain):
        raise CertificateNotTrustedError("This certificate chain is too long.")
    try:
        certificates = [x509.load_der_x509_certificate(bytes(der)) for der in chain]
        for certificate in certificates:
            list(certificate.extensions)
            certificate.public_key()
    except UNREADABLE:
        raise CertificateNotTrustedError("This certificate cannot be read.") from None
    return certificates


def _require_purpose(leaf: x509.Certificate) -> None:
    """clientAuth must be said: neither silence nor "any purpose" is enough."""
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise WrongPurposeError("This is the certificate of a CA, not of a person.")
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if purposes is None or PURPOSE not in purposes:
        raise WrongPurposeError
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise WrongPurposeError


def _openssl_path(
    leaf: x509.Certificate,
    between: list[x509.Certificate],
    roots: list[x509.Certificate],
    moment: dt.datetime,
) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pyOpenSSL's own X509 type
        store = crypto.X509Store()
        for root in roots:
            store.add_cert(crypto.X509.from_cryptography(root))
        store.set_flags(crypto.X509StoreFlags.X509_STRICT)
        store.set_time(moment)
        context = crypto.X509StoreContext(
            store,
            crypto.X509.from_cryptography(leaf),
            [crypto.X509.from_cryptography(certificate) for certificate in between],
        )
        try:
            path = [link.to_cryptography() for link in context.get_verified_chain()]
        except crypto.X509StoreContextError as error:
            raise CertificateNotTrustedError(_sentence(str(error))) from None
    if len(path) > DEEPEST + 2:
        raise CertificateNotTrustedError("This certificate chain is too long.")
    return path


def _require_agreement(path: list[x509.Certificate], moment: dt.datetime) -> None:
    leaf, *between, root = path
    for certificate in path:
        _require_strength(certificate)
    if any(isinstance(ca.public_key(), Ed25519PublicKey) for ca in path[1:]):
        return
    leaf_policy = (
        ExtensionPolicy.webpki_defaults_ee()
        .require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_client_auth)
        # People are known by their row, not by a name in the certificate.
        .may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    )
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(moment)
        .max_chain_depth(DEEPEST)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf_policy)
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, between)
    except VerificationError as error:
        raise CertificateNotTrustedError(_sentence(str(error))) from None


def _require_strength(certificate: x509.Certificate) -> None:
    """The verifier looks at the keys of CAs alone."""
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < algorithms.RSA_MINIMUM:
        raise CertificateNotTrustedError(_sentence(f"its RSA key has {key.key_size} bits"))


def _require_client_auth(_: Policy, __: x509.Certificate, purposes: x509.ExtendedKeyUsage) -> None:
    if PURPOSE not in purposes:
        raise ValueError("clientAuth is missing")


def _require_ca_purposes(between: list[x509.Certificate]) -> None:
    for ca in between:
        purposes = _extension(ca, x509.ExtendedKeyUsage)
        allowed = {PURPOSE, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
        if purposes is not None and not allowed & set(purposes):
            raise WrongPurposeError("The CA of this certificate does not sign for people.")


# --- CRLs -----------------------------------------------------------------------------------


def _require_unrevoked(
    path: list[x509.Certificate], crls: Sequence[bytes], at: dt.datetime
) -> None:
    """Without any CRL nothing is checked; with some, every CA on the path must have a current one."""
    if not crls:
        return
    lists = [x509.load_der_x509_crl(der) for der in crls]
    for certificate, issuer in zip(path, path[1:], strict=False):
        crl = _current(lists, issuer, at)
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None:
            continue
        if certificate is path[0]:
            raise CertificateRevokedError
        raise CertificateRevokedError("The authority that issued your certificate was revoked.")


def _current(
    lists: Iterable[x509.CertificateRevocationList], issuer: x509.Certificate, at: dt.datetime
) -> x509.CertificateRevocationList:
    usable = [crl for crl in lists if is_usable(crl, issuer)]
    if not usable:
        name = issuer.subject.rfc4514_string()
        raise CertificateNotTrustedError(f"There is no sound revocation list of {name}.")
    crl = max(usable, key=lambda one: (one.last_update_utc, crl_number(one)))
    if crl.last_update_utc > at or crl.next_update_utc is None or crl.next_update_utc < at:
        name = issuer.subject.rfc4514_string()
        raise CertificateNotTrustedError(f"The revocation list of {name} is out of date.")
    return crl


def is_usable(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """A full CRL (RFC 5280, 5.2) of this very CA, with nothing critical in it or its entries."""
    return is_signed_by(crl, issuer) and fault_of(crl, issuer) is None


def is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether this CA, which may sign CRLs, put its name on it and signed it."""
    usage = _extension(issuer, x509.KeyUsage)
    if crl.issuer != issuer.subject or (usage is not None and not usage.crl_sign):
        return False
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False


def fault_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> str | None:
    """What makes a CRL that the CA signed no full one, as the end of a sentence; None if nothing."""
    try:
        extensions = {extension.oid: extension for extension in crl.extensions}
        is_critical_in_entry = any(one.critical for entry in crl for one in entry.extensions)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return "has extensions that cannot be read"
    # A scope comes first: what is partial misses other things too.
    if ExtensionOID.DELTA_CRL_INDICATOR in extensions:
        return "is a delta CRL, which lists changes alone (RFC 5280, 5.2.4)"
    if ExtensionOID.ISSUING_DISTRIBUTION_POINT in extensions and (
        extensions[ExtensionOID.ISSUING_DISTRIBUTION_POINT].critical
    ):
        return "may cover only a part of what its CA issued (RFC 5280, 5.2.5)"
    if ExtensionOID.AUTHORITY_KEY_IDENTIFIER not in extensions:
        return "has no authority key identifier (RFC 5280, 5.2.1)"
    if ExtensionOID.CRL_NUMBER not in extensions:
        return "has no CRL number (RFC 5280, 5.2.3)"
    named = extensions[ExtensionOID.AUTHORITY_KEY_IDENTIFIER].value.key_identifier
    own = _extension(issuer, x509.SubjectKeyIdentifier)
    if own is not None and named not in (None, own.digest):
        return "names another key than that of its CA (RFC 5280, 5.2.1)"
    if is_critical_in_entry or any(one.critical for one in extensions.values()):
        return "has a critical extension that is not known here (RFC 5280, 5.2 and 5.3)"
    return None


def crl_number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


# --- Parts ----------------------------------------------------------------------------------


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _distinct(certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    return list(dict.fromkeys(certificates))


def _sentence(reason: str) -> str:
    return f"This certificate is not trusted: {reason.rstrip('.')}."
