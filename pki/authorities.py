"""Certificate authorities: founding one here, and recording one from elsewhere.

What always holds here: every CA but a root hangs below the row of the CA that signed it, and that
signature has been verified.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.db import DatabaseError, IntegrityError, models, transaction
from django.db.models import Q
from django.utils.text import slugify

from pki import algorithms, audit, crl, issuance, keys, lint, profiles
from pki.changes import announce_change
from pki.description import serial_text
from pki.errors import AuthorityError, BadFileError, PKIError
from pki.models import AuthorityRequest, Certificate, CertificateAuthority, PrivateKey

NAMED: tuple[type[models.Model], ...] = (CertificateAuthority, AuthorityRequest)
CRL_OF = re.compile(r"(.+)-(?:delta|[1-9]\d{0,2})")  # crl_publication.file_name
LONGEST_NAME = 64
LONGEST_SERIAL = 40
LONGEST_SUBJECT = 255


@audit.refusals("authority.create")
def create_authority(
    *,
    actor: str,
    name: str,
    at: dt.datetime,
    parent: CertificateAuthority | None = None,
    algorithm: str = "p256",
    backend: str = keys.DATABASE,
    path_length: int | None = None,
    validity: dt.timedelta | None = None,
    name_constraints: x509.NameConstraints | None = None,
) -> CertificateAuthority:
    """Found a root CA, or one below `parent`: key, certificate, row and first CRL.

    Everything happens in one transaction, with audit entries, and is announced. What is None is as
    the profile has it; no CA is valid longer than its parent. Refuses a name that is taken, too
    long, not plain text, or like that of another CA's CRL, a parent that may not have CAs below it
    (AuthorityError, LintError), more than the profile admits (ProfileError), and a key that cannot
    be made (MasterKeyError, KeyBackendError).
    """
    slug = free_slug(name)
    with transaction.atomic(), new_key(algorithm, backend) as key:
        prepared = issuance.prepare(
            actor=actor,
            authority=parent,
            profile=(profiles.INTERMEDIATE if parent else profiles.ROOT).name,
            key=key,
            common_name=name,
            path_length=path_length,
            validity=validity,
            name_constraints=name_constraints,
            at=at,
        )
        authority = _insert(
            CertificateAuthority(
                name=name,
                slug=slug,
                parent=parent,
                certificate=issuance.issue(prepared),
                created_at=at,
            )
        )
        record("authority.created", authority, actor=actor, algorithm=algorithm, at=at)
        crl.publish(authority=authority, actor=actor, at=at)
    return authority


@audit.refusals("authority.record")
def record_outside_authority(
    *,
    actor: str,
    certificate: bytes,
    at: dt.datetime,
    parent: CertificateAuthority | None = None,
) -> CertificateAuthority:
    """Give a CA from elsewhere its row: its certificate (DER) is here, its key is not.

    Returns the row that is there already where this certificate is known. Without `parent`, a CA
    that does not sign itself is put below the CA here that signed it. Writes an audit entry and
    announces the change. Refuses what is no certificate (BadFileError), what is not a CA's, has
    expired, or was not signed by its parent or by any CA known here (AuthorityError).
    """
    outside = _read(certificate)
    row = known(certificate)
    if row is not None:
        return row
    require_authority_certificate(outside, at=at)
    parent = parent_of(outside, parent)
    with transaction.atomic():
        authority = insert_outside(outside, parent=parent, key=None, actor=actor, at=at)
        record("authority.recorded", authority, actor=actor, at=at)
        announce_change()
    return authority


def name_constraints(
    *, permit: Sequence[str] = (), exclude: Sequence[str] = ()
) -> x509.NameConstraints | None:
    """Name constraints as people write them; None for none.

    example.org is a domain with all below it, @example.org and alice@example.org are e-mail
    addresses, 10.0.0.0/8 is a network. Refuses (AuthorityError) what is none of these.
    """
    if not permit and not exclude:
        return None
    return x509.NameConstraints(
        [_subtree(text) for text in permit] or None, [_subtree(text) for text in exclude] or None
    )


def require_authority_certificate(certificate: x509.Certificate, *, at: dt.datetime) -> None:
    """Refuse (AuthorityError) a certificate that is not that of a CA in force at `at`."""
    named = certificate.subject.rfc4514_string() or "this certificate"
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usages = [found.value for found in extensions if isinstance(found.value, x509.KeyUsage)]
    except x509.ExtensionNotFound:
        raise AuthorityError(f"{named} is not a CA: it has no BasicConstraints.") from None
    except ValueError as error:
        raise BadFileError(f"{named} has an extension that cannot be read: {error}.") from None
    if not constraints.ca:
        raise AuthorityError(f"{named} is not a CA: its BasicConstraints say so.")
    if not all(usage.key_cert_sign for usage in usages):
        raise AuthorityError(f"{named} may not sign certificates: its key usage forbids it.")
    if at > certificate.not_valid_after_utc:
        raise AuthorityError(f"{named} has expired.")


def issuer_of(
    certificate: x509.Certificate, candidates: Iterable[CertificateAuthority] | None = None
) -> CertificateAuthority | None:
    """The CA known here that signed this certificate, or None."""
    if candidates is None:
        candidates = CertificateAuthority.objects.select_related("certificate").order_by("pk")
    for authority in candidates:
        if is_signed_by(certificate, _read(bytes(authority.certificate.der))):
            return authority
    return None


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and signature stand on the certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def require_issuing(*, at: dt.datetime) -> CertificateAuthority:
    """The CA that signs certificates of people and servers now; AuthorityError if there is none."""
    authority = CertificateAuthority.objects.issuing(at).first()
    if authority is None:
        raise AuthorityError("No CA may issue certificates now. Create one below a root first.")
    return authority


def standing(authority: CertificateAuthority, *, at: dt.datetime) -> str:
    """Whether a CA issues, in words: valid, expired, revoked, retired, kept elsewhere."""
    status = authority.certificate.status_at(at)
    if status is not Certificate.Status.VALID:
        return status.value
    if authority.certificate.key_id is None:
        return "kept elsewhere"
    if authority.retired_at is None:
        return status.value
    is_retired = authority.retired_at <= at
    return "retired" if is_retired else f"retires on {authority.retired_at:%Y-%m-%d}"


def key_words(authority: CertificateAuthority) -> str:
    """The kind of a CA's key and where it is: "P-256", "RSA 3072, on a token"."""
    kind = algorithms.describe(_read(bytes(authority.certificate.der)).public_key())
    key = authority.certificate.key
    if key is None:
        return f"{kind}, kept elsewhere"
    return f"{kind}, on a token" if key.backend != keys.DATABASE else kind


