"""What becomes of a CA in time: its certificate is renewed, another CA succeeds it, it retires.

What always holds here: a CA that issues nothing more keeps its key, its CRLs and its OCSP answers
for as long as what it signed is valid; nothing that was issued stops being trusted.
"""

from __future__ import annotations

import datetime as dt
import re

from cryptography import x509
from django.db import transaction

from pki import audit, authorities, issuance, outside, profiles, truststore
from pki.changes import announce_change
from pki.errors import AuthorityError, StateError
from pki.models import Anchor, Certificate, CertificateAuthority

GENERATION = re.compile(r" G(\d{1,4})\Z")


@audit.refusals("authority.renew")
def renew_authority(
    *,
    actor: str,
    authority: CertificateAuthority,
    at: dt.datetime,
    validity: dt.timedelta | None = None,
) -> Certificate:
    """Sign a new certificate for the same name and key, and let the CA go on under it.

    The one before stays valid; both verify all that the CA signed. Path length and name
    constraints stay. Where a root is an anchor, its new certificate becomes one too, with the same
    dates, unless the last has passed. Writes audit entries and announces the change. Refuses a CA
    whose key, or whose parent's key, is not kept here, whose key identifier is not the one that its
    key gives, or that is revoked, for good or on hold (AuthorityError), and what
    `issuance.prepare` refuses.
    """
    with transaction.atomic():
        row = _locked(authority)
        before = row.certificate
        old = _parsed(before)
        _refuse_unable(row, old)
        outside.require_unrevoked(row)
        prepared = issuance.prepare(
            actor=actor,
            authority=row.parent,
            profile=(profiles.ROOT if row.is_root else profiles.INTERMEDIATE).name,
            key=before.key,
            common_name=row.name,
            path_length=_path_length(old),
            name_constraints=_name_constraints(old),
            validity=validity,
            renews=before,
            at=at,
        )
        renewed = issuance.issue(prepared)
        row.certificate = renewed
        row.save(update_fields=["certificate"])
        _follow(row, before, actor=actor, at=at)
        authorities.record("authority.renewed", row, actor=actor, before=before.sha256, at=at)
        announce_change()
    return renewed


@audit.refusals("authority.roll_over")
def roll_over_authority(
    *,
    actor: str,
    authority: CertificateAuthority,
    at: dt.datetime,
    name: str = "",
    algorithm: str = "",
    backend: str = "",
    validity: dt.timedelta | None = None,
    retire_at: dt.datetime | None = None,
) -> CertificateAuthority:
    """Found the CA that succeeds this one, with a new key, and retire this one.

    The successor stands where this one stands: same parent, kind of key, path length and name
    constraints, unless said otherwise; its name is this one's with G2, G3 … at the end. A root's
    successor becomes an anchor as its new certificate would. This one issues nothing more from
    `retire_at` on (`at` where that is None). One that is revoked may have a successor: what it
    signed stays as it is. Writes audit entries and announces the change. Refuses a CA that is
    retired, has a successor (StateError), or whose key is not kept here, and what
    `authorities.create_authority` refuses.
    """
    with transaction.atomic():
        row = _locked(authority)
        _refuse_succeeded(row)
        if row.certificate.key is None:
            raise AuthorityError(f"{row} is kept elsewhere, so its successor is made there.")
        old = _parsed(row.certificate)
        successor = authorities.create_authority(
            actor=actor,
            name=name or next_name(row.name),
            parent=row.parent,
            algorithm=algorithm or row.certificate.key.algorithm,
            backend=backend or row.certificate.key.backend,
            path_length=_path_length(old),
            name_constraints=_name_constraints(old),
            validity=validity,
            at=at,
        )
        successor.predecessor = row
        successor.save(update_fields=["predecessor"])
        _follow(successor, row.certificate, actor=actor, at=at)
        authorities.record("authority.succeeded", row, actor=actor, successor=successor.slug, at=at)
        _retire(row, actor=actor, on=retire_at or at, at=at)
    return successor


@audit.refusals("authority.retire")
def retire_authority(
    *,
    actor: str,
    authority: CertificateAuthority,
    at: dt.datetime,
    on: dt.datetime | None = None,
    is_last_one_too: bool = False,
) -> CertificateAuthority:
    """Let a CA issue nothing more from `on` on (`at` where that is None); CRLs and OCSP go on.

    A retirement that is yet to come is brought forward or postponed. Writes an audit entry and
    announces the change. Refuses a CA that is retired already, one that would be the only one that
    issues certificates of people and servers then, unless `is_last_one_too`, a time that is past
    or after the CA has expired (StateError), and a key that is not kept here (AuthorityError).
    """
    on = on or at
    with transaction.atomic():
        row = _locked(authority)
        _refuse_to_retire(row, on=on, at=at)
        others = CertificateAuthority.objects.issuing(on).exclude(pk=row.pk)
        is_issuing = CertificateAuthority.objects.issuing(at).filter(pk=row.pk).exists()
        if is_issuing and not others.exists() and not is_last_one_too:
            raise StateError(
                f"{row} is the only CA that issues certificates here. Roll it over instead, or "
                "found another one first."
            )
        _retire(row, actor=actor, on=on, at=at)
    return row


