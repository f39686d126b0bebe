"""The only writer of certificates: prepare, then issue.

`prepare` decides and signs nothing: it checks the profile, the CA, the key and the names, and
lints a twin that a throw-away key has signed. `issue` accepts only what `prepare` returned, once,
and signs exactly the bytes that were linted. What is signed and not written does not exist: the
row and the audit entry share one transaction. Every certificate of ours comes from here; rows of
certificates that others issued (`is_outside`) are written where they are adopted and imported.

One certificate is many of one: `prepare` and `issue` are `prepare_many` and `issue_many`.
"""

from __future__ import annotations

import datetime as dt
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import IntegrityError, transaction

from pki import algorithms, audit, catalogue, keys, lint, names, tbs
from pki.changes import announce_change
from pki.description import partition_of, serial_text
from pki.errors import AuthorityError, LintError, ProfileError, RequestError, StateError
from pki.holdings import Claim, Holdings
from pki.models import AuditEntry, Certificate, CertificateAuthority, PrivateKey, User
from pki.profiles import Profile
from pki.progress import Progress, unwatched
from pki.querysets import rows_of
from pki.signals import certificate_issued
from pki.signatory import Signatory
from pki.wanted import (
    Wanted,
    certified_key,
    differences,
    names_for,
    narrowed,
    refuse_misfits,
)

T = TypeVar("T")
WORD_EVERY = 20  # certificates between two words of progress
# Asked with every certificate, so written out (`querysets.rows_of`).
ACTIVE = f"SELECT id FROM {User._meta.db_table} WHERE is_active AND id IN ({{}})"  # noqa: S608


@dataclass(frozen=True, eq=False)
class Prepared:
    """A certificate that may be signed, once. Only `prepare` makes one that `issue` accepts.

    `twin` is the certificate as it will be, under a throw-away signature. `differences` are
    sentences: what the CSR asked for and the certificate will not have.
    """

    actor: str
    authority: CertificateAuthority | None
    profile: Profile
    builder: x509.CertificateBuilder
    twin: x509.Certificate
    serial: int
    claim: Claim
    signer: PrivateKey
    key: PrivateKey | None
    owner: User | None
    device: str
    at: dt.datetime
    differences: tuple[str, ...] = ()


_pending: weakref.WeakSet[Prepared] = weakref.WeakSet()
_pending_lock = threading.Lock()


@audit.refusals("certificate.issue")
def prepare(
    *,
    actor: str,
    authority: CertificateAuthority | None,
    profile: str,
    at: dt.datetime,
    public_key: CertificatePublicKeyTypes | None = None,
    csr: x509.CertificateSigningRequest | None = None,
    key: PrivateKey | None = None,
    owner: User | None = None,
    device: str = "",
    common_name: str = "",
    hosts: Sequence[str] = (),
    path_length: int | None = None,
    validity: dt.timedelta | None = None,
    name_constraints: x509.NameConstraints | None = None,
    renews: Certificate | None = None,
) -> Prepared:
    """Decide whether a certificate may be signed, and make it ready. Changes nothing.

    What is asked for is explained in `Wanted`. `authority` is None for a self-signed root alone.
    What a CSR asks for beyond its key and its profile is said in `differences`, or refused, as the
    profile has it.

    Refuses: a profile that does not fit, is off, or of which the owner has as many as it admits, a
    weak key, a CSR that asks to be a CA or too much, or whose signature is wrong (ProfileError); a
    CA that is revoked, expired, retired or without its key (AuthorityError); a key that belongs to
    somebody else, to a CA, or was compromised (KeyReuseError); what the linter finds (LintError).
    """
    wanted = Wanted(
        profile=profile,
        public_key=public_key,
        csr=csr,
        key=key,
        owner=owner,
        device=device,
        common_name=common_name,
        hosts=hosts,
        path_length=path_length,
        validity=validity,
        name_constraints=name_constraints,
        renews=renews,
    )
    [found] = prepare_many(actor=actor, authority=authority, wanted=[wanted], at=at)
    if isinstance(found, RequestError):
        raise found
    return found


