"""Revocation: the only place that assigns `revoked_at` and `revocation_reason`.

What always holds here:
  1. a certificate is unrevoked, on hold or revoked for good; only a hold ends (`release`), and each
     step is one conditional UPDATE, so of two who take different ones at once one wins;
  2. the step, its audit entry and the CRL that tells of it are one transaction;
  3. a certificate of a CA whose key is elsewhere is blocked here, and no CRL of ours tells of it.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from cryptography import x509
from django.db import transaction
from django.db.models import Q

from pki import audit, crl
from pki.changes import announce_change
from pki.errors import (
    AlreadyRevokedError,
    AuthorityError,
    PKIError,
    RequestError,
    StateError,
)
from pki.models import (
    Certificate,
    CertificateAuthority,
    Invitation,
    PlannedRevocation,
    RevocationReason,
)
from pki.progress import Progress, unwatched
from pki.signals import certificate_released, certificate_revoked

BATCH = 500  # certificates in one transaction
UNREVOKED = Q(revoked_at__isnull=True)
ON_HOLD = Q(revocation_reason=RevocationReason.HOLD)

logger = logging.getLogger("pki")


# --- One certificate ------------------------------------------------------------------------


@audit.refusals("certificate.revoke")
def revoke(*, actor: str, certificate: Certificate, reason: str, at: dt.datetime) -> Certificate:
    """Revoke a certificate; `reason` is one of RevocationReason. On hold it may be released.

    One that is on hold is revoked for good by any other reason, and keeps the date of the hold: it
    was not to be relied upon since then (RFC 5280, 5.3.2 leaves the choice). Ends the enrolment
    links that were asked for with it, and, for good, what was planned for it. Writes an audit entry
    and a fresh CRL in the same transaction and announces the change; `certificate_revoked` is sent
    after the commit. Of two who revoke at once, one wins.

    Refuses: a certificate that is revoked already (AlreadyRevokedError), one that was on hold when
    the caller looked and has been released since (StateError), a self-signed root
    (AuthorityError), an unknown reason (RequestError).
    """
    why = _reason(reason)
    _refuse_root(certificate)
    with transaction.atomic():
        authority = _lock(certificate)
        was_on_hold = _write(certificate, why, at)
        _take_along([certificate], why, at)
        _record("certificate.revoked", certificate, _detail(why, was_on_hold), actor=actor, at=at)
        _tell(authority, [certificate], actor=actor, at=at)
        transaction.on_commit(partial(_send_revoked, certificate, why))
    certificate.refresh_from_db(fields=["revoked_at", "revocation_reason"])
    return certificate


@audit.refusals("certificate.release")
def release(*, actor: str, certificate: Certificate, at: dt.datetime) -> Certificate:
    """End a hold: the certificate is as good as before.

    Writes an audit entry and a fresh CRL in the same transaction and announces the change;
    `certificate_released` is sent after the commit. Refuses (StateError) a certificate that is
    not on hold.
    """
    with transaction.atomic():
        authority = _lock(certificate)
        held = Certificate.objects.filter(ON_HOLD, pk=certificate.pk)
        if not held.update(revoked_at=None, revocation_reason=""):
            certificate.refresh_from_db(fields=["revoked_at", "revocation_reason"])
            state = "is revoked for good" if certificate.revoked_at else "is not on hold"
            raise StateError(f"{certificate} {state}, so there is nothing to release.")
        _record("certificate.released", certificate, {}, actor=actor, at=at)
        _tell(authority, [certificate], actor=actor, at=at)
        transaction.on_commit(partial(_send_released, certificate))
    certificate.refresh_from_db(fields=["revoked_at", "revocation_reason"])
    return certificate


# --- Many -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How many of those asked for were revoked, and how many were left as they are: revoked
    already, self-signed or unknown."""

    revoked: int
    left: int


@audit.refusals("certificate.revoke_many")
def revoke_many(
    *,
    actor: str,
    certificates: Iterable[int],
    reason: str,
    at: dt.datetime,
    progress: Progress = unwatched,
) -> Outcome:
    """Revoke the certificates with these keys of rows, as `revoke` does, 500 in a transaction.

    What cannot be revoked is left as it is and counted. Each batch publishes one CRL of each CA
    in it, so at any moment what is revoked is listed; an audit entry is written and
    `certificate_revoked` sent for each certificate. Interrupted by `progress` between two batches it
    can be run again. CAs come last: what they issued is revoked under their own CRL first.

    Refuses an unknown reason (RequestError).
    """
    why = _reason(reason)
    keys = _leaves_first(certificates)
    revoked = 0
    for start in range(0, len(keys), BATCH):
        revoked += _revoke_batch(keys[start : start + BATCH], why, actor=actor, at=at)
        progress(min(start + BATCH, len(keys)), len(keys))
    return Outcome(revoked, len(keys) - revoked)


