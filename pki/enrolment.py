"""Enrolment: invite a person with a one-time link, and redeem the link for a certificate.

The key is made here and handed over once (`redeem`), or it stays with the person, who sends a CSR
(`redeem_with_csr`). Either way the link is used up with it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import IntegrityError, transaction
from django.utils.crypto import salted_hmac

from pki import (
    audit,
    authorities,
    catalogue,
    certification,
    handout,
    issuance,
    names,
    people,
    permissions,
    profiles,
)
from pki.errors import InvitationError, NotAllowedError, PKIError, RequestError, StateError
from pki.handout import Format, Handout
from pki.models import Certificate, CertificateProfile, CertificationRequest, Invitation, User

LINK_LIFETIME = dt.timedelta(hours=24)
AT_ONCE = 500  # links in one query
FETCH_LIFETIME = dt.timedelta(hours=24)  # how long an answer may be fetched again
USED = "This enrolment link has been used. Ask for a new one if the file did not arrive."


@dataclass(frozen=True)
class Enrolled:
    """A certificate just issued, and the file that holds it (and its key, if we made it).

    `differences` are sentences: what a CSR asked for and the certificate does not have.
    """

    certificate: Certificate
    handout: Handout
    differences: tuple[str, ...] = ()


@audit.refusals("invitation.create")
def invite(
    *,
    actor: str,
    user: User,
    device: str,
    at: dt.datetime,
    asked_with: int | None = None,
    lifetime: dt.timedelta = LINK_LIFETIME,
    once: str = "",
) -> tuple[Invitation, str]:
    """Make a one-time enrolment link; returns its row and the token, which is kept nowhere.

    `asked_with` is the id of the certificate that the actor is known by; once that is revoked, no
    link is made, and those that were made end. Called again with what stood in `once` of the same
    form, it makes no other link and returns the first one, so that a page may be sent twice.

    Refuses (RequestError) a disabled account and an empty or overlong device name; NotAllowedError
    where `asked_with` is revoked; StateError where the link of `once` was used or has ended.
    """
    if not user.is_active:
        raise RequestError(f"The account of {user.username} is disabled.")
    device = names.clean_device(device)
    token = _token_of(actor, user, device, once) if once else secrets.token_urlsafe(24)
    earlier = _made_with(token, at=at)
    if earlier is not None:
        return earlier, token
    invitation = Invitation(
        token_sha256=_hash(token),
        user=user,
        device=device,
        asked_with_id=asked_with,
        created_at=at,
        created_by=actor,
        expires_at=at + lifetime,
    )
    try:
        _add(invitation)
    except IntegrityError:  # made since it was looked for: the same page was sent twice at once
        earlier = _made_with(token, at=at)
        if earlier is None:
            raise
        return earlier, token
    return invitation, token


def _made_with(token: str, *, at: dt.datetime) -> Invitation | None:
    earlier = Invitation.objects.filter(token_sha256=_hash(token)).first()
    if earlier and not Invitation.objects.open(at).filter(pk=earlier.pk).exists():
        raise StateError("This link was made before and has been used since. Make a new one.")
    return earlier


def _add(invitation: Invitation) -> None:
    with transaction.atomic():
        _lock_certificate(invitation)
        invitation.save(force_insert=True)
        audit.record(
            actor=invitation.created_by,
            action="invitation.created",
            target=invitation.user.username,
            detail={
                "device": invitation.device,
                "expires_at": invitation.expires_at.isoformat(),
            },
            at=invitation.created_at,
        )


def _lock_certificate(invitation: Invitation) -> None:
    """So that a revocation of it either is seen here or sees, and ends, this link."""
    asked_with = Certificate.objects.filter(pk=invitation.asked_with_id or 0)
    if any(one.revoked_at for one in asked_with.select_for_update(no_key=True).defer("der")):
        raise NotAllowedError("The certificate that this link was asked for with has been revoked.")


def new_once() -> str:
    """For a form that makes one link, however often it is sent."""
    return secrets.token_urlsafe(16)


def made_before(
    *, actor: str, once: str, wanted: Iterable[tuple[User, str]]
) -> dict[tuple[int, str], tuple[Invitation, str]]:
    """The links that `invite` made with this `once`, each with its token, by the person's id and the
    device as `names.clean_device` gives it; also those that are used or have ended."""
    tokens = {
        _hash(token): (user.pk, device, token)
        for user, device in wanted
        for token in [_token_of(actor, user, device, once)]
    }
    hashes, found = sorted(tokens), {}
    for start in range(0, len(hashes), AT_ONCE):
        some = hashes[start : start + AT_ONCE]
        for row in Invitation.objects.filter(token_sha256__in=some):
            person, device, token = tokens[row.token_sha256]
            found[person, device] = row, token
    return found


def _token_of(actor: str, user: User, device: str, once: str) -> str:
    """The same token for the same form; nobody can guess it who lacks the server's secret."""
    asked = "\0".join((actor, str(user.pk), device, once))
    digest = salted_hmac("pki.enrolment.once", asked, algorithm="sha256").digest()
    return urlsafe_b64encode(digest[:24]).decode()


