"""Founding a certificate authority."""

from __future__ import annotations

import datetime as dt

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from pki import audit, crl, issuance, keys, lint, profiles
from pki.errors import AuthorityError
from pki.models import CertificateAuthority

LONGEST_NAME = 64


def create_authority(
    *,
    actor: str,
    name: str,
    at: dt.datetime,
    parent: CertificateAuthority | None = None,
    algorithm: str = "p256",
) -> CertificateAuthority:
    """Found a root CA, or one below `parent`: key, certificate, row and first CRL.

    Everything happens in one transaction, with audit entries, and is announced. Refuses a name
    that is taken, too long or not plain text, and a parent that may not have CAs below it
    (AuthorityError, LintError).
    """
    slug = _slug(name)
    with transaction.atomic():
        key = keys.create_key(algorithm=algorithm)
        prepared = issuance.prepare(
            actor=actor,
            authority=parent,
            profile=(profiles.INTERMEDIATE if parent else profiles.ROOT).name,
            key=key,
            common_name=name,
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
        _record(authority, actor=actor, algorithm=algorithm, at=at)
        crl.publish(authority=authority, actor=actor, at=at)
    return authority


def require_issuing(*, at: dt.datetime) -> CertificateAuthority:
    """The CA that signs certificates of people and servers now; AuthorityError if there is none."""
    authority = CertificateAuthority.objects.issuing(at).first()
    if authority is None:
        raise AuthorityError("No CA may issue certificates now. Create one below a root first.")
    return authority


def _slug(name: str) -> str:
    slug = slugify(name)
    if not slug or len(name) > LONGEST_NAME or not lint.is_plain_text(name):
        raise AuthorityError(
            f"The name of a CA has up to {LONGEST_NAME} visible characters, some of them "
            "letters or digits."
        )
    if CertificateAuthority.objects.filter(slug=slug).exists():  # before a key is made in vain
        raise _taken(slug)
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


def _record(
    authority: CertificateAuthority, *, actor: str, algorithm: str, at: dt.datetime
) -> None:
    audit.record(
        actor=actor,
        action="authority.created",
        target=f"CA {authority.slug}",
        detail={
            "name": authority.name,
            "parent": authority.parent.slug if authority.parent else None,
            "algorithm": algorithm,
            "sha256": authority.certificate.sha256,
        },
        at=at,
    )