def _leaves_first(certificates: Iterable[int]) -> list[int]:
    keys = list(dict.fromkeys(certificates))
    authorities = set(CertificateAuthority.objects.values_list("certificate_id", flat=True))
    return sorted(keys, key=lambda key: key in authorities)


def _revoke_batch(keys: list[int], why: RevocationReason, *, actor: str, at: dt.datetime) -> int:
    with transaction.atomic():
        # In the order of their keys, or two batches could wait for each other.
        concerned = CertificateAuthority.objects.filter(issued__in=keys).distinct()
        locked = {ca.pk: crl.lock(ca) for ca in concerned.order_by("pk")}
        found = [one for one in _revocable(keys, why) if not _is_self_signed(one)]
        held = {one.pk for one in found if one.revocation_reason == RevocationReason.HOLD}
        rows = Certificate.objects.filter(pk__in=[one.pk for one in found])
        rows.filter(ON_HOLD).update(revocation_reason=why)
        rows.filter(UNREVOKED).update(revoked_at=at, revocation_reason=why)
        _take_along(found, why, at)
        for one in found:
            detail = _detail(why, one.pk in held)
            _record("certificate.revoked", one, detail, actor=actor, at=at)
            transaction.on_commit(partial(_send_revoked, one, why))
        for pk in dict.fromkeys(one.authority_id for one in found):
            own = [one for one in found if one.authority_id == pk]
            _tell(locked[pk] if pk else None, own, actor=actor, at=at)
    return len(found)


def _revocable(keys: list[int], why: RevocationReason) -> list[Certificate]:
    """Those that `revoke` would not refuse as revoked already; locked, in the order given."""
    may_change = UNREVOKED if why is RevocationReason.HOLD else UNREVOKED | ON_HOLD
    rows = Certificate.objects.filter(may_change, pk__in=keys).order_by("pk")
    place = {key: number for number, key in enumerate(keys)}
    found = rows.select_for_update(no_key=True).defer("der")
    return sorted(found, key=lambda one: place[one.pk])


# --- Planned --------------------------------------------------------------------------------


@audit.refusals("certificate.plan_revocation")
def plan(
    *, actor: str, certificate: Certificate, reason: str, at_time: dt.datetime, at: dt.datetime
) -> PlannedRevocation:
    """Have a certificate revoked at `at_time`, in the name of the actor; writes an audit entry.

    Refuses: a time that is not ahead or after the certificate's end, an unknown reason
    (RequestError), a certificate that is revoked (AlreadyRevokedError), a self-signed root
    (AuthorityError), and a second plan (StateError).
    """
    why = _reason(reason)
    _refuse_root(certificate)
    if not at < at_time <= certificate.not_after:
        raise RequestError(
            "Choose a time that is ahead and before the certificate expires "
            f"({certificate.not_after:%Y-%m-%d %H:%M} UTC)."
        )
    with transaction.atomic():
        _lock(certificate)
        state = Q(pk=certificate.pk) & (UNREVOKED | ON_HOLD)
        if not Certificate.objects.filter(state).exists():
            raise AlreadyRevokedError(f"{certificate} has been revoked already.")
        planned, is_new = PlannedRevocation.objects.get_or_create(
            certificate=certificate, defaults={"at": at_time, "reason": why, "planned_by": actor}
        )
        if not is_new:
            raise StateError(
                f"The revocation of {certificate} is planned for {planned.at:%Y-%m-%d %H:%M} UTC "
                "already. Cancel that first."
            )
        detail: dict[str, object] = {"reason": why.value, "at": at_time.isoformat()}
        _record("certificate.revocation_planned", certificate, detail, actor=actor, at=at)
    return planned


@audit.refusals("certificate.cancel_plan")
def cancel_plan(*, actor: str, certificate: Certificate, at: dt.datetime) -> None:
    """Drop a planned revocation; writes an audit entry. Refuses when none is planned: never was,
    or it has been carried out (StateError)."""
    with transaction.atomic():
        _lock(certificate)
        deleted, _ = PlannedRevocation.objects.filter(certificate=certificate).delete()
        if not deleted:
            raise StateError(f"No revocation of {certificate} is planned.")
        _record("certificate.plan_cancelled", certificate, {}, actor=actor, at=at)