def find(*, token: str, at: dt.datetime) -> Invitation:
    """The open invitation behind a token; else InvitationError with what to do."""
    invitation = _behind(token)
    if invitation.redeemed_at:
        raise InvitationError(USED)
    _require_account(invitation)
    if invitation.expires_at <= at:
        raise InvitationError(
            "This enrolment link is too old. Ask your administrator for a new one."
        )
    _require_sound_certificate(invitation)
    _require_maker(invitation, invitation.user)
    return invitation


def _behind(token: str) -> Invitation:
    rows = Invitation.objects.select_related("user")
    invitation = rows.filter(token_sha256=_hash(token)).first()
    if invitation is None:
        raise InvitationError("This enrolment link is not known. Check that you copied all of it.")
    return invitation


def _require_account(invitation: Invitation) -> None:
    if not invitation.user.is_active:
        raise InvitationError("The account that this link is for has been disabled.")


def _require_sound_certificate(invitation: Invitation) -> None:
    """A thief who made a link with a stolen certificate gets nothing once it is revoked."""
    if Certificate.objects.revoked().filter(pk=invitation.asked_with_id or 0).exists():
        raise InvitationError(
            "This enrolment link was asked for with a certificate that was revoked since. Ask your "
            "administrator for a new one."
        )


def _require_maker(invitation: Invitation, user: User) -> None:
    """Whoever made a link for somebody who opens the console by now has it in their hands too."""
    if not permissions.is_sound_link(invitation.created_by, user):
        raise InvitationError(
            "Whoever made this enrolment link may make none for you now. Ask an administrator for "
            "a new one."
        )


def needs_console_password(user: User) -> bool:
    """Whether enrolling must also choose the password that opens the console."""
    return user.is_staff and not user.has_usable_password()


def needs_approval() -> bool:
    """Whether somebody approves each certificate of a person, so that no key is made here for it."""
    rows = CertificateProfile.objects.filter(name=profiles.PERSON.name, approvals__gte=1)
    return rows.exists()


@audit.refusals("enrolment.redeem")
def redeem(
    *,
    token: str,
    format: Format,
    file_password: str,
    console_password: str | None = None,
    at: dt.datetime,
) -> Enrolled:
    """Turn an open invitation into a certificate with a key made for the person, once.

    Two browsers that redeem at once: one gets the file, the other InvitationError. Sets the
    console password of an admin who has none. Nothing that was handed out stays here.

    Refuses (InvitationError) the link of somebody who opens the console by now, unless they made it
    themselves or its maker may issue for them.
    """
    invitation = find(token=token, at=at)
    user = invitation.user
    # Slow, and so before the transaction: SQLite has one write lock for everybody.
    hashed = _hashed(user, console_password)
    key = handout.make_key()
    with transaction.atomic():
        _use_up(invitation, at=at)
        if hashed is not None:
            people.put_console_password(actor=user.username, user=user, hashed=hashed, at=at)
        enrolled = _issue_and_pack(
            actor=user.username,
            user=user,
            device=invitation.device,
            format=format,
            password=file_password,
            key=key,
            at=at,
        )
        Invitation.objects.filter(pk=invitation.pk).update(certificate=enrolled.certificate)
    return enrolled


@audit.refusals("enrolment.redeem")
def redeem_with_csr(
    *,
    token: str,
    csr: x509.CertificateSigningRequest,
    console_password: str | None = None,
    at: dt.datetime,
) -> CertificationRequest:
    """Turn an open invitation into a request for the key of a CSR, issued or waiting; once.

    Asked again with the same key it returns the same request, for whoever lost the answer. The
    console password of an admin who has none is set once the certificate is issued. Refuses
    (InvitationError) another key on a used link and the links that `redeem` refuses, and what
    `certification.submit` refuses; then the link stays as it was.
    """
    earlier = _answered(token=token, spki=certification.spki_of(csr), at=at)
    if earlier is not None:
        return earlier
    invitation = find(token=token, at=at)
    hashed = _hashed(invitation.user, console_password)
    try:
        return _submit(invitation, csr, hashed, at=at)
    except InvitationError:  # used since: the same page may have sent its request twice at once
        earlier = _answered(token=token, spki=certification.spki_of(csr), at=at)
        if earlier is None:
            raise
        return earlier