@audit.refusals("authority.restore")
def restore_authority(
    *, actor: str, authority: CertificateAuthority, at: dt.datetime
) -> CertificateAuthority:
    """Let a retired CA issue again. Writes an audit entry and announces the change.

    So does one that is about to retire. Refuses one that is neither (StateError).
    """
    with transaction.atomic():
        row = _locked(authority)
        if row.retired_at is None:
            raise StateError(f"{row} is not retired: it issues already. Nothing is to be undone.")
        row.retired_at = None
        row.save(update_fields=["retired_at"])
        authorities.record("authority.restored", row, actor=actor, at=at)
        announce_change()
    return row


def next_name(name: str) -> str:
    """The name of the CA that comes after this one: "Staff" → "Staff G2" → "Staff G3"."""
    found = GENERATION.search(name)
    if found is None:
        return f"{name[: authorities.LONGEST_NAME - 3].rstrip()} G2"
    return f"{name[: found.start()]} G{int(found[1]) + 1}"


# --- Standing -------------------------------------------------------------------------------


def _locked(authority: CertificateAuthority) -> CertificateAuthority:
    """All CAs, locked: whether one is the last that issues is a question about the others."""
    rows = CertificateAuthority.objects.select_for_update(of=("self",), no_key=True)
    by_key = {row.pk: row for row in rows.select_related("certificate__key").order_by("pk")}
    return by_key[authority.pk]


def _refuse_succeeded(row: CertificateAuthority) -> None:
    successor = row.successors.first()
    if successor is not None:
        raise StateError(f"{row} is succeeded by {successor} already. Roll that one over.")
    if row.retired_at is not None:
        raise StateError(f"{row} is retired. Restore it before it is rolled over.")


def _refuse_to_retire(row: CertificateAuthority, *, on: dt.datetime, at: dt.datetime) -> None:
    if row.certificate.key is None:
        raise AuthorityError(
            f"{row} is kept elsewhere and issues nothing here. Retire it where its key is."
        )
    if row.retired_at is not None and row.retired_at <= at:
        raise StateError(
            f"{row} is retired already, since {row.retired_at:%Y-%m-%d}. Restore it first, if it is "
            "to retire at another time."
        )
    if on < at:
        raise StateError(f"{on:%Y-%m-%d %H:%M} UTC is past. Name a time to come, or none.")
    ends = row.certificate.not_after
    if on > max(ends, at):
        raise StateError(
            f"{row} expires on {ends:%Y-%m-%d}, before it would retire. Name an earlier time."
        )


def _refuse_unable(row: CertificateAuthority, old: x509.Certificate) -> None:
    if row.certificate.key is None:
        raise AuthorityError(f"{row} is kept elsewhere, and is renewed there.")
    if row.parent is not None and row.parent.certificate.key is None:
        raise AuthorityError(
            f"{row} was signed by {row.parent}, whose key is elsewhere. Request its renewal, and "
            f"have {row.parent} sign that."
        )
    identifier = old.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if identifier != x509.SubjectKeyIdentifier.from_public_key(old.public_key()):
        raise AuthorityError(
            f"The key identifier of {row} was chosen elsewhere, and what it signed names it. Roll "
            "it over instead."
        )


def _retire(row: CertificateAuthority, *, actor: str, on: dt.datetime, at: dt.datetime) -> None:
    row.retired_at = on
    row.save(update_fields=["retired_at"])
    authorities.record("authority.retired", row, actor=actor, on=on.isoformat(), at=at)
    announce_change()


# --- What stays -----------------------------------------------------------------------------


def _parsed(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(bytes(certificate.der))


def _path_length(certificate: x509.Certificate) -> int | None:
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return constraints.value.path_length


def _name_constraints(certificate: x509.Certificate) -> x509.NameConstraints | None:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.NameConstraints):
            return extension.value
    return None


def _follow(
    authority: CertificateAuthority, before: Certificate, *, actor: str, at: dt.datetime
) -> None:
    """Trust a root's new certificate where and as long as the one before it is trusted."""
    if not authority.is_root:
        return
    anchors = Anchor.objects.filter(sha256=before.sha256).exclude(trusted_until__lte=at)
    for anchor in anchors.select_related("truststore"):
        made = truststore.add_anchor(
            actor=actor, truststore=anchor.truststore, authority=authority, at=at
        )
        dates = (anchor.trusted_from, anchor.trusted_until)
        if dates != (None, None):
            truststore.date_anchor(
                actor=actor, anchor=made, trusted_from=dates[0], trusted_until=dates[1], at=at
            )
