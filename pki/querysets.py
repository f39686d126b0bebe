"""Questions about many rows, in the words of the domain."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from pki.models import Certificate, CertificateAuthority, Invitation  # noqa: F401 (querysets come before models)


class CertificateQuerySet(models.QuerySet["Certificate"]):
    def active(self, at: dt.datetime) -> CertificateQuerySet:
        return self.filter(revoked_at__isnull=True, not_before__lte=at, not_after__gte=at)

    def revoked(self) -> CertificateQuerySet:
        return self.filter(revoked_at__isnull=False)

    def expired(self, at: dt.datetime) -> CertificateQuerySet:
        return self.filter(revoked_at__isnull=True, not_after__lt=at)

    def expiring_before(self, limit: dt.datetime, *, at: dt.datetime) -> CertificateQuerySet:
        return self.active(at).filter(not_after__lt=limit)

    def of_people(self) -> CertificateQuerySet:
        return self.filter(owner__isnull=False)

    def search(self, text: str) -> CertificateQuerySet:
        """By serial, fingerprint (with or without colons), subject or username."""
        plain = text.replace(":", "").replace(" ", "").lower()
        return self.filter(
            Q(serial=plain.lstrip("0"))
            | Q(sha256=plain)
            | Q(subject__icontains=text)
            | Q(owner__username__icontains=text)
        )


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self, at: dt.datetime) -> InvitationQuerySet:
        return self.filter(redeemed_at__isnull=True, expires_at__gt=at)


class CertificateAuthorityQuerySet(models.QuerySet["CertificateAuthority"]):
    def issuing(self, at: dt.datetime) -> CertificateAuthorityQuerySet:
        """CAs that may sign certificates of people and servers now, newest first; never a root."""
        return (
            self.filter(
                parent__isnull=False,
                certificate__revoked_at__isnull=True,
                certificate__not_before__lte=at,
                certificate__not_after__gt=at,
            )
            .select_related("certificate__key", "parent__certificate")
            .order_by("-created_at", "-pk")
        )