def prepare_many(
    *,
    actor: str,
    authority: CertificateAuthority | None,
    wanted: Sequence[Wanted],
    at: dt.datetime,
    progress: Progress = unwatched,
) -> list[Prepared | RequestError]:
    """Do for each, in their order, what `prepare` does for one; a refusal stands in its place.

    Those before count for those after: what `prepare` would refuse if the former had been issued
    is refused here, such as one key for two people, or one more than the profile admits.
    """
    signatory, named = Signatory(authority, at=at), cache(partial(_attempt, catalogue.named))
    begun = [_attempt(_begin, one, named(one.profile), signatory) for one in wanted]
    claims = [each.claim for each in begun if isinstance(each, _Begun)]
    holdings, found = Holdings(claims, at=at), list[Prepared | RequestError]()
    for number, each in enumerate(begun, 1):
        if isinstance(each, _Begun):
            found.append(_attempt(_finish, each, holdings, signatory, actor))
        else:
            found.append(each)
        if number % WORD_EVERY == 0 or number == len(begun):
            progress(number, len(begun))
    return found


@audit.refusals("certificate.issue")
def issue(prepared: Prepared) -> Certificate:
    """Sign what was prepared; returns the new row. It is `issue_many` of one."""
    [certificate] = issue_many([prepared])
    return certificate


@audit.refusals("certificate.issue")
def issue_many(prepared: Sequence[Prepared]) -> list[Certificate]:
    """Sign what was prepared, all of it or nothing; returns the new rows in the same order.

    Writes the certificates and their audit entries in one transaction, and sends
    `certificate_issued` for each after the commit. A change is announced for a CA alone: a new leaf
    changes nobody's trust, and every announcement makes every process build its TLS contexts again.
    Refuses what `prepare` did not return or what was issued before (ProfileError), a CA, an owner
    or a partition of the CRLs that was withdrawn meanwhile (AuthorityError, ProfileError), an owner
    who has as many as the profile admits by now (ProfileError), a key that somebody else got
    certified meanwhile (KeyReuseError), and a serial number that the CA has given before
    (StateError).
    """
    if not prepared:
        return []
    _take(prepared)
    try:
        with transaction.atomic():
            rows = [_row(one, _signed(one)) for one in prepared]
            audit.record_many([_entry(row) for row in rows])
            # The audit trail is locked from here on: nobody else issues between check and commit.
            _refuse_changes_since(prepared)
            Certificate.objects.bulk_create(rows)
            if any(one.profile.is_ca for one in prepared):
                announce_change()
            for row in rows:
                transaction.on_commit(partial(_send, row))
    except IntegrityError:
        if not _is_taken(prepared):
            raise
        raise StateError(
            "The serial number that was drawn for this certificate is taken. Nothing was issued; "
            "try again. If it happens twice, the random numbers of this machine are broken."
        ) from None
    return rows


# --- Preparing ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Begun:
    """What is known of a certificate before it is compared with those there are."""

    wanted: Wanted
    kind: Profile
    key: CertificatePublicKeyTypes
    signer: PrivateKey
    claim: Claim


def _attempt(step: Callable[..., T], *values: object) -> T | RequestError:
    try:
        return step(*values)
    except RequestError as refusal:
        return refusal


def _begin(wanted: Wanted, named: Profile | RequestError, signatory: Signatory) -> _Begun:
    if isinstance(named, RequestError):
        raise named
    kind = narrowed(named, wanted)
    refuse_misfits(kind, wanted, signs_itself=signatory.authority is None)
    signer = signatory.key_for(kind, wanted.key)
    key = certified_key(wanted)
    kind.require_public_key(key)
    claim = Claim(algorithms.spki_sha256(key), kind, wanted.owner, wanted.renews)
    return _Begun(wanted, kind, key, signer, claim)


def _finish(begun: _Begun, holdings: Holdings, signatory: Signatory, actor: str) -> Prepared:
    wanted, kind, at = begun.wanted, begun.kind, signatory.at
    holdings.admit(begun.claim)
    subject, alternatives = given = names_for(wanted, kind)
    left_out = differences(wanted, kind, given)
    device = names.clean_device(wanted.device) if wanted.device else ""
    serial = tbs.new_serial()
    request = tbs.Request(subject, begun.key, alternatives, serial, at, wanted.name_constraints)
    builder = tbs.build(profile=kind, request=request, issuer=signatory.issuer(serial))
    twin = lint.sign_twin(builder, algorithm=begun.signer.algorithm)
    lint.lint(lint.Candidate(twin, kind, signatory.certificate, at, signatory.above))
    prepared = Prepared(
        actor=actor,
        authority=signatory.authority,
        profile=kind,
        builder=builder,
        twin=twin,
        serial=serial,
        claim=begun.claim,
        signer=begun.signer,
        key=wanted.key,
        owner=wanted.owner,
        device=device,
        at=at,
        differences=left_out,
    )
    with _pending_lock:
        _pending.add(prepared)
    return prepared


