"""A certificate from elsewhere becomes a person's: adopted by an admin, or recognised by a name.

What always holds here:
  1. what becomes anybody's was verified against the anchors and CRLs of a trust store first;
  2. below a CA whose key is here nothing is adopted: what it issued is known here already;
  3. a name in a certificate decides only where the store says so (`TrustStore.recognises`), for
     exactly one person, and never for people of the console: an outside CA must not reach it;
  4. what was adopted counts while a root above it is an anchor, in force, of a store that an
     enabled endpoint uses.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.db import IntegrityError, transaction
from django.db.models import Q

from pki import algorithms, audit, authorities, crl, lint, names, profiles, truststore
from pki.errors import (
    AccountDisabledError,
    CertificateNotTrustedError,
    IdentityError,
    KeyReuseError,
    PKIError,
    RequestError,
    StateError,
)
from pki.holdings import COMPROMISED
from pki.models import Certificate, CertificateAuthority, Endpoint, PrivateKey, TrustStore, User
from pki.truststore import Snapshot

# The actor of what was recognised. No username and no command has a name like this.
RECOGNISED = "signet:recognised"
PROFILE = profiles.PERSON.name


@audit.refusals("certificate.adopt")
def adopt(
    *,
    actor: str,
    chain: Sequence[bytes],
    user: User,
    truststore: TrustStore,
    at: dt.datetime,
    device: str = "",
) -> Certificate:
    """Let a person sign in with this very certificate of an outside CA; `chain` is DER, leaf first.

    Writes its row, the rows of CAs above it that are not known yet, and audit entries. Refuses: a
    chain that the store does not trust now, in the words of an endpoint, or that a CA of ours
    issued (RequestError); a certificate that is known already (StateError); a closed account
    (RequestError); a key that is somebody else's (KeyReuseError).
    """
    if not user.is_active:
        raise RequestError(f"The account of {user.username} is disabled. Enable it first.")
    device = names.clean_device(device) if device else ""
    try:
        path = _verified(_snapshot(truststore, at), chain, at)
        return _insert(path, user, truststore, actor=actor, device=device, at=at)
    except IdentityError as error:
        raise RequestError(str(error)) from None


def recognise(*, chain: Sequence[bytes], truststore: TrustStore, at: dt.datetime) -> Certificate:
    """Adopt an unknown certificate for the person it names, where the store recognises people.

    Writes what `adopt` writes; of two connections at once both get the same row. Raises the
    IdentityError that says why nobody was recognised.
    """
    path, user = _match(chain, truststore, at)
    try:
        return _insert(path, user, truststore, actor=RECOGNISED, device="", at=at)
    except StateError:  # another connection of the same person was quicker
        return Certificate.objects.get(sha256=path[0].fingerprint(SHA256()).hex())
    except IdentityError:
        raise
    except PKIError as error:
        raise CertificateNotTrustedError(str(error)) from None


def recognise_at(*, chain: Sequence[bytes], endpoint: str, at: dt.datetime) -> Certificate:
    """`recognise` by the trust store of an endpoint; raises CertificateNotTrustedError where it
    has none, or one that recognises nobody."""
    store = TrustStore.objects.filter(endpoints__name=endpoint, endpoints__enabled=True).first()
    if store is None or store.recognises == TrustStore.Recognises.NOBODY:
        raise CertificateNotTrustedError
    return recognise(chain=chain, truststore=store, at=at)


def person_of(*, chain: Sequence[bytes], truststore: TrustStore, at: dt.datetime) -> User:
    """Whom `recognise` would recognise. Changes nothing; raises as it does."""
    return _match(chain, truststore, at)[1]


def require_standing(certificate: Certificate, owner: User, *, at: dt.datetime) -> None:
    """A certificate from elsewhere still counts; else CertificateNotTrustedError. One query.

    Asked whenever somebody is identified by one: trust in its root may have ended since, and who
    was recognised by a name may have been given the console.
    """
    if certificate.issued_by == RECOGNISED:
        _refuse_console(owner)
    top = certificate.authority
    while top is not None and top.parent is not None:
        top = top.parent
    if top is None or not _is_anchored(top, at):
        raise CertificateNotTrustedError(
            "The authority that issued your certificate is not trusted here any more."
        )


# --- Decisions ------------------------------------------------------------------------------


def _snapshot(store: TrustStore, at: dt.datetime) -> Snapshot:
    return truststore.snapshot(store, at)


def _verified(
    snapshot: Snapshot, chain: Sequence[bytes], at: dt.datetime
) -> list[x509.Certificate]:
    path = truststore.verify(snapshot, chain, at=at)
    above = [algorithms.spki_sha256(ca.public_key()) for ca in path[1:]]
    if PrivateKey.objects.filter(spki_sha256__in=above).exists():
        raise CertificateNotTrustedError(
            "This certificate was signed by, or below, an authority of this organisation, which "
            "has no record of it."
        )
    return path


def _match(
    chain: Sequence[bytes], store: TrustStore, at: dt.datetime
) -> tuple[list[x509.Certificate], User]:
    """Numbered checks; the first that fails is the answer."""
    # 1. The store recognises people by a name.
    named = NAMED.get(store.recognises)
    if named is None:
        raise CertificateNotTrustedError
    # 2. The chain is trusted, and nobody on it is revoked. Here CRLs are a must.
    snapshot = _snapshot(store, at)
    if not snapshot.crls:
        raise CertificateNotTrustedError("There is no CRL of the authority that issued this.")
    path = _verified(snapshot, chain, at)
    # 3. It names exactly one person, open account or not.
    people = named(path[0])
    if len(people) != 1:
        raise CertificateNotTrustedError("This certificate names nobody who is known here.")
    user = people[0]
    # 4. Nobody of the console.
    _refuse_console(user)
    # 5. The account is open.
    if not user.is_active:
        raise AccountDisabledError
    return path, user


def _refuse_console(user: User) -> None:
    if user.is_staff or user.is_superuser:
        raise CertificateNotTrustedError(
            "People of the console sign in with certificates that were issued here, or that an "
            "administrator adopted for them."
        )


def _by_email(leaf: x509.Certificate) -> list[User]:
    """Addresses count in the SAN alone; what a subject says there nobody has to check."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    given = found.get_values_for_type(x509.RFC822Name)
    addresses = {address for address in given if _is_name(address)}
    wanted = Q()
    for address in addresses:
        wanted |= Q(email__iexact=address)
    candidates = User.objects.filter(wanted).exclude(email="") if wanted else User.objects.none()
    return [
        user
        for user in candidates
        if any(is_same_address(user.email, address) for address in addresses)
    ]


