"""The only writer of certificates: prepare, then issue.

`prepare` decides and signs nothing: it checks the profile, the CA, the key and the names, and
lints a twin that a throw-away key has signed. `issue` accepts only what `prepare` returned, once,
and signs exactly the bytes that were linted. What is signed and not written does not exist: the
row and the audit entry share one transaction. Every certificate of ours comes from here; rows of
certificates that others issued (`is_outside`) are written where they are adopted and imported.
"""

from __future__ import annotations

import datetime as dt
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import IntegrityError, transaction

from pki import addresses, algorithms, audit, catalogue, excess, keys, lint, names, tbs
from pki.changes import announce_change
from pki.crl_publication import Scope, file_name
from pki.description import partition_of, serial_text
from pki.errors import AuthorityError, KeyReuseError, LintError, ProfileError, StateError
from pki.models import Certificate, CertificateAuthority, PrivateKey, RevocationReason, User
from pki.profiles import Excess, Profile, Purpose
from pki.querysets import moment, rows_of
from pki.signals import certificate_issued

# Asked with every certificate, so written out (`querysets.rows_of`); names of tables are constants.
STANDING = f"""
    SELECT a.id, a.name, a.retired_at, c.revoked_at, c.not_before, c.not_after
    FROM {CertificateAuthority._meta.db_table} a
    JOIN {Certificate._meta.db_table} c ON c.id = a.certificate_id WHERE a.id IN ({{}})
"""  # noqa: S608
SAME_KEY = f"""
    SELECT id, owner_id, profile, revocation_reason, key_id, subject
    FROM {Certificate._meta.db_table} WHERE spki_sha256 = %s
"""  # noqa: S608
ACTIVE = f"SELECT id FROM {User._meta.db_table} WHERE id = %s AND is_active"  # noqa: S608


