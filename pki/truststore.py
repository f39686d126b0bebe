"""Trust stores: anchors and CRLs, frozen into a snapshot against which chains are verified.

What always holds here:
  1. a snapshot never changes; a change makes a new one;
  2. an anchor is a self-signed CA;
  3. where a store knows CRLs, a chain whose CRL is missing, stale or not signed by its CA is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Subquery

from pki import audit, trustpath
from pki.changes import announce_change
from pki.errors import AuthorityError, BadFileError
from pki.models import Anchor, CertificateAuthority, RevocationList, TrustStore

LONGEST_SUBJECT = 255


@dataclass(frozen=True)
class Snapshot:
    """A trust store at one moment; everything is DER.

    `anchors` are the roots, `intermediates` our CAs below them, `crls` the newest CRL of each of
    our CAs there, roots included.
    """

    name: str
    anchors: tuple[bytes, ...] = ()
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


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


def add_anchor(
    *,
    actor: str,
    truststore: TrustStore,
    at: dt.datetime,
    authority: CertificateAuthority | None = None,
    certificate: bytes | None = None,
) -> Anchor:
    """Trust a root: one of our own (`authority`) or a foreign certificate (`certificate`, DER).

    Writes an audit entry and announces a change. Refuses what is not a self-signed CA, is expired
    or is in the store already (AuthorityError), and what is no certificate (BadFileError).
    """
    if (authority is None) == (certificate is None):
        raise AuthorityError("Give one root: a CA from here, or a certificate.")
    der = bytes(authority.certificate.der) if authority else bytes(certificate or b"")
    root = _root(der, at=at)
    detail = {"subject": root.subject.rfc4514_string(), "sha256": sha256(der).hexdigest()}
    with transaction.atomic():
        anchor = _insert(truststore, authority, root, der, at=at)
        _record("anchor.added", truststore, actor=actor, detail=detail, at=at)
        announce_change()
    return anchor


def withdraw_anchor(*, actor: str, anchor: Anchor, at: dt.datetime) -> None:
    """Stop trusting a root. Writes an audit entry and announces a change."""
    detail = {"subject": anchor.subject, "sha256": anchor.sha256}
    with transaction.atomic():
        deleted, _ = Anchor.objects.filter(pk=anchor.pk).delete()
        if not deleted:
            raise AuthorityError(f"{anchor} has been withdrawn already.")
        _record("anchor.withdrawn", anchor.truststore, actor=actor, detail=detail, at=at)
        announce_change()


def snapshot(truststore: TrustStore) -> Snapshot:
    """The store as it is now, in two queries."""
    anchors = list(truststore.anchors.order_by("pk"))
    ours = _below({anchor.authority_id for anchor in anchors if anchor.authority_id})
    return Snapshot(
        name=truststore.name,
        anchors=tuple(bytes(anchor.der) for anchor in anchors),
        intermediates=tuple(bytes(ca.certificate.der) for ca in ours if not ca.is_root),
        crls=tuple(bytes(ca.crl_der) for ca in ours if ca.crl_der is not None),  # type: ignore[attr-defined]
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


def export_pem(truststore: TrustStore) -> bytes:
    """All anchors, one PEM block after the other; refuses an empty store (AuthorityError)."""
    return b"".join(root.public_bytes(Encoding.PEM) for root in _anchors(truststore))


def export_p7b(truststore: TrustStore) -> bytes:
    """All anchors as one PKCS #7 file (DER), as Windows imports them."""
    return pkcs7.serialize_certificates(_anchors(truststore), Encoding.DER)


def export_der(truststore: TrustStore) -> bytes:
    """The one anchor of a store; refuses several, because DER holds one certificate."""
    anchors = _anchors(truststore)
    if len(anchors) > 1:
        raise AuthorityError(
            f"Trust store {truststore} has {len(anchors)} anchors and DER holds one. "
            "Export it as PEM or p7b."
        )
    return anchors[0].public_bytes(Encoding.DER)


def _anchors(truststore: TrustStore) -> list[x509.Certificate]:
    ders = truststore.anchors.order_by("pk").values_list("der", flat=True)
    anchors = [x509.load_der_x509_certificate(bytes(der)) for der in ders]
    if not anchors:
        raise AuthorityError(f"Trust store {truststore} is empty.")
    return anchors


def _below(roots: set[int]) -> list[CertificateAuthority]:
    """Our CAs at or below the given ones, each with the DER of its newest CRL."""
    newest = RevocationList.objects.filter(authority=OuterRef("pk")).order_by("-number")
    everyone = list(
        CertificateAuthority.objects.select_related("certificate")
        .annotate(crl_der=Subquery(newest.values("der")[:1]))
        .order_by("pk")
    )
    trusted = set(roots)
    for _ in everyone:  # a level a turn; no hierarchy is deeper than it has CAs
        trusted |= {ca.pk for ca in everyone if ca.parent_id in trusted}
    return [ca for ca in everyone if ca.pk in trusted]


def _root(der: bytes, *, at: dt.datetime) -> x509.Certificate:
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