def request_behind(*, token: str, at: dt.datetime) -> CertificationRequest | None:
    """What became of a link that was redeemed with a CSR; None while it is open.

    Refuses (InvitationError) a link that was used otherwise, and one whose request was decided
    more than a day ago.
    """
    invitation = _behind(token)
    rows = CertificationRequest.objects.select_related("certificate", "owner", "profile")
    request = rows.filter(invitation=invitation).first()
    if request is None:
        find(token=token, at=at)
        return None
    _require_account(invitation)
    if request.decided_at is not None and request.decided_at + FETCH_LIFETIME <= at:
        raise InvitationError(USED)
    return request


def record_refusal(*, token: str, error: PKIError) -> None:
    """Write down that somebody got nothing for a link, in the name of whom it was made for.

    Of a link that is not known nothing is written: who guesses may not fill the trail.
    """
    invitation = Invitation.objects.select_related("user").filter(token_sha256=_hash(token)).first()
    if invitation is not None:
        audit.record_refusal(
            error,
            actor=invitation.user.username,
            action="enrolment.redeem",
            target=f"{invitation.user.username} {invitation.device}",
        )


@audit.refusals("invitation.withdraw")
def withdraw_link(*, actor: str, invitation: Invitation, at: dt.datetime) -> Invitation:
    """End an open enrolment link at once. Writes an audit entry; the link says that it is too old.

    Refuses (StateError) a link that was used or has ended.
    """
    with transaction.atomic():
        if not Invitation.objects.open(at).filter(pk=invitation.pk).update(expires_at=at):
            raise StateError("This enrolment link has been used, or has ended already.")
        audit.record(
            actor=actor,
            action="invitation.withdrawn",
            target=invitation.user.username,
            detail={"device": invitation.device},
            at=at,
        )
    invitation.refresh_from_db(fields=["expires_at"])
    return invitation


def _answered(*, token: str, spki: str, at: dt.datetime) -> CertificationRequest | None:
    """The earlier request of this link with this very key."""
    request = request_behind(token=token, at=at)
    if request is not None and request.spki_sha256 != spki:
        raise InvitationError(USED)
    return request


def _submit(
    invitation: Invitation,
    csr: x509.CertificateSigningRequest,
    hashed: str | None,
    *,
    at: dt.datetime,
) -> CertificationRequest:
    user = invitation.user
    with transaction.atomic():
        _use_up(invitation, at=at)
        if hashed is not None:
            people.hold_console_password(
                actor=user.username, user=user, hashed=hashed, invitation=invitation, at=at
            )
        return certification.submit(
            actor=user.username,
            requester=user,
            profile=profiles.PERSON.name,
            csr=csr,
            owner=user,
            device=invitation.device,
            invitation=invitation,
            at=at,
        )


def _hashed(user: User, console_password: str | None) -> str | None:
    if not needs_console_password(user):
        return None
    return people.hash_console_password(user=user, password=console_password or "")


def _use_up(invitation: Invitation, *, at: dt.datetime) -> None:
    user = people.lock_person(invitation.user)  # before the link, as who is given the console is
    if not Invitation.objects.open(at).filter(pk=invitation.pk).update(redeemed_at=at):
        raise InvitationError("This enrolment link has been used.")
    # Once more, with both locked: a certificate may have been revoked, or the console given, since.
    _require_sound_certificate(invitation)
    _require_maker(invitation, user)


@audit.refusals("certificate.issue")
def hand_out(
    *,
    actor: str,
    user: User,
    device: str,
    format: Format,
    password: str | None,
    csr: x509.CertificateSigningRequest | None = None,
    profile: str = profiles.PERSON.name,
    at: dt.datetime,
) -> Enrolled:
    """Issue a certificate to a person and pack it: with a key made now, or for their CSR's key.

    Refuses what `issuance.prepare` and `handout.pack` refuse, and (ProfileError) where certificates
    of this profile need approval; then nothing is issued.
    """
    return _issue_and_pack(
        actor=actor,
        user=user,
        device=names.clean_device(device),
        format=format,
        password=password,
        key=None if csr else handout.make_key(),
        csr=csr,
        profile=profile,
        at=at,
    )


def _issue_and_pack(
    *,
    actor: str,
    user: User,
    device: str,
    format: Format,
    password: str | None,
    key: ec.EllipticCurvePrivateKey | None,
    csr: x509.CertificateSigningRequest | None = None,
    profile: str = profiles.PERSON.name,
    at: dt.datetime,
) -> Enrolled:
    catalogue.require_no_approval(profile)
    with transaction.atomic():
        authority = authorities.require_issuing(at=at)
        prepared = issuance.prepare(
            actor=actor,
            authority=authority,
            profile=profile,
            public_key=key.public_key() if key else None,
            csr=csr,
            owner=user,
            device=device,
            at=at,
        )
        certificate = issuance.issue(prepared)
        packed = handout.pack(
            key=key,
            chain=handout.chain_of(certificate),
            format=format,
            password=password,
            name=handout.file_stem(certificate),
        )
    return Enrolled(certificate, packed, prepared.differences)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
