"""Who a connection is: the face that the chat and the web pages see.

What always holds here:
  1. an identity is a certificate that this organisation issued, byte for byte (SHA-256), for a person;
  2. nothing a certificate says about its bearer is believed: name and rights come from our rows;
  3. a revoked, expired or not yet valid certificate, a revoked or expired CA anywhere above it, or
     a disabled account is no identity, at any time it is asked for.
The TLS endpoint has made sure that the peer holds the private key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pki.errors import (
    AccountDisabledError,
    CertificateExpiredError,
    CertificateNotTrustedError,
    CertificateNotYetValidError,
    CertificateRevokedError,
    IdentityError,
    NoCertificateError,
    WrongPurposeError,
)
from pki.models import Certificate, User
from pki.profiles import PROFILES
from pki.querysets import CertificateQuerySet

__all__ = [
    "AccountDisabledError",
    "CertificateExpiredError",
    "CertificateNotTrustedError",
    "CertificateNotYetValidError",
    "CertificateRevokedError",
    "Identity",
    "IdentityError",
    "NoCertificateError",
    "WrongPurposeError",
    "identify",
    "recheck",
    "refusals",
]

REFUSALS: dict[Certificate.Status, type[IdentityError]] = {
    Certificate.Status.REVOKED: CertificateRevokedError,
    Certificate.Status.EXPIRED: CertificateExpiredError,
    Certificate.Status.NOT_YET_VALID: CertificateNotYetValidError,
}


@dataclass(frozen=True)
class Identity:
    """A person at one of their devices, as proven by one certificate."""

    user_id: int
    username: str
    name: str
    is_staff: bool
    certificate_id: int
    serial: str
    sha256: str
    not_after: dt.datetime
    device: str


def identify(*, chain: Sequence[bytes], at: dt.datetime) -> Identity:
    """The identity behind a client's certificate chain (DER, leaf first), in one query.

    Raises the IdentityError that says why there is none. Only the leaf counts: the CAs above it
    are ours and known.
    """
    if not chain or not chain[0]:
        raise NoCertificateError
    return _find(sha256(chain[0]).hexdigest(), at)


def recheck(identity: Identity, *, at: dt.datetime) -> Identity:
    """The identity as it is now: its name and rights may have changed. One query.

    Raises the IdentityError that has befallen it since it was established.
    """
    return _find(identity.sha256, at)


def refusals(identities: Iterable[Identity], *, at: dt.datetime) -> dict[str, IdentityError]:
    """Those of many identities that are none any more: SHA-256 → why. One query for all."""
    wanted = {identity.sha256 for identity in identities}
    if not wanted:
        return {}
    refused: dict[str, IdentityError] = {}
    for certificate in _people_and_authorities().filter(sha256__in=wanted):
        wanted.discard(certificate.sha256)
        try:
            _judge(certificate, at)
        except IdentityError as error:
            refused[certificate.sha256] = error
    return refused | {missing: CertificateNotTrustedError() for missing in wanted}


def _find(digest: str, at: dt.datetime) -> Identity:
    certificate = next(iter(_people_and_authorities().filter(sha256=digest)), None)
    if certificate is None:
        raise CertificateNotTrustedError
    return _judge(certificate, at)


VALIDITY = ("revoked_at", "not_before", "not_after")
ABOVE = ("authority__certificate", "authority__parent__certificate")
NEEDED = (
    *("profile", "serial", "sha256", "device", *VALIDITY),
    *(f"owner__{field}" for field in ("username", "name", "is_staff", "is_active")),
    *("authority__certificate", "authority__parent", "authority__parent__certificate"),
    "authority__parent__parent",
    *(f"{level}__{field}" for level in ABOVE for field in VALIDITY),
)


def _people_and_authorities() -> CertificateQuerySet:
    """Certificates with their owner and two levels of CAs, without what is not looked at here (it
    is half the time); a deeper hierarchy costs queries of its own."""
    return Certificate.objects.order_by().select_related("owner", *ABOVE).only(*NEEDED)


def _judge(certificate: Certificate, at: dt.datetime) -> Identity:
    """Numbered checks; the first that fails is the answer."""
    # 1. It says who a person is.
    owner = certificate.owner
    profile = PROFILES.get(certificate.profile)
    if owner is None or profile is None or not profile.is_for_people or profile.is_ca:
        raise WrongPurposeError
    # 2. It is neither revoked nor outside its validity.
    status = certificate.status_at(at)
    if status in REFUSALS:
        raise REFUSALS[status]
    # 3. Nor is any CA above it.
    _judge_authorities(certificate, at)
    # 4. The account is open.
    if not owner.is_active:
        raise AccountDisabledError
    return _identity(certificate, owner)


def _judge_authorities(certificate: Certificate, at: dt.datetime) -> None:
    authority = certificate.authority
    if authority is None:
        raise CertificateNotTrustedError
    while authority is not None:
        status = authority.certificate.status_at(at)
        if status is Certificate.Status.REVOKED:
            raise CertificateRevokedError("The authority that issued your certificate was revoked.")
        if status is not Certificate.Status.VALID:
            raise CertificateNotTrustedError(
                "The authority that issued your certificate is not valid at this time."
            )
        authority = authority.parent


def _identity(certificate: Certificate, owner: User) -> Identity:
    return Identity(
        user_id=owner.pk,
        username=owner.username,
        name=owner.get_full_name(),
        is_staff=owner.is_staff,
        certificate_id=certificate.pk,
        serial=certificate.serial,
        sha256=certificate.sha256,
        not_after=certificate.not_after,
        device=certificate.device,
    )