def is_same_address(known: str, given: str) -> bool:
    """Apart from the case of ASCII letters. Databases fold more: to some of them, and to Python,
    there are other letters that are a k or an i."""
    return known.isascii() and given.isascii() and known.lower() == given.lower()


def _by_subject(leaf: x509.Certificate) -> list[User]:
    found = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) != 1 or not _is_name(found[0].value):
        return []
    return list(User.objects.filter(username=found[0].value))


def _is_name(text: str | bytes) -> bool:
    """Whether a database may be asked for it: PostgreSQL fails at a NUL, and nobody is called so."""
    return isinstance(text, str) and lint.is_plain_text(text)


NAMED = {
    TrustStore.Recognises.EMAIL.value: _by_email,
    TrustStore.Recognises.SUBJECT.value: _by_subject,
}


def _is_anchored(root: CertificateAuthority, at: dt.datetime) -> bool:
    in_use = Endpoint.objects.filter(enabled=True, truststore__isnull=False).values("truststore")
    anchors = truststore.in_force(at).filter(truststore__in=in_use)
    return anchors.filter(Q(authority=root) | Q(sha256=root.certificate.sha256)).exists()


# --- Rows -----------------------------------------------------------------------------------


def _insert(
    path: list[x509.Certificate],
    user: User,
    store: TrustStore,
    *,
    actor: str,
    device: str,
    at: dt.datetime,
) -> Certificate:
    leaf, *above = path
    with transaction.atomic():
        _lock_issuer(path)
        authority = None
        for ca in reversed(above):
            authority = authorities.record_outside_authority(
                actor=actor, certificate=ca.public_bytes(Encoding.DER), at=at, parent=authority
            )
        row = _row(leaf, authority, actor, at)
        row.owner, row.device, row.signs_in = user, device, True
        row.save(update_fields=["owner", "device", "signs_in"])
        audit.record(
            actor=actor,
            action="certificate.recognised" if actor == RECOGNISED else "certificate.adopted",
            target=f"certificate {row.serial}",
            detail={
                "subject": row.subject,
                "sha256": row.sha256,
                "issuer": leaf.issuer.rfc4514_string(),
                "person": user.username,
                "truststore": store.name,
            },
            at=at,
        )
        # The audit trail is locked from here on: nobody else issues between check and commit.
        _refuse_reused_key(row, user)
        # And the issuer is: a CRL was kept before this, or will find the row (`imports.import_crl`).
        chain = [one.public_bytes(Encoding.DER) for one in path]
        truststore.verify(_snapshot(store, at), chain, at=at)
    return row


def _lock_issuer(path: list[x509.Certificate]) -> None:
    """Before anything is recorded: CAs come before the audit trail."""
    issuer = authorities.known(path[1].public_bytes(Encoding.DER)) if path[1:] else None
    if issuer is not None:
        crl.lock(issuer)


def _row(
    leaf: x509.Certificate, authority: CertificateAuthority | None, actor: str, at: dt.datetime
) -> Certificate:
    try:
        with transaction.atomic():
            return authorities.outside_certificate(
                leaf, authority=authority, profile=PROFILE, key=None, actor=actor, at=at
            )
    except IntegrityError:
        raise StateError("This certificate is known here already.") from None


def _refuse_reused_key(row: Certificate, user: User) -> None:
    same_key = Certificate.objects.filter(spki_sha256=row.spki_sha256).exclude(pk=row.pk)
    for other in same_key.only("owner", "revocation_reason"):
        if other.revocation_reason in COMPROMISED:
            raise KeyReuseError("The key of this certificate was reported lost or stolen.")
        if other.owner_id != user.pk:
            raise KeyReuseError("The key of this certificate already belongs to somebody else.")