@dataclass(frozen=True, eq=False)
class Prepared:
    """A certificate that may be signed, once. Only `prepare` makes one that `issue` accepts.

    `differences` are sentences: what the CSR asked for and the certificate will not have.
    """

    actor: str
    authority: CertificateAuthority | None
    profile: Profile
    builder: x509.CertificateBuilder
    tbs: bytes
    serial: int
    spki_sha256: str
    signer: PrivateKey
    key: PrivateKey | None
    owner: User | None
    device: str
    at: dt.datetime
    renews: Certificate | None = None
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

    Exactly one of `public_key`, `csr` and `key` (one of the server's own) says whose key it is.
    `authority` is None for a self-signed root alone. A person's certificate takes its names from
    `owner`, a server's from `hosts` (settings.SIGNET_HOSTS when there are none), a CA's and a
    responder's from `common_name`. What a CSR asks for beyond its key and its profile is said in
    `differences`, or refused, as the profile has it.

    `validity` shortens that of the profile. For CAs: `path_length` stands for the profile's,
    `name_constraints` bind what they sign, and `renews` is their certificate that gets a successor
    with the same name and key.

    Refuses: a profile that does not fit, is off, or of which the owner has as many as it admits, a
    weak key, a CSR that asks to be a CA or too much, or whose signature is wrong (ProfileError); a
    CA that is revoked, expired, retired or without its key (AuthorityError); a key that belongs to
    somebody else, to a CA, or was compromised (KeyReuseError); what the linter finds (LintError).
    """
    kind = _narrowed(catalogue.named(profile), path_length, validity)
    _refuse_misfits(kind, authority, name_constraints, renews)
    signer = _signer(authority, kind, key, at)
    certified = _certified_key(public_key, csr, key)
    kind.require_public_key(certified)
    spki = algorithms.spki_sha256(certified)
    _refuse_reused_key(spki, kind, owner, renews)
    _refuse_too_many(kind, owner, at)
    subject, alternatives = _names(kind, owner, common_name, hosts, renews)
    differences = _differences(csr, kind, subject, alternatives)
    device = names.clean_device(device) if device else ""
    serial = tbs.new_serial()
    request = tbs.Request(subject, certified, alternatives, serial, at, name_constraints)
    issuer = _issuer(authority, serial) if authority else None
    builder = tbs.build(profile=kind, request=request, issuer=issuer)
    twin = lint.sign_twin(builder, algorithm=signer.algorithm)
    above = _above(authority)
    lint.lint(lint.Candidate(twin, kind, issuer.certificate if issuer else None, at, above))
    prepared = Prepared(
        actor=actor,
        authority=authority,
        profile=kind,
        builder=builder,
        tbs=twin.tbs_certificate_bytes,
        serial=serial,
        spki_sha256=spki,
        signer=signer,
        key=key,
        owner=owner,
        device=device,
        at=at,
        renews=renews,
        differences=differences,
    )
    with _pending_lock:
        _pending.add(prepared)
    return prepared


@audit.refusals("certificate.issue")
def issue(prepared: Prepared) -> Certificate:
    """Sign what was prepared; returns the new row.

    Writes the certificate and its audit entry in one transaction, and sends `certificate_issued`
    after the commit. A change is announced for a CA alone: a new leaf changes nobody's trust, and
    every announcement makes every process build its TLS contexts again. Refuses what `prepare` did
    not return or what was issued before (ProfileError), a CA or owner that was withdrawn meanwhile
    (AuthorityError, ProfileError), an owner who has as many as the profile admits by now
    (ProfileError), a key that somebody else got certified meanwhile (KeyReuseError), and a serial
    number that the CA has given before (StateError).
    """
    _take(prepared)
    try:
        with transaction.atomic():
            signed = keys.sign_certificate(prepared.builder, key=prepared.signer)
            if signed.tbs_certificate_bytes != prepared.tbs:
                raise LintError(["twin: what was signed is not what was linted"])
            certificate = _row(prepared, signed)
            _record(certificate, at=prepared.at)
            # The audit trail is locked from here on: nobody else issues between check and commit.
            _refuse_changes_since(prepared, certificate)
            if prepared.profile.is_ca:
                announce_change()
            transaction.on_commit(partial(_send, certificate))
    except IntegrityError:
        if not _is_taken(prepared):
            raise
        raise StateError(
            "The serial number that was drawn for this certificate is taken. Nothing was issued; "
            "try again. If it happens twice, the random numbers of this machine are broken."
        ) from None
    return certificate


def require_authority(
    authority: CertificateAuthority, *, at: dt.datetime, is_for_responder: bool = False
) -> None:
    """Refuse (AuthorityError) a CA that is retired, revoked or expired, or stands below one that is
    revoked or expired. One query, if the CAs above were read along with it.

    A retired CA still certifies its OCSP responder: what it signed before is asked about.
    """
    levels = [authority.pk, *(level.pk for level in _parents(authority))]
    standing = _standing(levels, at)
    for level in levels:
        name, status, _ = standing[level]
        if status is not Certificate.Status.VALID:
            raise AuthorityError(f"{name} cannot sign: its certificate is {status.value}.")
    retired_at = standing[authority.pk][2]
    if retired_at is not None and retired_at <= at and not is_for_responder:
        raise AuthorityError(f"{authority} is retired: it issues nothing more.")


# --- Who signs ------------------------------------------------------------------------------


def _narrowed(kind: Profile, path_length: int | None, validity: dt.timedelta | None) -> Profile:
    if path_length is not None:
        kind = replace(kind, path_length=path_length)
    if validity is None:
        return kind
    if validity > kind.validity:
        raise ProfileError(
            f"Profile {kind.name!r} admits {kind.validity.days} days, and no more than that."
        )
    return replace(kind, validity=validity)


def _refuse_misfits(
    kind: Profile,
    authority: CertificateAuthority | None,
    name_constraints: x509.NameConstraints | None,
    renews: Certificate | None,
) -> None:
    if (authority is None) != (kind.purpose is Purpose.ROOT):
        raise ProfileError("A root signs itself, and everything else is signed by a CA.")
    if name_constraints is not None and not kind.is_ca:
        raise ProfileError("Name constraints are for CAs.")
    if renews is not None and not kind.is_ca:
        raise ProfileError("Only a CA is renewed with its own key in place.")


def _signer(
    authority: CertificateAuthority | None, kind: Profile, key: PrivateKey | None, at: dt.datetime
) -> PrivateKey:
    if authority is None:
        if key is None:
            raise ProfileError("A root needs a key that is kept here.")
        return key
    require_authority(authority, at=at, is_for_responder=kind.is_for_responders)
    if authority.certificate.key is None:
        raise AuthorityError(f"{authority} cannot sign: its key is not kept here.")
    return authority.certificate.key


def _issuer(authority: CertificateAuthority, serial: int) -> tbs.Issuer:
    scope = Scope(partition=partition_of(serial, authority.crl_partitions))
    base = addresses.url("public", "")
    return tbs.Issuer(
        certificate=_certificate(bytes(authority.certificate.der)),
        crl_url=f"{base}/crl/{file_name(authority, scope)}",
        ocsp_url=f"{base}/ocsp/{authority.slug}/",
        certificate_url=f"{base}/ca/{authority.slug}.cer",
    )


def _parents(authority: CertificateAuthority) -> list[CertificateAuthority]:
    above, level = [], authority.parent
    while level is not None:
        above.append(level)
        level = level.parent
    return above


def _above(authority: CertificateAuthority | None) -> tuple[x509.Certificate, ...]:
    """The certificates of the CAs above the one that signs."""
    parents = _parents(authority) if authority else []
    return tuple(_certificate(bytes(parent.certificate.der)) for parent in parents)


Standing = tuple[str, Certificate.Status, dt.datetime | None]


def _standing(levels: list[int], at: dt.datetime) -> dict[int, Standing]:
    """Name, status and retirement of CAs as they are in the database now."""
    found = rows_of(STANDING.format(", ".join(["%s"] * len(levels))), *levels)
    return {pk: (name, _status(times, at), moment(retired)) for pk, name, retired, *times in found}


def _status(times: Sequence[Any], at: dt.datetime) -> Certificate.Status:
    fields = zip(("revoked_at", "not_before", "not_after"), map(moment, times), strict=True)
    return Certificate(**dict(fields)).status_at(at)


@lru_cache(maxsize=256)
def _certificate(der: bytes) -> x509.Certificate:
    """The few certificates of CAs are read again and again."""
    return x509.load_der_x509_certificate(der)


# --- Whose key ------------------------------------------------------------------------------


def _certified_key(
    public_key: CertificatePublicKeyTypes | None,
    csr: x509.CertificateSigningRequest | None,
    key: PrivateKey | None,
) -> CertificatePublicKeyTypes:
    if sum(source is not None for source in (public_key, csr, key)) != 1:
        raise ProfileError("Give one key: a public key, a request, or a key that is kept here.")
    if csr is not None:
        return excess.certified_key(csr)
    return keys.public_key(key) if key is not None else public_key  # type: ignore[return-value]


def _names(
    kind: Profile,
    owner: User | None,
    common_name: str,
    hosts: Sequence[str],
    renews: Certificate | None,
) -> names.Names:
    if renews:  # as it was, byte for byte: what this CA signed must go on finding it
        return _certificate(bytes(renews.der)).subject, ()
    if kind.is_for_servers and not hosts:
        hosts = names.server_hosts()
    return names.names_of(kind, owner=owner, common_name=common_name, hosts=hosts)


def _differences(
    csr: x509.CertificateSigningRequest | None,
    kind: Profile,
    subject: x509.Name,
    alternatives: Sequence[x509.GeneralName],
) -> tuple[str, ...]:
    if csr is None:
        return ()
    found = excess.differences(csr, profile=kind, subject=subject, names=alternatives)
    if found and kind.excess is Excess.REFUSE:
        raise ProfileError(
            f"Profile {kind.name!r} refuses requests that ask for more than it gives. "
            + " ".join(found)
        )
    return tuple(found)


def _refuse_reused_key(
    spki: str, kind: Profile, owner: User | None, renews: Certificate | None, *, but: int = 0
) -> None:
    """One key, one bearer: only a renewal for the same person, server or CA may use a key again."""
    for pk, owner_id, profile, reason, key_id, subject in rows_of(SAME_KEY, spki):
        if pk == but:
            continue
        if reason == RevocationReason.KEY_COMPROMISE:
            raise KeyReuseError("This key was reported lost or stolen. Make a new one.")
        if kind.is_ca:
            own = renews and renews.key_id and (renews.key_id, renews.subject)
            is_same = own == (key_id, subject)
        else:
            is_same = profile == kind.name
        if owner_id != (owner.pk if owner else None) or not is_same:
            raise KeyReuseError("This key already belongs to somebody else. Make a new one.")


def _refuse_too_many(kind: Profile, owner: User | None, at: dt.datetime, *, but: int = 0) -> None:
    if owner is None or kind.per_person is None:
        return
    held = Certificate.objects.active(at).filter(owner=owner, profile=kind.name).exclude(pk=but)
    if held.count() >= kind.per_person:
        raise ProfileError(
            f"{owner} has {kind.per_person} valid certificates of profile {kind.name!r}, and more "
            "are not admitted. Revoke one first."
        )


# --- Writing --------------------------------------------------------------------------------


def _take(prepared: Prepared) -> None:
    with _pending_lock:
        if prepared not in _pending:
            raise ProfileError("This certificate was not prepared, or it was issued already.")
        _pending.discard(prepared)


def _row(prepared: Prepared, signed: x509.Certificate) -> Certificate:
    der = signed.public_bytes(Encoding.DER)
    return Certificate.objects.create(
        authority=prepared.authority,
        profile=prepared.profile.name,
        serial=serial_text(signed.serial_number),
        sha256=sha256(der).hexdigest(),
        spki_sha256=prepared.spki_sha256,
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


def _record(certificate: Certificate, *, at: dt.datetime) -> None:
    audit.record(
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
        at=at,
    )


def _refuse_changes_since(prepared: Prepared, certificate: Certificate) -> None:
    if prepared.authority is not None:
        is_for_responder = prepared.profile.is_for_responders
        require_authority(prepared.authority, at=prepared.at, is_for_responder=is_for_responder)
    if prepared.owner is not None and not rows_of(ACTIVE, prepared.owner.pk):
        raise ProfileError(f"The account of {prepared.owner} is disabled.")
    kind, owner, own = prepared.profile, prepared.owner, certificate.pk
    _refuse_reused_key(certificate.spki_sha256, kind, owner, prepared.renews, but=own)
    _refuse_too_many(kind, owner, prepared.at, but=own)


def _is_taken(prepared: Prepared) -> bool:
    return Certificate.objects.filter(
        authority=prepared.authority, serial=serial_text(prepared.serial)
    ).exists()


def _send(certificate: Certificate) -> None:
    certificate_issued.send_robust(
        sender=None, certificate_id=certificate.pk, sha256=certificate.sha256
    )
