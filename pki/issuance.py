"""The only writer of certificates: prepare, then issue.

`prepare` decides and signs nothing: it checks the profile, the CA, the key and the names, and
lints a twin that a throw-away key has signed. `issue` accepts only what `prepare` returned, once,
and signs exactly the bytes that were linted. What is signed and not written does not exist: the
row and the audit entry share one transaction.
"""

from __future__ import annotations

import datetime as dt
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction

from pki import addresses, algorithms, audit, keys, lint, names, profiles, tbs
from pki.changes import announce_change
from pki.description import serial_text
from pki.errors import AuthorityError, BadFileError, KeyReuseError, LintError, ProfileError
from pki.models import Certificate, CertificateAuthority, PrivateKey, RevocationReason, User
from pki.profiles import Profile
from pki.signals import certificate_issued


@dataclass(frozen=True, eq=False)
class Prepared:
    """A certificate that may be signed, once. Only `prepare` makes one that `issue` accepts."""

    actor: str
    authority: CertificateAuthority | None
    profile: Profile
    builder: x509.CertificateBuilder
    tbs: bytes
    signer: PrivateKey
    key: PrivateKey | None
    owner: User | None
    device: str
    at: dt.datetime


_pending: weakref.WeakSet[Prepared] = weakref.WeakSet()
_pending_lock = threading.Lock()


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
) -> Prepared:
    """Decide whether a certificate may be signed, and make it ready. Changes nothing.

    Exactly one of `public_key`, `csr` and `key` (one of the server's own) says whose key it is.
    `authority` is None for a self-signed root alone. A person's certificate takes its names from
    `owner`, a server's from `hosts` (settings.SIGNET_HOSTS when there are none), a CA's from
    `common_name`. What a CSR asks for beyond its key is dropped.

    Refuses: a profile that does not fit, a weak key, a CSR that asks to be a CA or whose signature
    is wrong (ProfileError); a CA that is revoked, expired or without its key (AuthorityError); a
    key that belongs to somebody else, to a CA, or was compromised (KeyReuseError); what the linter
    finds (LintError).
    """
    kind = profiles.named(profile)
    signer = _signer(authority, kind, key, at)
    certified = _certified_key(public_key, csr, key)
    kind.require_public_key(certified)
    _refuse_reused_key(certified, kind, owner)
    if kind.is_for_servers and not hosts:
        hosts = names.server_hosts()
    subject, alternatives = names.names_of(kind, owner=owner, common_name=common_name, hosts=hosts)
    device = names.clean_device(device) if device else ""
    request = tbs.Request(subject, certified, alternatives, tbs.new_serial(), at)
    issuer = _issuer(authority) if authority else None
    builder = tbs.build(profile=kind, request=request, issuer=issuer)
    twin = lint.sign_twin(builder, algorithm=signer.algorithm)
    lint.lint(lint.Candidate(twin, kind, issuer.certificate if issuer else None, at))
    prepared = Prepared(
        actor=actor,
        authority=authority,
        profile=kind,
        builder=builder,
        tbs=twin.tbs_certificate_bytes,
        signer=signer,
        key=key,
        owner=owner,
        device=device,
        at=at,
    )
    with _pending_lock:
        _pending.add(prepared)
    return prepared


def issue(prepared: Prepared) -> Certificate:
    """Sign what was prepared; returns the new row.

    Writes the certificate and its audit entry in one transaction, and sends `certificate_issued`
    after the commit. A change is announced for a CA alone: a new leaf changes nobody's trust, and
    every announcement makes every process build its TLS contexts again. Refuses what `prepare` did
    not return or what was issued before (ProfileError), a CA or owner that was withdrawn meanwhile
    (AuthorityError, ProfileError), and a key that somebody else got certified meanwhile
    (KeyReuseError).
    """
    _take(prepared)
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
    return certificate


def require_authority(authority: CertificateAuthority, *, at: dt.datetime) -> None:
    """Refuse (AuthorityError) a CA that is revoked or expired, or stands below one that is."""
    level: CertificateAuthority | None = authority
    while level is not None:
        certificate = Certificate.objects.defer("der").get(pk=level.certificate_id)
        status = certificate.status_at(at)
        if status is not Certificate.Status.VALID:
            raise AuthorityError(f"{level} cannot sign: its certificate is {status.value}.")
        level = level.parent


