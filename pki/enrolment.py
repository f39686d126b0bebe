"""Enrolment: invite a person with a one-time link, and redeem the link for a certificate."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import transaction
from django.utils.text import slugify

from pki import audit, authorities, handout, issuance, names, people, profiles
from pki.errors import InvitationError, RequestError
from pki.handout import Format, Handout
from pki.models import Certificate, Invitation, User

LINK_LIFETIME = dt.timedelta(hours=24)


@dataclass(frozen=True)
class Enrolled:
    """A certificate just issued, and the file that holds it (and its key, if we made it)."""

    certificate: Certificate
    handout: Handout


def invite(
    *,
    actor: str,
    user: User,
    device: str,
    at: dt.datetime,
    asked_with: int | None = None,
    lifetime: dt.timedelta = LINK_LIFETIME,
) -> tuple[Invitation, str]:
    """Make a one-time enrolment link; returns its row and the token, which is kept nowhere.

    `asked_with` is the id of the certificate that the actor is known by; when that is revoked, the
    link ends.

    Refuses (RequestError) a disabled account and an empty or overlong device name.
    """
    if not user.is_active:
        raise RequestError(f"The account of {user.username} is disabled.")
    device = names.clean_device(device)
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            token_sha256=_hash(token),
            user=user,
            device=device,
            asked_with_id=asked_with,
            created_at=at,
            created_by=actor,
            expires_at=at + lifetime,
        )
        audit.record(
            actor=actor,
            action="invitation.created",
            target=user.username,
            detail={"device": device, "expires_at": invitation.expires_at.isoformat()},
            at=at,
        )
    return invitation, token


def find(*, token: str, at: dt.datetime) -> Invitation:
    """The open invitation behind a token; else InvitationError with what to do."""
    invitation = Invitation.objects.select_related("user").filter(token_sha256=_hash(token)).first()
    if invitation is None:
        raise InvitationError("This enrolment link is not known. Check that you copied all of it.")
    if invitation.redeemed_at:
        raise InvitationError(
            "This enrolment link has been used. Ask for a new one if the file did not arrive."
        )
    if not invitation.user.is_active:
        raise InvitationError("The account that this link is for has been disabled.")
    if invitation.expires_at <= at:
        raise InvitationError(
            "This enrolment link is too old. Ask your administrator for a new one."
        )
    return invitation


def needs_console_password(user: User) -> bool:
    """Whether enrolling must also choose the password that opens the console."""
    return user.is_staff and not user.has_usable_password()


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
    """
    invitation = find(token=token, at=at)
    user = invitation.user
    # Slow, and so before the transaction: SQLite has one write lock for everybody.
    hashed = (
        people.hash_console_password(user=user, password=console_password or "")
        if needs_console_password(user)
        else None
    )
    key = handout.make_key()
    with transaction.atomic():
        if not Invitation.objects.open(at).filter(pk=invitation.pk).update(redeemed_at=at):
            raise InvitationError("This enrolment link has been used.")
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


def hand_out(
    *,
    actor: str,
    user: User,
    device: str,
    format: Format,
    password: str | None,
    csr: x509.CertificateSigningRequest | None = None,
    at: dt.datetime,
) -> Enrolled:
    """Issue a certificate to a person and pack it: with a key made now, or for their CSR's key.

    Refuses what `issuance.prepare` and `handout.pack` refuse; then nothing is issued.
    """
    return _issue_and_pack(
        actor=actor,
        user=user,
        device=names.clean_device(device),
        format=format,
        password=password,
        key=None if csr else handout.make_key(),
        csr=csr,
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
    at: dt.datetime,
) -> Enrolled:
    with transaction.atomic():
        authority = authorities.require_issuing(at=at)
        certificate = issuance.issue(
            issuance.prepare(
                actor=actor,
                authority=authority,
                profile=profiles.PERSON.name,
                public_key=key.public_key() if key else None,
                csr=csr,
                owner=user,
                device=device,
                at=at,
            )
        )
        packed = handout.pack(
            key=key,
            chain=[
                x509.load_der_x509_certificate(bytes(link.der))
                for link in (certificate, *authority.chain)
            ],
            format=format,
            password=password,
            name=slugify(f"{user.username} {device}"),
        )
    return Enrolled(certificate, packed)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
