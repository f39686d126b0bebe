"""What comes from elsewhere: anchors and CAs out of other programs' files, and CRLs of their CAs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction
from django.db.models import QuerySet

from pki import audit, authorities, revocation, trustpath, truststore
from pki.changes import announce_change
from pki.errors import AuthorityError, BadFileError, PKIError, StateError
from pki.models import (
    Anchor,
    Certificate,
    CertificateAuthority,
    Invitation,
    RevocationList,
    RevocationReason,
    TrustStore,
)

MOST = 50  # certificates in one import: the audit trail is locked until it is done
LARGEST_NUMBER = 2**63 - 1
CRL_TARGET = "CRL {number} of {slug}"


class Fate(StrEnum):
    """What an import would make of a certificate."""

    ANCHOR = "anchor"
    INTERMEDIATE = "intermediate"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True)
class Found:
    """A certificate in a file, before anything is trusted. `reason` says why it would be refused."""

    certificate: x509.Certificate
    fate: Fate
    reason: str = ""

    @property
    def subject(self) -> str:
        return self.certificate.subject.rfc4514_string()

    @property
    def sha256(self) -> str:
        return sha256(self.der).hexdigest()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Imported:
    """`anchors` are trusted now, `intermediates` known; `known` were both before."""

    anchors: Sequence[Anchor]
    intermediates: Sequence[CertificateAuthority]
    known: Sequence[Found]


def look_through(
    certificates: Sequence[x509.Certificate], *, store: TrustStore, at: dt.datetime
) -> list[Found]:
    """What an import into the store would make of each certificate. Changes nothing.

    Refuses more than 50 (BadFileError).
    """
    if len(certificates) > MOST:
        raise BadFileError(f"There are more than {MOST} certificates. Import fewer at a time.")
    here = set(store.anchors.values_list("sha256", flat=True))
    return [_fate(certificate, here, at) for certificate in certificates]


@audit.refusals("anchor.import")
def import_anchors(
    *,
    actor: str,
    truststore: TrustStore,
    certificates: Sequence[x509.Certificate],
    at: dt.datetime,
) -> Imported:
    """Trust the roots among the certificates, and know the CAs below them, in one transaction.

    What the store has already is skipped and returned as known. Writes an audit entry for each
    and announces the change. Refuses all of them where one is no CA, has expired or was signed by
    no CA known here (AuthorityError), and more than 50 (BadFileError).
    """
    found = look_through(certificates, store=truststore, at=at)
    for one in found:
        if one.fate is Fate.REFUSED:
            raise AuthorityError(f"{one.subject}: {one.reason}")
    below = _downwards([one for one in found if one.fate is Fate.INTERMEDIATE])
    with transaction.atomic():
        anchors = [_anchor(truststore, one, actor, at) for one in found if one.fate is Fate.ANCHOR]
        intermediates = _record_below(below, actor=actor, at=at)
    return Imported(anchors, intermediates, [one for one in found if one.fate is Fate.KNOWN])


def _fate(certificate: x509.Certificate, here: set[str], at: dt.datetime) -> Found:
    found = Found(certificate, Fate.ANCHOR)
    if found.sha256 in here:
        return Found(certificate, Fate.KNOWN)
    try:
        authorities.require_authority_certificate(certificate, at=at)
        if certificate.issuer != certificate.subject:
            return Found(certificate, _fate_below(found))
        truststore.read_root(found.der, at=at)
    except PKIError as error:
        return Found(certificate, Fate.REFUSED, str(error))
    return found


def _fate_below(found: Found) -> Fate:
    is_known = CertificateAuthority.objects.filter(certificate__sha256=found.sha256).exists()
    return Fate.KNOWN if is_known else Fate.INTERMEDIATE


def _anchor(store: TrustStore, found: Found, actor: str, at: dt.datetime) -> Anchor:
    return truststore.add_anchor(actor=actor, truststore=store, certificate=found.der, at=at)


def _downwards(found: Sequence[Found]) -> dict[Found, Found | None]:
    """The same, each after the one among them that signed it, and with that one."""
    named: dict[x509.Name, list[Found]] = {}
    for one in found:
        named.setdefault(one.certificate.subject, []).append(one)
    ordered: dict[Found, Found | None] = {}
    begun: set[Found] = set()

    def put(one: Found) -> None:
        begun.add(one)
        signers = (
            other
            for other in named.get(one.certificate.issuer, [])
            if authorities.is_signed_by(one.certificate, other.certificate)
        )
        # Two that signed each other: where one of them is begun, it is looked for here.
        signer = next((each for each in signers if each in ordered or each not in begun), None)
        if signer is not None and signer not in ordered:
            put(signer)
        ordered[one] = signer

    for one in found:
        if one not in begun:
            put(one)
    return ordered


def _record_below(
    ordered: dict[Found, Found | None], *, actor: str, at: dt.datetime
) -> list[CertificateAuthority]:
    """Without a signer, in the file or here, the verb says what is missing."""
    recorded: dict[Found, CertificateAuthority] = {}
    for one, signer in ordered.items():
        recorded[one] = authorities.record_outside_authority(
            actor=actor,
            certificate=one.der,
            parent=recorded[signer] if signer else _signer_here(one.certificate),
            at=at,
        )
    return list(recorded.values())


def _signer_here(certificate: x509.Certificate) -> CertificateAuthority | None:
    return authorities.issuer_of(certificate, _called(certificate.issuer))


def _called(name: x509.Name) -> QuerySet[CertificateAuthority]:
    """The CAs here with this name, or one that begins like it where it is very long."""
    text = name.rfc4514_string()[: truststore.LONGEST_SUBJECT]
    named = CertificateAuthority.objects.filter(certificate__subject=text)
    return named.select_related("certificate").order_by("pk")


def _read(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


# --- CRLs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImportedCRL:
    """The CRL as it is kept, and what is revoked here because it lists it."""

    crl: RevocationList
    revoked: Sequence[Certificate]


@audit.refusals("crl.import")
def import_crl(*, actor: str, crl: x509.CertificateRevocationList, at: dt.datetime) -> ImportedCRL:
    """Keep the CRL of a CA from elsewhere, and revoke what we know of it and it lists.

    Trust stores with a root above that CA judge by it from now on; certificates that are known
    here (adopted, recognised, CAs) are revoked by `revocation.revoke`. Writes audit entries and
    announces the change, in one transaction. Refuses: a CRL that no outside CA known here signed,
    one that is no full CRL, out of date or of a CA of ours (AuthorityError), and one that is not
    newer than what is here (StateError).
    """
    # 1. An outside CA that we know signed it, for all that it issued.
    signers = _signers(crl)
    number = trustpath.crl_number(crl)
    if number > LARGEST_NUMBER:
        raise AuthorityError("The number of this CRL is too large to be kept.")
    # 2. It is in force.
    this_update, next_update = crl.last_update_utc, crl.next_update_utc
    if next_update is None or not this_update <= at <= next_update:
        raise AuthorityError(f"This CRL of {signers[0]} is out of date. Fetch the newest one.")
    der = crl.public_bytes(Encoding.DER)
    with transaction.atomic():
        rows = CertificateAuthority.objects.select_for_update(no_key=True).order_by("pk")
        locked = list(rows.filter(pk__in=[ca.pk for ca in signers]))
        _lock_listed(locked, crl, at=at)
        # 3. It is newer than what is here: an old one would forget revocations.
        kept = [
            RevocationList.objects.create(
                authority=authority,
                number=number,
                this_update=this_update,
                next_update=next_update,
                entries=len(crl),
                der=der,
            )
            for authority in _lacking(locked, crl)
        ]
        for one in kept:
            audit.record(
                actor=actor,
                action="crl.imported",
                target=CRL_TARGET.format(number=number, slug=one.authority.slug),
                detail={"entries": len(crl), "sha256": sha256(der).hexdigest()},
                at=at,
            )
        announce_change()
        revoked = [
            revocation.revoke(actor=actor, certificate=certificate, reason=reason, at=at)
            # Looked for once more: somebody may have adopted one before the audit trail was locked.
            for certificate, reason in _listed(locked, crl)
        ]
    return ImportedCRL(kept[0], revoked)


def _signers(crl: x509.CertificateRevocationList) -> list[CertificateAuthority]:
    """All rows of the CA: it has several where it was renewed under its name with its key."""
    known = [(ca, _read(bytes(ca.certificate.der))) for ca in _called(crl.issuer)]
    signed = [(ca, issuer) for ca, issuer in known if trustpath.is_signed_by(crl, issuer)]
    signers = [ca for ca, issuer in signed if trustpath.fault_of(crl, issuer) is None]
    if not signed:
        raise AuthorityError(
            f"No CA known here signed this CRL of {crl.issuer.rfc4514_string()}. Import the "
            "certificate of that CA first."
        )
    if not signers:
        ca, issuer = signed[0]
        raise AuthorityError(
            f"This CRL of {ca} {trustpath.fault_of(crl, issuer)}. Ask {ca} for a full CRL with "
            "both a number and an authority key identifier."
        )
    for ca in signers:
        if ca.certificate.key_id is not None:
            raise AuthorityError(f"{ca} publishes its CRLs here; none is imported for it.")
    return signers


def _lacking(
    signers: Sequence[CertificateAuthority], crl: x509.CertificateRevocationList
) -> list[CertificateAuthority]:
    """Those of the CA's rows that do not have this CRL yet; refuses one that is older than that of
    any, or that all have."""
    kept = RevocationList.objects.filter(authority__in=signers)
    newest = kept.order_by("-number").first()
    if newest is None:
        return list(signers)
    number, this_update = trustpath.crl_number(crl), crl.last_update_utc
    if number > newest.number and this_update >= newest.this_update:
        return list(signers)
    is_same = bytes(newest.der) == crl.public_bytes(Encoding.DER)
    having = set(kept.filter(number=newest.number).values_list("authority", flat=True))
    lacking = [ca for ca in signers if ca.pk not in having]
    if is_same and lacking:
        return lacking
    raise StateError(
        f"This CRL of {signers[0]} has number {number} and was issued "
        f"{this_update:%Y-%m-%d %H:%M}; number {newest.number} of "
        f"{newest.this_update:%Y-%m-%d %H:%M} is here already."
    )


def _lock_listed(
    signers: Sequence[CertificateAuthority], crl: x509.CertificateRevocationList, *, at: dt.datetime
) -> None:
    """What is to be revoked here, and the links that were asked for with it: before the audit
    trail, as whoever revokes or redeems does."""
    keys = [certificate.pk for certificate, _ in _listed(signers, crl)]
    for rows in (
        Certificate.objects.filter(pk__in=keys),
        Invitation.objects.open(at).filter(asked_with__in=keys),
    ):
        list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk"))


def _listed(
    signers: Sequence[CertificateAuthority], crl: x509.CertificateRevocationList
) -> list[tuple[Certificate, str]]:
    """What is to be revoked here, and why.

    Those on hold are looked at again: the CRL may say by now that it is for good.
    """
    known = Certificate.objects.filter(
        revocation.UNREVOKED | revocation.ON_HOLD, authority__in=signers, is_outside=True
    ).order_by("pk")
    listed = []
    for certificate in known:
        entry = crl.get_revoked_certificate_by_serial_number(int(certificate.serial, 16))
        reason = _reason(entry) if entry is not None else certificate.revocation_reason
        if reason != certificate.revocation_reason:
            listed.append((certificate, reason))
    return listed


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        return RevocationReason(flag.value).value
    except (x509.ExtensionNotFound, ValueError):
        return RevocationReason.UNSPECIFIED.value
