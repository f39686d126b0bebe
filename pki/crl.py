"""Numbers, builds and publishes one CRL.

What always holds here: numbers of a CA rise by one without gaps, under the lock of its row; a
revoked certificate stays listed until one CRL was issued after it had expired (RFC 5280, 3.3).
"""

from __future__ import annotations

import datetime as dt
import logging

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction
from django.db.models import QuerySet

from pki import audit, keys, tbs
from pki.changes import announce_change
from pki.errors import AuthorityError
from pki.models import Certificate, CertificateAuthority, RevocationList, RevocationReason

LIFE = dt.timedelta(days=7)

logger = logging.getLogger("pki")


def publish(*, authority: CertificateAuthority, actor: str, at: dt.datetime) -> RevocationList:
    """Sign and store the next CRL of a CA; it is valid for seven days from `at`.

    Writes an audit entry and announces a change in the same transaction. Refuses a CA whose key
    is not here (AuthorityError).
    """
    with transaction.atomic():
        locked = lock(authority)
        return _publish(locked, actor=actor, at=at)


def publish_due(*, at: dt.datetime, actor: str = "signet") -> list[RevocationList]:
    """Publish for every CA whose newest CRL has lived half its life, or that has none.

    Several processes may call it at once: who comes second finds nothing due. CAs that have
    expired or whose key is elsewhere are left alone. One that cannot publish is written to the log
    and keeps nobody else from it.
    """
    able = CertificateAuthority.objects.filter(
        certificate__not_after__gte=at, certificate__key__isnull=False
    )
    published = [_publish_or_log(authority, actor=actor, at=at) for authority in able]
    return [crl for crl in published if crl is not None]


def latest(authority: CertificateAuthority) -> RevocationList | None:
    """The newest CRL of a CA, or None before its first; its DER is read when it is asked for."""
    crls = RevocationList.objects.filter(authority=authority)
    return crls.defer("der").order_by("-number").first()


def is_due(crl: RevocationList | None, *, at: dt.datetime) -> bool:
    """True once half the life of a CRL is over, or when there is none."""
    return crl is None or crl.is_due_at(at)


def crl_pem(crl: RevocationList) -> bytes:
    """A published CRL as PEM, for tools that take no DER."""
    return x509.load_der_x509_crl(bytes(crl.der)).public_bytes(Encoding.PEM)


def lock(authority: CertificateAuthority) -> CertificateAuthority:
    """The CA's row, locked until the transaction ends.

    Order of locks everywhere: CA, certificate, audit trail, version. no_key leaves those alone
    who only point at the CA, such as somebody who issues.
    """
    return CertificateAuthority.objects.select_for_update(no_key=True).get(pk=authority.pk)


def _publish_or_log(
    authority: CertificateAuthority, *, actor: str, at: dt.datetime
) -> RevocationList | None:
    try:
        return _publish_if_due(authority, actor=actor, at=at)
    except Exception:  # whatever is wrong with one CA, the next one's CRL must not run out
        logger.exception("The CRL of %s cannot be published", authority.slug)
        return None


def _publish_if_due(
    authority: CertificateAuthority, *, actor: str, at: dt.datetime
) -> RevocationList | None:
    if not is_due(latest(authority), at=at):
        return None
    with transaction.atomic():
        locked = lock(authority)
        if not is_due(latest(locked), at=at):
            return None
        return _publish(locked, actor=actor, at=at)


def _publish(locked: CertificateAuthority, *, actor: str, at: dt.datetime) -> RevocationList:
    if locked.certificate.key is None:
        raise AuthorityError(f"{locked} cannot sign a CRL: its key is not kept here.")
    previous = latest(locked)
    revoked = list(_revoked(locked, previous).values_list(*ENTRY))
    this_update = at.astimezone(dt.UTC).replace(microsecond=0)
    number = locked.next_crl_number
    builder = _builder(locked, number=number, this_update=this_update, revoked=revoked)
    signed = keys.sign_revocation_list(builder, key=locked.certificate.key)
    CertificateAuthority.objects.filter(pk=locked.pk).update(next_crl_number=number + 1)
    crl = RevocationList.objects.create(
        authority=locked,
        number=number,
        this_update=this_update,
        next_update=this_update + LIFE,
        entries=len(revoked),
        der=signed.public_bytes(Encoding.DER),
    )
    audit.record(
        actor=actor,
        action="crl.published",
        target=f"CRL {number} of {locked.slug}",
        detail={"entries": len(revoked), "next_update": crl.next_update.isoformat()},
        at=at,
    )
    announce_change()
    return crl


ENTRY = ("serial", "revoked_at", "revocation_reason")


def _revoked(
    authority: CertificateAuthority, previous: RevocationList | None
) -> QuerySet[Certificate]:
    revoked = Certificate.objects.revoked().filter(authority=authority).order_by("revoked_at", "pk")
    return revoked.filter(not_after__gte=previous.this_update) if previous else revoked


def _builder(
    authority: CertificateAuthority,
    *,
    number: int,
    this_update: dt.datetime,
    revoked: list[tuple[str, dt.datetime, str]],
) -> x509.CertificateRevocationListBuilder:
    issuer = x509.load_der_x509_certificate(bytes(authority.certificate.der))
    key_id = tbs.key_identifier(issuer)
    # All entries at once, by the constructor: adding them one by one takes quadratic time.
    entries = x509.CertificateRevocationListBuilder(
        revoked_certificates=[_entry(serial, at, reason) for serial, at, reason in revoked]
    )
    return (
        entries.issuer_name(issuer.subject)
        .last_update(this_update)
        .next_update(this_update + LIFE)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False
        )
        .add_extension(x509.CRLNumber(number), critical=False)
    )


def _entry(serial: str, at: dt.datetime, reason: str) -> x509.RevokedCertificate:
    """RFC 5280, 5.3.1: no reason is not written as a reason."""
    builder = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(at)
    if reason != RevocationReason.UNSPECIFIED:
        flag = x509.CRLReason(x509.ReasonFlags(reason))
        builder = builder.add_extension(flag, critical=False)
    return builder.build()