# --- Keys and names ----------------------------------------------------------------------


@contextmanager
def new_key(algorithm: str, backend: str) -> Iterator[PrivateKey]:
    """A key for what happens in the block; where that fails, it does not stay on a token."""
    key = keys.create_key(algorithm=algorithm, backend=backend)
    try:
        yield key
    except BaseException:
        if backend != keys.DATABASE:
            with suppress(PKIError, DatabaseError):  # the block's own error says more
                keys.discard_key(key)
        raise


def _subtree(text: str) -> x509.GeneralName:
    try:
        if "/" in text:
            return x509.IPAddress(ipaddress.ip_network(text))
        if "@" in text:
            return x509.RFC822Name(text.removeprefix("@"))
        return x509.DNSName(text.lower().removeprefix("."))
    except ValueError:
        raise AuthorityError(
            f"{text!r} is no name constraint. Write a domain (example.org), e-mail addresses "
            "(@example.org), or a network (10.0.0.0/8)."
        ) from None


# --- From elsewhere -------------------------------------------------------------------------


def _read(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise BadFileError("This is not a certificate in DER.") from None


def known(der: bytes) -> CertificateAuthority | None:
    """The CA of this very certificate, also where it was renewed since."""
    row = Certificate.objects.filter(sha256=sha256(der).hexdigest()).first()
    if row is None:
        return None
    same_key = CertificateAuthority.objects.filter(certificate__spki_sha256=row.spki_sha256)
    return same_key.filter(certificate__subject=row.subject).first()


def parent_of(
    certificate: x509.Certificate, parent: CertificateAuthority | None
) -> CertificateAuthority | None:
    if parent is None and is_signed_by(certificate, certificate):
        return None
    found = issuer_of(certificate, [parent] if parent else None)
    if found is None:
        raise AuthorityError(
            f"{certificate.subject.rfc4514_string()} was not signed by "
            f"{parent or 'any CA known here'}. Hand in the certificates of the CAs above it too."
        )
    return found


def insert_outside(
    certificate: x509.Certificate,
    *,
    name: str = "",
    parent: CertificateAuthority | None,
    key: PrivateKey | None,
    actor: str,
    at: dt.datetime,
) -> CertificateAuthority:
    name = name or _free_name(certificate)
    slug = free_slug(name)
    row = outside_certificate(
        certificate,
        authority=parent,
        profile=(profiles.INTERMEDIATE if parent else profiles.ROOT).name,
        key=key,
        actor=actor,
        at=at,
    )
    return _insert(
        CertificateAuthority(name=name, slug=slug, parent=parent, certificate=row, created_at=at)
    )


def outside_certificate(
    certificate: x509.Certificate,
    *,
    authority: CertificateAuthority | None,
    profile: str,
    key: PrivateKey | None,
    actor: str,
    at: dt.datetime,
) -> Certificate:
    """The row of a certificate that was issued elsewhere; the caller has checked and records it.

    Refuses (BadFileError) a serial number that is longer than RFC 5280, 4.1.2.2 allows.
    """
    der = certificate.public_bytes(Encoding.DER)
    serial = serial_text(certificate.serial_number)
    if len(serial) > LONGEST_SERIAL:
        raise BadFileError("The serial number of this certificate is longer than 20 octets.")
    return Certificate.objects.create(
        authority=authority,
        profile=profile,
        serial=serial,
        sha256=sha256(der).hexdigest(),
        spki_sha256=algorithms.spki_sha256(certificate.public_key()),
        subject=certificate.subject.rfc4514_string()[:LONGEST_SUBJECT],
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=der,
        key=key,
        is_outside=True,
        issued_at=at,
        issued_by=actor,
    )


def _free_name(certificate: x509.Certificate) -> str:
    """What the CA calls itself; with the beginning of its fingerprint where that is taken."""
    words = [
        str(attribute.value)
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
        for attribute in certificate.subject.get_attributes_for_oid(kind)
    ]
    plain = [word for word in words if lint.is_plain_text(word) and slugify(word)]
    name = (plain or ["CA"])[0][:LONGEST_NAME].strip()
    digest = sha256(certificate.public_bytes(Encoding.DER)).hexdigest()[:8]
    if plain and not _is_taken(name):
        return name
    return f"{name[: LONGEST_NAME - len(digest) - 1].strip()} {digest}"


def _is_taken(name: str) -> bool:
    slug = slugify(name)
    taken = Q(slug=slug) | Q(name=name)
    is_there = any(model._default_manager.filter(taken).exists() for model in NAMED)
    return is_there or _mistaken_for(slug) is not None


def _mistaken_for(slug: str) -> str | None:
    """The CA one of whose CRLs would have the address of one of this CA's, or the other way round:
    the delta of "staff" is /crl/staff-delta.crl, its partition 2 is /crl/staff-2.crl."""
    whose = CRL_OF.fullmatch(slug)
    same = Q(slug=whose[1]) if whose else Q(pk__in=())
    for model in NAMED:
        rows = model._default_manager.filter(same | Q(slug__startswith=f"{slug}-"))
        for other in rows.values_list("slug", flat=True):
            found = CRL_OF.fullmatch(other)
            if (whose and other == whose[1]) or (found and found[1] == slug):
                return str(other)
    return None


# --- Rows -----------------------------------------------------------------------------------


def free_slug(name: str) -> str:
    """The slug of a name for a new CA; refuses one that is taken or unfit (AuthorityError)."""
    slug = slugify(name)
    if not slug or len(name) > LONGEST_NAME or not lint.is_plain_text(name):
        raise AuthorityError(
            f"The name of a CA has up to {LONGEST_NAME} visible characters, some of them "
            "letters or digits."
        )
    if _is_taken(name):  # before a key is made in vain
        other = _mistaken_for(slug)
        raise _taken(slug) if other is None else _confused(slug, other)
    return slug


def _insert(authority: CertificateAuthority) -> CertificateAuthority:
    try:
        with transaction.atomic():
            authority.save(force_insert=True)
    except IntegrityError:  # somebody else took the name while the key was made
        raise _taken(authority.slug) from None
    return authority


def _taken(slug: str) -> AuthorityError:
    return AuthorityError(f"There is a CA called {slug} already. Choose another name.")


def _confused(slug: str, other: str) -> AuthorityError:
    return AuthorityError(
        f"The CRLs of {slug} and those of {other} would have the same addresses, because the name "
        "of one is that of the other with “delta” or a number at the end. Choose another name."
    )


def record(
    action: str,
    authority: CertificateAuthority,
    *,
    actor: str,
    at: dt.datetime,
    **detail: str | int | None,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        target=f"CA {authority.slug}",
        detail={
            "name": authority.name,
            "parent": authority.parent.slug if authority.parent else None,
            "sha256": authority.certificate.sha256,
            **detail,
        },
        at=at,
    )
