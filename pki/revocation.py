"""Revocation: the only place that assigns `revoked_at` and `revocation_reason`."""

from __future__ import annotations

import datetime as dt
from functools import partial

from django.db import transaction

from pki import audit, crl
from pki.errors import AlreadyRevokedError, AuthorityError, RequestError
from pki.models import Certificate, Invitation, RevocationReason
from pki.signals import certificate_revoked


def revoke(*, actor: str, certificate: Certificate, reason: str, at: dt.datetime) -> Certificate:
    """Revoke a certificate, for good; `reason` is one of RevocationReason.

    Writes the revocation, its audit entry and a fresh CRL in one transaction and announces the
    change; `certificate_revoked` is sent after the commit. Of two who revoke at once, one wins.

    Refuses: a certificate that is revoked already (AlreadyRevokedError), a self-signed root
    (AuthorityError), an unknown reason (RequestError).
    """
    why = _reason(reason)
    authority = certificate.authority
    if authority is None:
        raise AuthorityError(
            f"{certificate.subject} signed itself, so nobody can revoke it. "
            "Withdraw it from the trust stores instead."
        )
    with transaction.atomic():
        locked = crl.lock(authority)
        unrevoked = Certificate.objects.filter(pk=certificate.pk, revoked_at__isnull=True)
        if not unrevoked.update(revoked_at=at, revocation_reason=why):
            raise AlreadyRevokedError(f"{certificate} has been revoked already.")
        # Links that were asked for with it end too, or a thief could enrol after the theft is known.
        Invitation.objects.open(at).filter(asked_with=certificate).update(expires_at=at)
        _record(certificate, actor=actor, reason=why, at=at)
        crl.publish(authority=locked, actor=actor, at=at)  # announces the change as well
        transaction.on_commit(partial(_send, certificate, why))
    certificate.refresh_from_db(fields=["revoked_at", "revocation_reason"])
    return certificate


def _reason(reason: str) -> RevocationReason:
    try:
        return RevocationReason(reason)
    except ValueError:
        known = ", ".join(RevocationReason.values)
        raise RequestError(f"{reason!r} is not a reason. Choose one of: {known}.") from None


def _record(certificate: Certificate, *, actor: str, reason: str, at: dt.datetime) -> None:
    audit.record(
        actor=actor,
        action="certificate.revoked",
        target=f"certificate {certificate.serial}",
        detail={
            "subject": certificate.subject,
            "sha256": certificate.sha256,
            "reason": str(reason),
        },
        at=at,
    )


def _send(certificate: Certificate, reason: RevocationReason) -> None:
    certificate_revoked.send_robust(
        sender=None,
        certificate_id=certificate.pk,
        sha256=certificate.sha256,
        reason=reason.value,
    )