# --- Who signs ------------------------------------------------------------------------------


def _signer(
    authority: CertificateAuthority | None, kind: Profile, key: PrivateKey | None, at: dt.datetime
) -> PrivateKey:
    if (authority is None) != (kind is profiles.ROOT):
        raise ProfileError("A root signs itself, and everything else is signed by a CA.")
    if authority is None:
        if key is None:
            raise ProfileError("A root needs a key that is kept here.")
        return key
    require_authority(authority, at=at)
    if authority.certificate.key is None:
        raise AuthorityError(f"{authority} cannot sign: its key is not kept here.")
    return authority.certificate.key


def _issuer(authority: CertificateAuthority) -> tbs.Issuer:
    return tbs.Issuer(
        certificate=x509.load_der_x509_certificate(bytes(authority.certificate.der)),
        crl_url=addresses.url("public", f"/crl/{authority.slug}.crl"),
        ocsp_url=addresses.url("public", f"/ocsp/{authority.slug}/"),
        certificate_url=addresses.url("public", f"/ca/{authority.slug}.cer"),
    )


# --- Whose key ------------------------------------------------------------------------------


def _certified_key(
    public_key: CertificatePublicKeyTypes | None,
    csr: x509.CertificateSigningRequest | None,
    key: PrivateKey | None,
) -> CertificatePublicKeyTypes:
    if sum(source is not None for source in (public_key, csr, key)) != 1:
        raise ProfileError("Give one key: a public key, a request, or a key that is kept here.")
    if csr is not None:
        return _key_of_csr(csr)
    return keys.public_key(key) if key is not None else public_key  # type: ignore[return-value]


def _key_of_csr(csr: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    try:
        is_own, key, wants_ca = csr.is_signature_valid, csr.public_key(), _asks_to_be_ca(csr)
    except (ValueError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType) as error:
        raise BadFileError(f"This certificate request cannot be read: {error}.") from None
    if not is_own:
        raise ProfileError("The signature of this request does not match its key.")
    if wants_ca:
        raise ProfileError("This request asks to be a CA. Requests are for people and servers.")
    return key


def _asks_to_be_ca(csr: x509.CertificateSigningRequest) -> bool:
    for extension in csr.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return True
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
            return True
    return False


def _refuse_reused_key(
    key: CertificatePublicKeyTypes, kind: Profile, owner: User | None, *, but: int = 0
) -> None:
    """One key, one bearer: only a renewal for the same person or server may use a key again."""
    same_key = Certificate.objects.filter(spki_sha256=algorithms.spki_sha256(key)).exclude(pk=but)
    for owner_id, profile, reason in same_key.values_list(
        "owner_id", "profile", "revocation_reason"
    ):
        if reason == RevocationReason.KEY_COMPROMISE:
            raise KeyReuseError("This key was reported lost or stolen. Make a new one.")
        if owner_id != (owner.pk if owner else None) or profile != kind.name or kind.is_ca:
            raise KeyReuseError("This key already belongs to somebody else. Make a new one.")


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
        spki_sha256=algorithms.spki_sha256(signed.public_key()),
        subject=signed.subject.rfc4514_string(),
        not_before=signed.not_valid_before_utc,
        not_after=signed.not_valid_after_utc,
        der=der,
        owner=prepared.owner,
        device=prepared.device,
        key=prepared.key,
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
        require_authority(prepared.authority, at=prepared.at)
    if (
        prepared.owner is not None
        and not User.objects.filter(pk=prepared.owner.pk, is_active=True).exists()
    ):
        raise ProfileError(f"The account of {prepared.owner} is disabled.")
    key = x509.load_der_x509_certificate(bytes(certificate.der)).public_key()
    _refuse_reused_key(key, prepared.profile, prepared.owner, but=certificate.pk)


def _send(certificate: Certificate) -> None:
    certificate_issued.send_robust(
        sender=None, certificate_id=certificate.pk, sha256=certificate.sha256
    )
