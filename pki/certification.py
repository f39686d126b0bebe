"""Requests for certificates: a CSR is submitted, approved or rejected, and issued.

What always holds here:
  1. whoever asked approves nothing of their own, and whoever made the enrolment link behind a
     request does not either: they could have opened it themselves;
  2. a request is decided once: the row is locked, and its state changes by a conditional UPDATE;
  3. what is issued was checked again at that moment, as if it had just been asked for; a yes
     counts while its giver may still decide.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction
from django.db.models import Q, QuerySet

from pki import (
    algorithms,
    audit,
    authorities,
    issuance,
    names,
    people,
    permissions,
    server_certificates,
)
from pki.errors import (
    BadFileError,
    KeyReuseError,
    LintError,
    NotAllowedError,
    ProfileError,
    StateError,
)
from pki.issuance import Prepared
from pki.models import (
    Approval,
    Certificate,
    CertificateProfile,
    CertificationRequest,
    Endpoint,
    Invitation,
    RevocationReason,
    User,
)

State = CertificationRequest.State
MOST_WAITING = 20
LONGEST_REASON = 200


@audit.refusals("request.submit")
def submit(
    *,
    actor: str,
    requester: User | None,
    profile: str,
    csr: x509.CertificateSigningRequest,
    owner: User | None = None,
    device: str = "",
    hosts: Sequence[str] = (),
    invitation: Invitation | None = None,
    asked_with: int | None = None,
    at: dt.datetime,
) -> CertificationRequest:
    """Ask for a certificate for the key of a CSR; returns the request, issued or waiting.

    `asked_with` is the id of the certificate that the actor is known by; once that is revoked,
    nothing is issued.

    Writes the request with what its CSR asks beyond the profile, and an audit entry. Where the
    profile needs nobody's approval, the certificate is issued in the same transaction.

    Refuses what `issuance.prepare` refuses; `asked_with` that is revoked by now (StateError); a key
    that waits for a certificate already (StateError) or for somebody else's (KeyReuseError); more
    than 20 waiting requests of one person (StateError); one of this deployment's own hosts to who is
    no administrator (NotAllowedError).
    """
    device = names.clean_device(device) if owner is not None else ""
    row = _profile(profile)
    request = CertificationRequest(
        profile=row,
        owner=owner,
        device=device,
        hosts=list(hosts),
        csr=csr.public_bytes(Encoding.DER),
        spki_sha256=spki_of(csr),
        requested_at=at,
        requested_by=actor,
        requester=requester,
        invitation=invitation,
        asked_with_id=asked_with,
    )
    _refuse_own_hosts(request, requester)
    prepared = _prepared(request, actor=actor, at=at)
    request.differences = list(prepared.differences)
    with transaction.atomic():
        request.save(force_insert=True)
        _record(request, "request.submitted", actor=actor, at=at)
        # The audit trail is locked from here on: nobody else submits, and nobody revokes, between
        # check and commit.
        _require_sound(request)
        _refuse_doubles(request)
        if not row.approvals:
            _issue(request, prepared, at=at)
    return request


@audit.refusals("request.submit_again")
def submit_again(
    *,
    actor: str,
    requester: User,
    request: CertificationRequest,
    asked_with: int | None = None,
    at: dt.datetime,
) -> CertificationRequest:
    """Let a rejected or withdrawn request of one's own wait once more; what was approved is void.

    Issues at once where the profile needs nobody's approval by now. Refuses somebody else's request
    (NotAllowedError), one in another state (StateError), and what `submit` refuses.
    """
    _require_requester(request, requester)
    _refuse_own_hosts(request, requester)
    prepared = _prepared(request, actor=actor, at=at)
    with transaction.atomic():
        over = CertificationRequest.objects.filter(
            pk=request.pk, state__in=(State.REJECTED, State.WITHDRAWN)
        )
        if not over.update(
            state=State.WAITING,
            decided_at=None,
            reason="",
            requested_at=at,
            asked_with=asked_with,
            differences=list(prepared.differences),
        ):
            raise _not_in_state(request)
        Approval.objects.filter(request=request).delete()
        request.refresh_from_db()
        _record(request, "request.submitted", actor=actor, at=at)
        _require_sound(request)
        _refuse_doubles(request)
        if not request.profile.approvals:
            _issue(request, prepared, at=at)
    return request


@audit.refusals("request.approve")
def approve(
    *, actor: str, approver: User, request: CertificationRequest, at: dt.datetime
) -> CertificationRequest:
    """Say yes to a waiting request; the last yes that its profile asks for issues the certificate.

    Writes the approval, an audit entry and, with the last one, the certificate in one transaction.
    Of two who give the last yes at once one issues, and the other meets StateError.

    Refuses the requester, whoever made the link behind it, and people who may not decide
    (NotAllowedError); a second yes of the same person, a request that is not waiting, and one that
    was asked for with a certificate that is revoked by now (StateError); what `issuance.prepare`
    refuses now. Then nothing changes, but that the request keeps what the linter found.
    """
    _refuse_own(request, approver)
    _require_decider(request, approver)
    _require_sound(request)
    prepared = _checked(request, actor=actor, at=at)
    with transaction.atomic():
        locked = _lock_waiting(request)
        if locked.owner is not None:  # before the audit trail: their password may be released
            people.lock_person(locked.owner)
        _, is_new = Approval.objects.get_or_create(
            request=locked, approver=approver, defaults={"at": at}
        )
        if not is_new:
            raise StateError("You have approved this request already. It needs somebody else too.")
        _record(locked, "request.approved", actor=actor, at=at, approver=approver.username)
        # The audit trail is locked from here on: nobody revokes between check and commit.
        _require_sound(locked)
        if len(approvals_that_count(locked)) >= locked.profile.approvals:
            _issue(locked, prepared, at=at)
    request.refresh_from_db()
    return request


@audit.refusals("request.reject")
def reject(
    *, actor: str, approver: User, request: CertificationRequest, reason: str, at: dt.datetime
) -> CertificationRequest:
    """Say no to a waiting request, with a reason that its requester reads. Writes an audit entry.

    Refuses people who may not decide (NotAllowedError), a request that is not waiting (StateError)
    and an empty or overlong reason (ProfileError).
    """
    _require_decider(request, approver)
    why = " ".join(reason.split())
    if not 0 < len(why) <= LONGEST_REASON:
        raise ProfileError(f"Give a reason of at most {LONGEST_REASON} letters.")
    with transaction.atomic():
        _end(request, State.REJECTED, reason=why, at=at)
        _drop_password(request, actor=actor, at=at)
        _record(
            request,
            "request.rejected",
            actor=actor,
            at=at,
            approver=approver.username,
            reason=why,
        )
    return request


@audit.refusals("request.withdraw")
def withdraw(
    *, actor: str, requester: User, request: CertificationRequest, at: dt.datetime
) -> CertificationRequest:
    """Take a waiting request of one's own back. Writes an audit entry.

    Refuses somebody else's request (NotAllowedError) and one that is not waiting (StateError).
    """
    _require_requester(request, requester)
    with transaction.atomic():
        _end(request, State.WITHDRAWN, reason="", at=at)
        _drop_password(request, actor=actor, at=at)
        _record(request, "request.withdrawn", actor=actor, at=at)
    return request


def check(*, request: CertificationRequest, at: dt.datetime) -> x509.Certificate:
    """What a waiting request would be issued now, but for serial number and signature, which are
    drawn and made then; raises what `approve` would. Changes nothing, and writes nothing down: a
    page that is looked at is no attempt of anybody."""
    _require_sound(request)
    # What is refused to nobody is not recorded.
    return _prepared(request, actor="", at=at).twin


def approvals_that_count(request: CertificationRequest) -> list[Approval]:
    """The yeses of those who may still decide."""
    given = request.approvals.select_related("approver").defer("approver__password")
    return [yes for yes in given if permissions.may_decide(yes.approver, request)]


def requests_of(person: User) -> QuerySet[CertificationRequest]:
    """What somebody asked for, and what others asked for them; the newest first."""
    rows = CertificationRequest.objects.select_related("profile", "owner", "certificate")
    return rows.filter(Q(requester=person) | Q(owner=person)).defer("csr", "certificate__der")


def spki_of(csr: x509.CertificateSigningRequest) -> str:
    """The SHA-256 of a CSR's public key; BadFileError where its key cannot be read."""
    try:
        return algorithms.spki_sha256(csr.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadFileError(
            f"The key of this certificate request cannot be read: {error}."
        ) from None


# --- What is refused ------------------------------------------------------------------------


def _profile(name: str) -> CertificateProfile:
    row = CertificateProfile.objects.filter(name=name, enabled=True).first()
    if row is None:
        raise ProfileError(f"There is no profile {name!r} that certificates are issued under.")
    return row


def _require_decider(request: CertificationRequest, approver: User) -> None:
    if not permissions.may_decide(approver, request):
        raise NotAllowedError("You may not decide about this request.")


def _require_requester(request: CertificationRequest, requester: User) -> None:
    if request.requester_id is None or request.requester_id != requester.pk:
        raise NotAllowedError("This request is somebody else's.")


def _refuse_own(request: CertificationRequest, approver: User) -> None:
    if approver.pk == request.requester_id or approver.username == request.requested_by:
        raise NotAllowedError("You asked for this certificate, so somebody else must approve it.")
    if request.invitation and request.invitation.created_by == approver.username:
        raise NotAllowedError(
            "You made the link that this request came through, so somebody else must approve it."
        )


def _require_sound(request: CertificationRequest) -> None:
    """A thief who asked with a stolen certificate gets nothing once it is revoked."""
    link = request.invitation
    known_by = [request.asked_with_id, link.asked_with_id if link else None]
    was_revoked = Certificate.objects.revoked().filter(pk__in=filter(None, known_by)).exists()
    if link and request.owner and not permissions.is_sound_link(link.created_by, request.owner):
        raise StateError(
            "Whoever made the link that this came through may make none for this person now. "
            "Reject it, and let them ask again."
        )
    stolen = Certificate.objects.filter(
        owner__isnull=False,
        owner=request.requester_id,
        revoked_at__gte=request.requested_at,
        revocation_reason=RevocationReason.KEY_COMPROMISE,
    )
    if was_revoked or stolen.exists():
        raise StateError(
            "A certificate of whoever asked for this was revoked since. It must be asked for again."
        )


def _refuse_own_hosts(request: CertificationRequest, requester: User | None) -> None:
    """A certificate in the name of our own server lets its holder stand in for it."""
    is_server = request.profile.purpose == CertificateProfile.Purpose.SERVER
    if not is_server or permissions.may_ask_for_own_hosts(requester):
        return
    own = _own_hosts()
    # Without a host it would be for all of our own.
    taken = [host for host in request.hosts or names.server_hosts() if _covers(host, own)]
    if taken:
        raise NotAllowedError(
            f"{', '.join(taken)}: this server itself answers there, so only an administrator may "
            "ask for such a certificate."
        )


def _own_hosts() -> set[str]:
    """Where this deployment answers: its own names, and what its endpoints are bound to."""
    bound = Endpoint.objects.values_list("address", flat=True)
    found = {_plain(host) for host in (*names.server_hosts(), *bound)}
    for row in Certificate.objects.filter(endpoints__isnull=False).distinct():
        found |= {_plain(host) for host in server_certificates.hosts_of(row)}
    return found


def _covers(host: str, own: set[str]) -> bool:
    """Whether a certificate for this host, which may begin with "*.", is good for one of ours."""
    plain = _plain(host)
    parents = {name.partition(".")[2] for name in own}
    return plain in own or (plain.startswith("*.") and plain.removeprefix("*.") in parents)


def _plain(host: str) -> str:
    """One spelling for each host."""
    try:
        return str(ip_address(host.strip()))
    except ValueError:
        return host.strip().lower().rstrip(".")


def _refuse_doubles(request: CertificationRequest) -> None:
    waiting = CertificationRequest.objects.filter(state=State.WAITING).exclude(pk=request.pk)
    for owner_id in waiting.filter(spki_sha256=request.spki_sha256).values_list("owner_id"):
        if owner_id == (request.owner_id,):
            raise StateError("A request with this key is waiting already.")
        raise KeyReuseError("This key is in a request of somebody else. Make a new one.")
    asked = waiting.filter(requester__isnull=False, requester=request.requester_id)
    if asked.count() >= MOST_WAITING:
        raise StateError(f"{MOST_WAITING} of your requests are waiting. Withdraw one first.")


def _not_in_state(request: CertificationRequest) -> StateError:
    now = CertificationRequest.objects.get(pk=request.pk)
    return StateError(f"This request is already {now.get_state_display()}.")


# --- What is written ------------------------------------------------------------------------


def _prepared(request: CertificationRequest, *, actor: str, at: dt.datetime) -> Prepared:
    return issuance.prepare(
        actor=actor,
        authority=authorities.require_issuing(at=at),
        profile=request.profile.name,
        csr=x509.load_der_x509_csr(bytes(request.csr)),
        owner=request.owner,
        device=request.device,
        hosts=request.hosts,
        at=at,
    )


def _checked(request: CertificationRequest, *, actor: str, at: dt.datetime) -> Prepared:
    """Prepared once more; whoever decides next sees what the linter found, if anything."""
    try:
        return _prepared(request, actor=actor, at=at)
    except LintError as error:
        rows = CertificationRequest.objects.filter(pk=request.pk, state=State.WAITING)
        rows.update(findings=error.findings)
        raise


def _lock_waiting(request: CertificationRequest) -> CertificationRequest:
    """The row as it is now, which nobody else decides meanwhile."""
    locked = (
        CertificationRequest.objects.select_for_update(of=("self",))
        .select_related("profile", "owner")
        .get(pk=request.pk)
    )
    if locked.state != State.WAITING:
        raise _not_in_state(request)
    return locked


def _issue(request: CertificationRequest, prepared: Prepared, *, at: dt.datetime) -> None:
    certificate = issuance.issue(prepared)
    _end(request, State.ISSUED, certificate=certificate, at=at)
    if request.invitation and request.owner:
        Invitation.objects.filter(pk=request.invitation.pk).update(certificate=certificate)
        people.release_console_password(
            actor=prepared.actor, user=request.owner, invitation=request.invitation, at=at
        )


def _drop_password(request: CertificationRequest, *, actor: str, at: dt.datetime) -> None:
    if request.invitation and request.owner:
        people.drop_console_password(
            actor=actor, user=request.owner, invitation=request.invitation, at=at
        )


def _end(
    request: CertificationRequest,
    state: CertificationRequest.State,
    *,
    at: dt.datetime,
    **facts: Any,
) -> None:
    waiting = CertificationRequest.objects.filter(pk=request.pk, state=State.WAITING)
    if not waiting.update(state=state, decided_at=at, **facts):
        raise _not_in_state(request)
    request.refresh_from_db()


def _record(
    request: CertificationRequest, action: str, *, actor: str, at: dt.datetime, **detail: Any
) -> None:
    facts = {
        "profile": request.profile.name,
        "owner": request.owner.username if request.owner else "",
        "device": request.device,
        "hosts": request.hosts,
        "spki_sha256": request.spki_sha256,
    }
    audit.record(
        actor=actor,
        action=action,
        target=f"request {request.pk}",
        detail={**facts, **detail},
        at=at,
    )
