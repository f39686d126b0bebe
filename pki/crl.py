"""Numbers, builds and publishes the CRLs of a CA: the one of everything, its deltas, its partitions.

What always holds here:
  1. a publication takes one number, under the lock of the CA's row; what is published in it shares
     the number (RFC 5280, 5.2.3), and neither numbers nor times run backwards;
  2. a revoked certificate stays listed until one CRL was issued after it had expired (3.3);
  3. which partition lists a certificate is read from the certificate itself, so those that were
     issued under other settings keep being served;
  4. nothing is signed that `crl_lint` has not seen.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction
from django.db.models import QuerySet

from pki import audit, crl_publication, crl_tbs
from pki.crl_publication import (
    CHANGES,
    EVERYTHING,
    Scope,
    file_name,
    is_of_the_future,
    latest,
    newest,
    partitions_of,
    scopes,
    url,
)
from pki.errors import AuthorityError, RequestError
from pki.models import Certificate, CertificateAuthority, RevocationList

__all__ = [
    "CHANGES",
    "EVERYTHING",
    "Scope",
    "configure",
    "crl_pem",
    "file_name",
    "is_due",
    "is_of_the_future",
    "latest",
    "lock",
    "publish",
    "publish_changes",
    "publish_due",
    "publishing",
    "scopes",
    "url",
]

MOST_PARTITIONS = 256
BATCH = 500

logger = logging.getLogger("pki")


# --- Verbs ----------------------------------------------------------------------------------


@audit.refusals("crl.publish")
def publish(*, authority: CertificateAuthority, actor: str, at: dt.datetime) -> RevocationList:
    """Sign and store the next CRL of a CA, with its delta and its partitions where it has any.

    Returns the one of everything, valid for seven days from `at`. Writes an audit entry and
    announces a change in the same transaction. Refuses a CA whose key is not here
    (AuthorityError) and a CRL that breaks a rule (LintError).
    """
    with transaction.atomic():
        locked = lock(authority)
        return crl_publication.publish(locked, scopes(locked), actor=actor, at=at)[0]


def publish_changes(
    *,
    authority: CertificateAuthority,
    certificates: Iterable[Certificate],
    actor: str,
    at: dt.datetime,
) -> RevocationList:
    """As `publish`, after these certificates were revoked or released: of the partitions only
    theirs."""
    with transaction.atomic():
        locked = lock(authority)
        digests = [certificate.sha256 for certificate in certificates]
        touched = set(partitions_of(locked, digests).values()) if locked.crl_partitions else set()
        wanted = [one for one in scopes(locked) if not one.partition or one.partition in touched]
        return crl_publication.publish(locked, wanted, actor=actor, at=at)[0]


def publish_due(*, at: dt.datetime, actor: str = "signet") -> list[RevocationList]:
    """Publish every CRL whose newest has lived half its life, or that has none.

    Several processes may call it at once: who comes second finds nothing due. CAs that have
    expired or whose key is elsewhere are left alone. One that cannot publish is written to the log
    and keeps nobody else from it.
    """
    able = publishing(at)
    return [crl for authority in able for crl in _publish_or_log(authority, actor=actor, at=at)]


@audit.refusals("crl.configure")
def configure(
    *,
    actor: str,
    authority: CertificateAuthority,
    crl_partitions: int,
    has_delta_crls: bool,
    at: dt.datetime,
) -> CertificateAuthority:
    """Say which CRLs a CA publishes besides the one of everything, and publish them all.

    `crl_partitions` (0 for none) decides what certificates issued from now on name. Writes an audit
    entry and announces a change. Refuses (AuthorityError) a CA whose key is not here, fewer
    partitions than unexpired certificates name, and addresses that another CA's CRL has;
    (RequestError) more than 256 partitions.
    """
    if not 0 <= crl_partitions <= MOST_PARTITIONS:
        raise RequestError(f"A CA has 0 to {MOST_PARTITIONS} partitions.")
    with transaction.atomic():
        locked = lock(authority)
        locked.crl_partitions, locked.has_delta_crls = crl_partitions, has_delta_crls
        _refuse_taken_addresses(locked)
        seen = _refuse_lost_partitions(locked, at=at)
        locked.save(update_fields=["crl_partitions", "has_delta_crls"])
        audit.record(
            actor=actor,
            action="crl.configured",
            target=f"CA {locked.slug}",
            detail={"partitions": crl_partitions, "deltas": has_delta_crls},
            at=at,
        )
        # The audit trail is locked from here on: nobody else issues between check and commit.
        _refuse_lost_partitions(locked, after=seen, at=at)
        crl_publication.publish(locked, scopes(locked), actor=actor, at=at)
    return locked


# --- Questions ------------------------------------------------------------------------------


def is_due(crl: RevocationList | None, *, at: dt.datetime) -> bool:
    """True once half the life of a CRL is over, or when there is none, or one of the future."""
    return crl is None or crl.is_due_at(at) or is_of_the_future(crl, at=at)


def publishing(at: dt.datetime) -> QuerySet[CertificateAuthority]:
    """The CAs whose CRLs are kept fresh here: their key is here, and they have not expired."""
    return CertificateAuthority.objects.filter(
        certificate__not_after__gte=at, certificate__key__isnull=False
    )


def crl_pem(crl: RevocationList) -> bytes:
    """A published CRL as PEM, for tools that take no DER."""
    return x509.load_der_x509_crl(bytes(crl.der)).public_bytes(Encoding.PEM)


def lock(authority: CertificateAuthority) -> CertificateAuthority:
    """The CA's row, locked until the transaction ends.

    Order of locks everywhere: CA, certificate, audit trail, version. no_key leaves those alone
    who only point at the CA, such as somebody who issues.
    """
    return CertificateAuthority.objects.select_for_update(no_key=True).get(pk=authority.pk)


# --- What is due ----------------------------------------------------------------------------


def _publish_or_log(
    authority: CertificateAuthority, *, actor: str, at: dt.datetime
) -> list[RevocationList]:
    try:
        return _publish_if_due(authority, actor=actor, at=at)
    except Exception:  # whatever is wrong with one CA, the next one's CRL must not run out
        logger.exception("The CRL of %s cannot be published", authority.slug)
        return []


def _publish_if_due(
    authority: CertificateAuthority, *, actor: str, at: dt.datetime
) -> list[RevocationList]:
    if not _due(authority, at):
        return []
    with transaction.atomic():
        locked = lock(authority)
        due = _due(locked, at)
        return crl_publication.publish(locked, due, actor=actor, at=at) if due else []


def _due(authority: CertificateAuthority, at: dt.datetime) -> list[Scope]:
    """A delta is renewed with its full CRL, and between two of those by itself."""
    known = newest(authority)
    due = {one for one in scopes(authority) if is_due(known.get(one), at=at)}
    if EVERYTHING in due and authority.has_delta_crls:
        due.add(CHANGES)
    return [one for one in scopes(authority) if one in due]


# --- What is refused ------------------------------------------------------------------------


def _refuse_taken_addresses(authority: CertificateAuthority) -> None:
    """A CA may be called like another one's partition: "issuing-2"."""
    wanted = {file_name(authority, scope).removesuffix(".crl") for scope in scopes(authority)}
    others = CertificateAuthority.objects.exclude(pk=authority.pk)
    taken = others.filter(slug__in=wanted, slug__startswith=f"{authority.slug}-").first()
    if taken is not None:
        raise AuthorityError(f"/crl/{taken.slug}.crl is the address of the CRL of {taken}.")


def _refuse_lost_partitions(
    authority: CertificateAuthority, *, at: dt.datetime, after: int = 0
) -> int:
    """Looks at the rows behind the key `after` and returns the last key: whoever looks again looks
    at new ones alone. There may be too many to read them all while nobody can issue."""
    issued = Certificate.objects.filter(authority=authority, not_after__gte=at, pk__gt=after)
    rows, last = issued.order_by("pk").values_list("pk", "der"), after
    for pk, der in rows.iterator(chunk_size=BATCH):
        last = pk
        partition = crl_tbs.partition_in(bytes(der), authority.slug)
        if partition > authority.crl_partitions:
            raise AuthorityError(
                f"Unexpired certificates name partition {partition}, so {authority} must keep at "
                f"least {partition} partitions."
            )
    return last