# --- Writing --------------------------------------------------------------------------------


def _take(prepared: Sequence[Prepared]) -> None:
    with _pending_lock:
        if len(set(prepared)) != len(prepared) or not _pending.issuperset(prepared):
            raise ProfileError("This certificate was not prepared, or it was issued already.")
        _pending.difference_update(prepared)


def _signed(prepared: Prepared) -> x509.Certificate:
    signed = keys.sign_certificate(prepared.builder, key=prepared.signer)
    if signed.tbs_certificate_bytes != prepared.twin.tbs_certificate_bytes:
        raise LintError(["twin: what was signed is not what was linted"])
    return signed


def _row(prepared: Prepared, signed: x509.Certificate) -> Certificate:
    der = signed.public_bytes(Encoding.DER)
    return Certificate(
        authority=prepared.authority,
        profile=prepared.profile.name,
        serial=serial_text(signed.serial_number),
        sha256=sha256(der).hexdigest(),
        spki_sha256=prepared.claim.spki_sha256,
        subject=signed.subject.rfc4514_string(),
        not_before=signed.not_valid_before_utc,
        not_after=signed.not_valid_after_utc,
        der=der,
        owner=prepared.owner,
        device=prepared.device,
        key=prepared.key,
        signs_in=prepared.owner is not None and prepared.profile.signs_in,
        issued_at=prepared.at,
        issued_by=prepared.actor,
    )


def _entry(certificate: Certificate) -> AuditEntry:
    return AuditEntry(
        actor=certificate.issued_by,
        action="certificate.issued",
        target=f"certificate {certificate.serial}",
        detail={
            "subject": certificate.subject,
            "profile": certificate.profile,
            "authority": str(certificate.authority or "itself"),
            "sha256": certificate.sha256,
            "not_after": certificate.not_after.isoformat(),
            "device": certificate.device,
        },
        at=certificate.issued_at,
    )


def _refuse_changes_since(prepared: Sequence[Prepared]) -> None:
    for authority, at in {(one.authority, one.at) for one in prepared}:
        signatory = Signatory(authority, at=at)
        for is_for_responder in {one.profile.is_for_responders for one in prepared}:
            signatory.require(is_for_responder=is_for_responder)
    _refuse_lost_partitions(prepared)
    owners = {one.owner.pk: one.owner for one in prepared if one.owner}
    if owners:
        active = {pk for (pk,) in rows_of(ACTIVE.format(", ".join(["%s"] * len(owners))), *owners)}
        for pk in owners.keys() - active:
            raise ProfileError(f"The account of {owners[pk]} is disabled.")
    holdings = Holdings([one.claim for one in prepared], at=max(one.at for one in prepared))
    for one in prepared:
        holdings.admit(one.claim)


def _refuse_lost_partitions(prepared: Sequence[Prepared]) -> None:
    """A CRL that a certificate names must still be published (`crl.configure`)."""
    named = {
        (one.authority, partition_of(one.serial, one.authority.crl_partitions))
        for one in prepared
        if one.authority and one.authority.crl_partitions
    }
    rows = CertificateAuthority.objects.filter(pk__in={authority.pk for authority, _ in named})
    now = dict(rows.values_list("pk", "crl_partitions")) if named else {}
    for authority, partition in named:
        if partition > now[authority.pk]:
            raise AuthorityError(
                f"{authority} has given up partition {partition} of its CRLs. Try again."
            )


def _is_taken(prepared: Sequence[Prepared]) -> bool:
    drawn = {(one.authority, one.serial) for one in prepared}
    return len(drawn) < len(prepared) or any(
        Certificate.objects.filter(authority=authority, serial=serial_text(serial)).exists()
        for authority, serial in drawn
    )


def _send(certificate: Certificate) -> None:
    certificate_issued.send_robust(
        sender=None, certificate_id=certificate.pk, sha256=certificate.sha256
    )
