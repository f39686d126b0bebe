"""Profile and request in, unsigned certificate out. No database, no key, no clock."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID

from pki.profiles import KEY_USAGES, Profile

SERIAL_BITS = 159  # RFC 5280, 4.1.2.2: positive and at most 20 octets
BACKDATED = dt.timedelta(minutes=5)  # for clocks that are late
SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True)
class Issuer:
    """Who will sign, and where its CRL, its OCSP responder and its certificate are found."""

    certificate: x509.Certificate
    crl_url: str
    ocsp_url: str
    certificate_url: str


@dataclass(frozen=True)
class Request:
    """What one certificate is for. `names` become the subjectAltName; the constraints are a CA's."""

    subject: x509.Name
    public_key: CertificatePublicKeyTypes
    names: tuple[x509.GeneralName, ...]
    serial: int
    at: dt.datetime
    name_constraints: x509.NameConstraints | None = None


def new_serial() -> int:
    """159 random bits, never zero."""
    return secrets.randbelow(2**SERIAL_BITS - 1) + 1


def build(*, profile: Profile, request: Request, issuer: Issuer | None) -> x509.CertificateBuilder:
    """The certificate that is to be signed; `issuer` is None for a self-signed root."""
    not_before, not_after = validity(profile=profile, request=request, issuer=issuer)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(issuer.certificate.subject if issuer else request.subject)
        .public_key(request.public_key)
        .serial_number(request.serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, is_critical in extensions(profile=profile, request=request, issuer=issuer):
        builder = builder.add_extension(extension, critical=is_critical)
    return builder


def validity(
    *, profile: Profile, request: Request, issuer: Issuer | None
) -> tuple[dt.datetime, dt.datetime]:
    """From five minutes ago for as long as the profile says, within the CA's own validity."""
    start = request.at.astimezone(dt.UTC).replace(microsecond=0) - BACKDATED
    end = start + profile.validity - SECOND  # both ends count (RFC 5280, 4.1.2.5)
    if issuer:
        start = max(start, issuer.certificate.not_valid_before_utc)
        end = min(end, issuer.certificate.not_valid_after_utc)
    return start, end


def extensions(
    *, profile: Profile, request: Request, issuer: Issuer | None
) -> list[tuple[x509.ExtensionType, bool]]:
    """Extensions and whether each is critical, as RFC 5280, 4.2.1 wants them.

    A leaf says cA=FALSE in a critical BasicConstraints: the RFC allows it, and no reader that
    takes an absent one for an old CA can be misled. A root names itself as its authority. An OCSP
    responder says that nobody need ask about itself (RFC 6960, 4.2.2.2.1).
    """
    own_id = x509.SubjectKeyIdentifier.from_public_key(request.public_key)
    issuer_id = key_identifier(issuer.certificate) if issuer else own_id
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=profile.is_ca, path_length=profile.path_length), True),
        (key_usage(profile.usages_of(request.public_key)), True),
        (own_id, False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), False),
    ]
    if profile.purposes:
        found.append((x509.ExtendedKeyUsage(profile.purposes), False))
    if request.names:
        found.append((x509.SubjectAlternativeName(request.names), False))
    if request.name_constraints:
        found.append((request.name_constraints, True))
    if profile.is_for_responders:
        found.append((x509.OCSPNoCheck(), False))
    return found + (_pointers(profile, issuer) if issuer else [])


def key_usage(usages: frozenset[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in usages for usage in KEY_USAGES})


def key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


def _pointers(profile: Profile, issuer: Issuer) -> list[tuple[x509.ExtensionType, bool]]:
    """Where a stranger finds out whether the certificate has been revoked, and by whom it is."""
    by_whom = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, _uri(issuer.certificate_url)
    )
    if profile.is_for_responders:
        return [(x509.AuthorityInformationAccess([by_whom]), False)]
    whether = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, _uri(issuer.ocsp_url))
    point = x509.DistributionPoint([_uri(issuer.crl_url)], None, None, None)
    return [
        (x509.CRLDistributionPoints([point]), False),
        (x509.AuthorityInformationAccess([whether, by_whom]), False),
    ]


def _uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(url)
