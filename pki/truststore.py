"""Trust stores: anchors and CRLs, frozen into a snapshot against which chains are verified.

What always holds here:
  1. a snapshot never changes; a change makes a new one;
  2. an anchor is a self-signed CA, and counts only between its dates, where it has any;
  3. where a store knows CRLs, a chain whose CRL is missing, stale or not signed by its CA is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from pki import audit, authorities, bundles, trustpath
from pki.bundles import Bundle, Format
from pki.changes import announce_change
from pki.errors import AuthorityError, BadFileError, RequestError
from pki.models import Anchor, CertificateAuthority, Endpoint, RevocationList, TrustStore

LONGEST_SUBJECT = 255
PUBLIC_NAME = "signet-roots"
NOTICE = dt.timedelta(
    minutes=5
)  # upkeep comes round once a minute, or later when it has much to do


@dataclass(frozen=True)
class Snapshot:
    """A trust store at one moment; everything is DER.

    `anchors` are the roots, `intermediates` the CAs below them that have a row here, `crls` the
    newest full CRL of each CA there, roots included.
    """

    name: str
    anchors: tuple[bytes, ...] = ()
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


@audit.refusals("truststore.create")
def create_truststore(
    *, actor: str, name: str, at: dt.datetime, description: str = ""
) -> TrustStore:
    """Make an empty trust store; refuses a name that is taken (AuthorityError)."""
    truststore = TrustStore(name=name, description=description)
    with transaction.atomic():
        try:
            with transaction.atomic():
                truststore.save(force_insert=True)
        except IntegrityError:
            raise AuthorityError(f"There is a trust store called {name} already.") from None
        _record("truststore.created", truststore, actor=actor, detail={}, at=at)
    return truststore


@audit.refusals("anchor.add")
def add_anchor(
    *,
    actor: str,
    truststore: TrustStore,
    at: dt.datetime,
    authority: CertificateAuthority | None = None,
    certificate: bytes | None = None,
) -> Anchor:
    """Trust a root: one of our own (`authority`) or a foreign certificate (`certificate`, DER).

    A foreign one gets a row among the authorities, so that its CRLs and the CAs below it have a
    place. Writes an audit entry and announces a change. Refuses what is not a self-signed CA, is
    expired or is in the store already (AuthorityError), and what is no certificate (BadFileError).
    """
    if (authority is None) == (certificate is None):
        raise AuthorityError("Give one root: a CA from here, or a certificate.")
    der = bytes(authority.certificate.der) if authority else bytes(certificate or b"")
    root = read_root(der, at=at)
    detail = {"subject": root.subject.rfc4514_string(), "sha256": sha256(der).hexdigest()}
    with transaction.atomic():
        if authority is None:
            authority = authorities.record_outside_authority(actor=actor, certificate=der, at=at)
        anchor = _insert(truststore, authority, root, der, at=at)
        _record("anchor.added", truststore, actor=actor, detail=detail, at=at)
        announce_change()
    return anchor


@audit.refusals("anchor.withdraw")
def withdraw_anchor(*, actor: str, anchor: Anchor, at: dt.datetime) -> None:
    """Stop trusting a root. Writes an audit entry and announces a change."""
    detail = {"subject": anchor.subject, "sha256": anchor.sha256}
    with transaction.atomic():
        deleted, _ = Anchor.objects.filter(pk=anchor.pk).delete()
        if not deleted:
            raise AuthorityError(f"{anchor} has been withdrawn already.")
        _record("anchor.withdrawn", anchor.truststore, actor=actor, detail=detail, at=at)
        announce_change()


@audit.refusals("anchor.date")
def date_anchor(
    *,
    actor: str,
    anchor: Anchor,
    trusted_from: dt.datetime | None,
    trusted_until: dt.datetime | None,
    at: dt.datetime,
) -> Anchor:
    """Say from when and until when an anchor counts; None for no limit.

    Writes an audit entry and announces a change; when one of the dates comes, `announce_dates`
    announces again. Refuses an end that is not after the beginning (RequestError).
    """
    if trusted_from and trusted_until and trusted_until <= trusted_from:
        raise RequestError("The last moment of trust must come after the first.")
    detail = {
        "subject": anchor.subject,
        "sha256": anchor.sha256,
        "from": trusted_from.isoformat() if trusted_from else "",
        "until": trusted_until.isoformat() if trusted_until else "",
    }
    with transaction.atomic():
        changed = Anchor.objects.filter(pk=anchor.pk).update(
            trusted_from=trusted_from, trusted_until=trusted_until
        )
        if not changed:
            raise AuthorityError(f"{anchor} has been withdrawn meanwhile.")
        _record("anchor.dated", anchor.truststore, actor=actor, detail=detail, at=at)
        announce_change()
    anchor.refresh_from_db(fields=["trusted_from", "trusted_until"])
    return anchor


@audit.refusals("truststore.set_recognition")
def set_recognition(
    *, actor: str, truststore: TrustStore, recognises: str, at: dt.datetime
) -> None:
    """Say how certificates from elsewhere become people on endpoints that use this store.

    Writes an audit entry and announces a change. Refuses an unknown way (RequestError).
    """
    if recognises not in TrustStore.Recognises.values:
        raise RequestError(f"{recognises!r} is no way to recognise people.")
    detail = {"recognises": str(recognises)}
    with transaction.atomic():
        TrustStore.objects.filter(pk=truststore.pk).update(recognises=recognises)
        _record("truststore.recognition_set", truststore, actor=actor, detail=detail, at=at)
        announce_change()
    truststore.recognises = recognises


def announce_dates(*, at: dt.datetime) -> bool:
    """Announce a change where the date of an anchor has just come; whether one has."""
    since = at - NOTICE
    has_come = Anchor.objects.filter(
        Q(trusted_from__gt=since, trusted_from__lte=at)
        | Q(trusted_until__gt=since, trusted_until__lte=at)
    ).exists()
    if has_come:
        announce_change()
    return has_come


def in_force(at: dt.datetime) -> QuerySet[Anchor]:
    """The anchors that count at a moment, of all stores, in the order they came."""
    return Anchor.objects.filter(
        Q(trusted_from=None) | Q(trusted_from__lte=at),
        Q(trusted_until=None) | Q(trusted_until__gt=at),
    ).order_by("pk")


def snapshot(truststore: TrustStore, at: dt.datetime | None = None) -> Snapshot:
    """The store as it is at `at`, by default now, in two queries."""
    anchors = list(in_force(at or timezone.now()).filter(truststore=truststore))
    known = _below(anchors)
    return Snapshot(
        name=truststore.name,
        anchors=tuple(bytes(anchor.der) for anchor in anchors),
        intermediates=tuple(bytes(ca.certificate.der) for ca in known if not ca.is_root),
        crls=tuple(bytes(ca.crl_der) for ca in known if ca.crl_der is not None),  # type: ignore[attr-defined]
    )


def verify(
    snapshot: Snapshot, chain: Sequence[bytes], *, at: dt.datetime
) -> list[x509.Certificate]:
    """The path from a client's certificate (first) to an anchor (last); see `trustpath`.

    Raises the IdentityError that says why there is none: NoCertificateError,
    CertificateNotTrustedError, WrongPurposeError, CertificateExpiredError,
    CertificateNotYetValidError or CertificateRevokedError.
    """
    return trustpath.verify(
        anchors=snapshot.anchors,
        intermediates=snapshot.intermediates,
        crls=snapshot.crls,
        chain=chain,
        at=at,
    )


def export(
    truststore: TrustStore, *, format: Format, at: dt.datetime, password: str | None = None
) -> Bundle:
    """The anchors in force, packed for other programs; see `bundles.pack` for what it refuses,
    besides a store without any (AuthorityError)."""
    return bundles.pack(
        anchors_of(truststore, at=at), format=format, name=truststore.name, password=password
    )


def anchors_of(truststore: TrustStore, *, at: dt.datetime) -> list[x509.Certificate]:
    """The anchors in force; refuses a store without any (AuthorityError)."""
    ders = in_force(at).filter(truststore=truststore).values_list("der", flat=True)
    anchors = [x509.load_der_x509_certificate(bytes(der)) for der in ders]
    if not anchors:
        raise AuthorityError(f"Trust store {truststore} has no anchor in force.")
    return anchors


def public_roots(*, at: dt.datetime) -> list[x509.Certificate]:
    """What everybody may install: anchors of stores that endpoints use, below which CAs of ours
    stand. Not the roots of partners: whoever installs one trusts every server below it."""
    in_use = Endpoint.objects.filter(enabled=True, truststore__isnull=False).values("truststore")
    anchors = in_force(at).filter(truststore__in=in_use, authority__in=roots_of_ours())
    ders = dict.fromkeys(bytes(der) for der in anchors.values_list("der", flat=True))
    return [x509.load_der_x509_certificate(der) for der in ders]


def roots_of_ours() -> set[int]:
    """The roots below which there is a CA whose key is here, or that are one themselves."""
    parents: dict[int, int | None] = {}
    ours: set[int] = set()
    rows = CertificateAuthority.objects.values_list("pk", "parent", "certificate__key")
    for pk, parent, key in rows:
        parents[pk] = parent
        if key is not None:
            ours.add(pk)
    return {_topmost(pk, parents) for pk in ours}


def _topmost(pk: int, parents: dict[int, int | None]) -> int:
    while (parent := parents.get(pk)) is not None:
        pk = parent
    return pk


def _below(anchors: Sequence[Anchor]) -> list[CertificateAuthority]:
    """The CAs at or below the given anchors, each with the DER of its newest full CRL."""
    newest = RevocationList.objects.filter(
        authority=OuterRef("pk"), kind=RevocationList.Kind.FULL, partition=0
    ).order_by("-number")
    everyone = list(
        CertificateAuthority.objects.select_related("certificate")
        .annotate(crl_der=Subquery(newest.values("der")[:1]))
        .order_by("pk")
    )
    digests = {anchor.sha256 for anchor in anchors}
    trusted = {anchor.authority_id for anchor in anchors if anchor.authority_id}
    trusted |= {ca.pk for ca in everyone if ca.certificate.sha256 in digests}
    for _ in everyone:  # a level a turn; no hierarchy is deeper than it has CAs
        trusted |= {ca.pk for ca in everyone if ca.parent_id in trusted}
    return [ca for ca in everyone if ca.pk in trusted]


def read_root(der: bytes, *, at: dt.datetime) -> x509.Certificate:
    """A certificate that may become an anchor; refuses what may not, as `add_anchor` says."""
    try:
        root = x509.load_der_x509_certificate(der)
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
        root.verify_directly_issued_by(root)
    except x509.ExtensionNotFound:
        raise AuthorityError("This certificate is not that of a CA.") from None
    except (InvalidSignature, TypeError, UnsupportedAlgorithm):
        raise AuthorityError(
            "A trust anchor is a root: it signs itself. This one does not."
        ) from None
    except ValueError as error:
        raise _root_error(der) from error
    if not constraints.ca:
        raise AuthorityError("This certificate is not that of a CA.")
    if root.not_valid_after_utc < at:
        raise AuthorityError("This root has expired.")
    return root


def _root_error(der: bytes) -> AuthorityError | BadFileError:
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError:
        return BadFileError("This is not a certificate in DER.")
    if certificate.issuer != certificate.subject:
        return AuthorityError("A trust anchor is a root: it signs itself. This one does not.")
    return BadFileError("This certificate has an extension that cannot be read.")


def _insert(
    truststore: TrustStore,
    authority: CertificateAuthority | None,
    root: x509.Certificate,
    der: bytes,
    *,
    at: dt.datetime,
) -> Anchor:
    try:
        with transaction.atomic():
            return Anchor.objects.create(
                truststore=truststore,
                authority=authority,
                subject=root.subject.rfc4514_string()[:LONGEST_SUBJECT],
                sha256=sha256(der).hexdigest(),
                not_after=root.not_valid_after_utc,
                der=der,
                added_at=at,
            )
    except IntegrityError:
        raise AuthorityError(f"Trust store {truststore} has this root already.") from None


def _record(
    action: str, truststore: TrustStore, *, actor: str, detail: dict[str, str], at: dt.datetime
) -> None:
    target = f"trust store {truststore.name}"
    audit.record(actor=actor, action=action, target=target, detail=detail, at=at)
