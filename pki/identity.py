"""Who a connection is: the face that the chat and the web pages see.

What always holds here:
  1. an identity is a certificate that this organisation issued or adopted for a person, known byte
     for byte (SHA-256), of which it was said then that its owner signs in with it (`signs_in`);
  2. nothing a certificate says about its bearer is believed: name and rights come from our rows;
  3. a revoked, expired or not yet valid certificate, a revoked or expired CA anywhere above it, or
     a disabled account is no identity, at any time it is asked for.
The TLS endpoint has made sure that the peer holds the private key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from django.db.models import Q

from pki import adoption
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
from pki.models import Certificate, CertificateAuthority, RevocationReason, User
from pki.querysets import CertificateQuerySet

__all__ = [
    "AccountDisabledError",
    "CertificateExpiredError",
    "CertificateFacts",
    "CertificateNotTrustedError",
    "CertificateNotYetValidError",
    "CertificateRevokedError",
    "Identity",
    "IdentityError",
    "NoCertificateError",
    "WrongPurposeError",
    "describe",
    "describe_changed",
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


def identify(*, chain: Sequence[bytes], at: dt.datetime, endpoint: str | None = None) -> Identity:
    """The identity behind a client's certificate chain (DER, leaf first), in one query.

    An unknown certificate may become a person's where the trust store of `endpoint`, through which
    it came, recognises people (`adoption.recognise_at`). Raises the IdentityError that says why
    there is none. Only the leaf counts: the CAs above it are known.
    """
    if not chain or not chain[0]:
        raise NoCertificateError
    digest = sha256(chain[0]).hexdigest()
    certificate = _certificate(digest)
    if certificate is None and endpoint is not None:
        adoption.recognise_at(chain=chain, endpoint=endpoint, at=at)
        certificate = _certificate(digest)
    if certificate is None:
        raise CertificateNotTrustedError
    return _judge(certificate, at)


def recheck(identity: Identity, *, at: dt.datetime) -> Identity:
    """The identity as it is now: its name and rights may have changed. One query.

    Raises the IdentityError that has befallen it since it was established.
    """
    certificate = _certificate(identity.sha256)
    if certificate is None:
        raise CertificateNotTrustedError
    return _judge(certificate, at)


def refusals(identities: Iterable[Identity], *, at: dt.datetime) -> dict[str, IdentityError]:
    """Those of many identities that are none any more: SHA-256 → why. One query for all, and one
    for each certificate from elsewhere."""
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


@dataclass(frozen=True)
class CertificateFacts:
    """A person's certificate as others may look at it; names are RFC 4514 texts.

    `state` is good, held (a hold may end), revoked, expired or not_yet_valid at the moment that was
    asked for; `reason` is a RevocationReason, or "authority" where a CA above was revoked.
    """

    serial: str
    sha256: str
    subject: str
    issuer: str
    owner_id: int
    username: str
    name: str
    device: str
    not_before: dt.datetime
    not_after: dt.datetime
    state: str
    revoked_at: dt.datetime | None
    reason: str
    is_held: bool  # by a hold of itself or of a CA above it, which may end


def describe(serials: Collection[str], *, at: dt.datetime) -> list[CertificateFacts]:
    """What people's certificates with these serial numbers say, and how they stand at `at`.

    One query, and more below a CA of a third level. A serial number is unique below one CA only, so
    there may be several for one.
    """
    return [_facts(found, at) for found in _described().filter(serial__in=serials)]


def describe_changed(
    *, since: dt.datetime, at: dt.datetime, also: Collection[str] = ()
) -> list[CertificateFacts]:
    """People's certificates that were revoked or expired between two moments, all that are on hold,
    and those with the serial numbers `also`. Two queries.

    Where a CA was revoked, all that it issued to people, directly or through one more CA.
    """
    revoked = Q(revoked_at__gt=since, revoked_at__lte=at)
    below = CertificateAuthority.objects.filter(
        Q(certificate__revoked_at__gt=since, certificate__revoked_at__lte=at)
        | Q(parent__certificate__revoked_at__gt=since, parent__certificate__revoked_at__lte=at)
    )
    authorities = list(below.values_list("pk", flat=True))
    expired = Q(not_after__gt=since, not_after__lte=at)
    held = Q(revoked_at__isnull=False, revocation_reason=RevocationReason.HOLD)
    changed = revoked | expired | held | Q(serial__in=also) | Q(authority__in=authorities)
    return [_facts(found, at) for found in _described().filter(changed)]


def _described() -> CertificateQuerySet:
    return _people_and_authorities(SHOWN).filter(owner__isnull=False, signs_in=True)


def _facts(certificate: Certificate, at: dt.datetime) -> CertificateFacts:
    owner, authority = certificate.owner, certificate.authority
    assert owner is not None
    state, revoked_at, reason, is_held = _standing(certificate, at)
    return CertificateFacts(
        serial=certificate.serial,
        sha256=certificate.sha256,
        subject=certificate.subject,
        issuer=authority.certificate.subject if authority is not None else "",
        owner_id=owner.pk,
        username=owner.username,
        name=owner.get_full_name(),
        device=certificate.device,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        state=state,
        revoked_at=revoked_at,
        reason=reason,
        is_held=is_held,
    )


def _standing(
    certificate: Certificate, at: dt.datetime
) -> tuple[str, dt.datetime | None, str, bool]:
    """State, since when it is revoked, why, and whether that is a hold: for the first thing that is
    wrong with it."""
    if certificate.revoked_at is not None:
        is_held = certificate.revocation_reason == RevocationReason.HOLD
        state = "held" if is_held else "revoked"
        return state, certificate.revoked_at, certificate.revocation_reason, is_held
    authority = certificate.authority
    while authority is not None:
        above = authority.certificate
        if above.revoked_at is not None:
            is_held = above.revocation_reason == RevocationReason.HOLD
            return "revoked", above.revoked_at, "authority", is_held
        authority = authority.parent
    states = {
        Certificate.Status.EXPIRED: "expired",
        Certificate.Status.NOT_YET_VALID: "not_yet_valid",
    }
    return states.get(certificate.status_at(at), "good"), None, "", False


def _certificate(digest: str) -> Certificate | None:
    return next(iter(_people_and_authorities().filter(sha256=digest)), None)


VALIDITY = ("revoked_at", "not_before", "not_after")
ABOVE = ("authority__certificate", "authority__parent__certificate")
RIGHTS = ("is_active", "is_staff", "is_superuser")
NEEDED = (
    *("signs_in", "serial", "sha256", "device", "is_outside", "issued_by", *VALIDITY),
    *(f"owner__{field}" for field in ("username", "name", *RIGHTS)),
    *("authority__certificate", "authority__parent", "authority__parent__certificate"),
    "authority__parent__parent",
    *(f"{level}__{field}" for level in ABOVE for field in VALIDITY),
)


SHOWN = (*NEEDED, "subject", "revocation_reason", "authority__certificate__subject")


def _people_and_authorities(columns: Sequence[str] = NEEDED) -> CertificateQuerySet:
    """Certificates with their owner and two levels of CAs, without what is not looked at here (it
    is half the time); a deeper hierarchy costs queries of its own."""
    return Certificate.objects.order_by().select_related("owner", *ABOVE).only(*columns)


def _judge(certificate: Certificate, at: dt.datetime) -> Identity:
    """Numbered checks; the first that fails is the answer."""
    # 1. It says who a person is.
    owner = certificate.owner
    if owner is None or not certificate.signs_in:
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
    # 5. One from elsewhere still counts here.
    if certificate.is_outside:
        adoption.require_standing(certificate, owner, at=at)
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