def carry_out_planned(*, at: dt.datetime, since: dt.datetime | None = None) -> int:
    """Revoke what was planned for `at` or before (but not before `since`), each in a transaction
    of its own and in the name of who planned it; returns how many.

    Several processes may call it at once. What is revoked already is skipped, and one that cannot
    be revoked is written to the log, stays planned and keeps no other from its turn.
    """
    due = PlannedRevocation.objects.filter(at__lte=at).select_related("certificate")
    due = due.filter(at__gte=since) if since else due
    return sum(_carry_out(planned, at) for planned in due.defer("certificate__der"))


def _carry_out(planned: PlannedRevocation, at: dt.datetime) -> bool:
    try:
        with transaction.atomic():
            _lock(planned.certificate)
            still_planned = PlannedRevocation.objects.filter(pk=planned.pk, at__lte=at)
            row = still_planned.select_related("certificate").first()
            if row is None:
                return False
            row.delete()
            revoke(actor=row.planned_by, certificate=row.certificate, reason=row.reason, at=at)
    except AlreadyRevokedError:
        PlannedRevocation.objects.filter(pk=planned.pk).delete()
        return False
    except PKIError as error:
        logger.error("The planned revocation of %s is refused: %s", planned.certificate, error)
        return False
    except Exception:  # whatever is wrong with one, the others must not wait for it
        logger.exception("The planned revocation of %s failed", planned.certificate)
        return False
    return True


# --- Parts ----------------------------------------------------------------------------------


def _reason(reason: str) -> RevocationReason:
    try:
        return RevocationReason(reason)
    except ValueError:
        known = ", ".join(RevocationReason.values)
        raise RequestError(f"{reason!r} is not a reason. Choose one of: {known}.") from None


def _refuse_root(certificate: Certificate) -> None:
    if _is_self_signed(certificate):
        raise AuthorityError(
            f"{certificate.subject} signed itself, so nobody can revoke it. "
            "Withdraw it from the trust stores instead."
        )


def _is_self_signed(certificate: Certificate) -> bool:
    """Without a CA in our rows it is one of ours that signed itself, or one from elsewhere."""
    if certificate.authority_id is not None:
        return False
    found = x509.load_der_x509_certificate(bytes(certificate.der))
    return not certificate.is_outside or found.issuer == found.subject


def _lock(certificate: Certificate) -> CertificateAuthority | None:
    authority = certificate.authority
    return crl.lock(authority) if authority is not None else None


def _write(certificate: Certificate, why: RevocationReason, at: dt.datetime) -> bool:
    """The one conditional UPDATE; returns whether the certificate was on hold."""
    row = Certificate.objects.filter(pk=certificate.pk)
    seen_on_hold = certificate.revocation_reason == RevocationReason.HOLD
    if why is not RevocationReason.HOLD and row.filter(ON_HOLD).update(revocation_reason=why):
        return True
    if not seen_on_hold and row.filter(UNREVOKED).update(revoked_at=at, revocation_reason=why):
        return False
    if seen_on_hold and row.filter(UNREVOKED).exists():
        raise StateError(f"{certificate} has been released meanwhile. Look at it again.")
    raise AlreadyRevokedError(f"{certificate} has been revoked already.")


def _take_along(found: list[Certificate], why: RevocationReason, at: dt.datetime) -> None:
    """Links that were asked for with it end too, or a thief could enrol after the theft is known."""
    Invitation.objects.open(at).filter(asked_with__in=found).update(expires_at=at)
    if why is not RevocationReason.HOLD:
        PlannedRevocation.objects.filter(certificate__in=found).delete()


def _tell(
    authority: CertificateAuthority | None,
    certificates: list[Certificate],
    *,
    actor: str,
    at: dt.datetime,
) -> None:
    """Publish where the CA's key is here, which announces the change as well; else announce it."""
    if authority is not None and authority.certificate.key_id is not None:
        crl.publish_changes(authority=authority, certificates=certificates, actor=actor, at=at)
    else:
        announce_change()


def _detail(reason: RevocationReason, was_on_hold: bool) -> dict[str, object]:
    return {"reason": reason.value, **({"was_on_hold": True} if was_on_hold else {})}


def _record(
    action: str,
    certificate: Certificate,
    detail: dict[str, object],
    *,
    actor: str,
    at: dt.datetime,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        target=f"certificate {certificate.serial}",
        detail={"subject": certificate.subject, "sha256": certificate.sha256, **detail},
        at=at,
    )


def _send_revoked(certificate: Certificate, reason: RevocationReason) -> None:
    certificate_revoked.send_robust(
        sender=None,
        certificate_id=certificate.pk,
        sha256=certificate.sha256,
        reason=reason.value,
    )


def _send_released(certificate: Certificate) -> None:
    certificate_released.send_robust(
        sender=None, certificate_id=certificate.pk, sha256=certificate.sha256
    )
