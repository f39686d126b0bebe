"""OCSP: request bytes in, response bytes out (RFC 6960, RFC 9654, RFC 9919).

The CA itself signs. An unknown serial is `unknown`, never good; a question about another CA is
`unauthorized`; what cannot be read is `malformedRequest`.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import Hash
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pki import keys
from pki.description import serial_text
from pki.errors import AuthorityError
from pki.models import Certificate, CertificateAuthority, RevocationReason

LIFE = dt.timedelta(minutes=10)
LONGEST_REQUEST = 4096
LONGEST_NONCE = 128  # RFC 9654, 2.1


class _Refusal(Exception):
    def __init__(self, status: ocsp.OCSPResponseStatus) -> None:
        self.status = status


_MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
_UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED


def respond(request_der: bytes, *, authority: CertificateAuthority, at: dt.datetime) -> bytes:
    """The DER response of one CA to one request, valid for ten minutes. Changes nothing.

    Raises MasterKeyError or AuthorityError where the CA's key cannot be used.
    """
    issuer = x509.load_der_x509_certificate(bytes(authority.certificate.der))
    try:
        request = _parse(request_der)
        nonce = _nonce(request)
        _refuse_other_issuer(request, issuer)
    except _Refusal as refusal:
        unsigned = ocsp.OCSPResponseBuilder.build_unsuccessful(refusal.status)
        return unsigned.public_bytes(Encoding.DER)
    builder = _answer(request, issuer, _find(request, authority), at)
    if nonce is not None:
        builder = builder.add_extension(nonce, critical=False)
    if authority.certificate.key is None:
        raise AuthorityError(f"{authority} cannot answer: its key is not kept here.")
    signed = keys.sign_ocsp_response(builder, key=authority.certificate.key)
    return signed.public_bytes(Encoding.DER)


def try_later() -> bytes:
    """The DER response of a CA that cannot sign one now (RFC 6960, 2.3)."""
    unsigned = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    return unsigned.public_bytes(Encoding.DER)


def _parse(request_der: bytes) -> ocsp.OCSPRequest:
    if len(request_der) > LONGEST_REQUEST:
        raise _Refusal(_MALFORMED)
    try:
        request = ocsp.load_der_ocsp_request(request_der)
        list(request.extensions)
        request.hash_algorithm  # noqa: B018 (reading it is the check)
    except NotImplementedError:  # several certificates in one request; RFC 9919 sends one
        raise _Refusal(_UNAUTHORIZED) from None
    except UnsupportedAlgorithm:
        raise _Refusal(_UNAUTHORIZED) from None
    except (ValueError, x509.DuplicateExtension):
        raise _Refusal(_MALFORMED) from None
    if not 0 <= request.serial_number < 2**160:  # RFC 5280, 4.1.2.2; nor could it be answered
        raise _Refusal(_MALFORMED)
    return request


def _nonce(request: ocsp.OCSPRequest) -> x509.OCSPNonce | None:
    found = None
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            found = extension.value
        elif extension.critical:
            raise _Refusal(_MALFORMED)  # RFC 6960, 4.4: not understood and not to be ignored
    if found is not None and not 1 <= len(found.nonce) <= LONGEST_NONCE:
        raise _Refusal(_MALFORMED)
    return found


def _refuse_other_issuer(request: ocsp.OCSPRequest, issuer: x509.Certificate) -> None:
    name = Hash(request.hash_algorithm)
    name.update(issuer.subject.public_bytes())
    # A question of our own, for its hash of the bare key bits (RFC 6960, 4.1.1).
    own = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, request.hash_algorithm).build()
    is_same_name = name.finalize() == request.issuer_name_hash
    if not (is_same_name and own.issuer_key_hash == request.issuer_key_hash):
        raise _Refusal(_UNAUTHORIZED)


def _find(request: ocsp.OCSPRequest, authority: CertificateAuthority) -> Certificate | None:
    serial = serial_text(request.serial_number)
    return Certificate.objects.filter(authority=authority, serial=serial).defer("der").first()


def _answer(
    request: ocsp.OCSPRequest,
    issuer: x509.Certificate,
    certificate: Certificate | None,
    at: dt.datetime,
) -> ocsp.OCSPResponseBuilder:
    status, revoked_at, reason = _status(certificate)
    now = at.astimezone(dt.UTC).replace(microsecond=0)
    return (
        ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            issuer_name_hash=request.issuer_name_hash,
            issuer_key_hash=request.issuer_key_hash,
            serial_number=request.serial_number,
            algorithm=request.hash_algorithm,
            cert_status=status,
            this_update=now,
            next_update=now + LIFE,
            revocation_time=revoked_at,
            revocation_reason=reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    )


def _status(
    certificate: Certificate | None,
) -> tuple[ocsp.OCSPCertStatus, dt.datetime | None, x509.ReasonFlags | None]:
    if certificate is None:
        return ocsp.OCSPCertStatus.UNKNOWN, None, None
    if certificate.revoked_at is None:
        return ocsp.OCSPCertStatus.GOOD, None, None
    reason = certificate.revocation_reason
    flag = None if reason == RevocationReason.UNSPECIFIED else x509.ReasonFlags(reason)
    return ocsp.OCSPCertStatus.REVOKED, certificate.revoked_at, flag
