"""Questions about many rows, in the words of the domain."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.db.models import Q

from pki.description import serial_digits, sha256_digits

if TYPE_CHECKING:
    from pki.models import Certificate, CertificateAuthority, Invitation  # noqa: F401 (querysets come before models)


def rows_of(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query that is written out finds; for those that are asked with every certificate,
    where to build one takes several times as long as to run it. Times come as `moment` reads them."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def moment(found: dt.datetime | None) -> dt.datetime | None:
    """A time as `rows_of` finds it: SQLite does not say that it is UTC."""
    return found if found is None or found.tzinfo else found.replace(tzinfo=dt.UTC)


def valid_at(at: dt.datetime, certificate: str = "") -> Q:
    """Certificates neither revoked nor outside their validity; `certificate` is the way to them
    from another row, such as "certificates__"."""
    return Q(
        **{
            f"{certificate}revoked_at__isnull": True,
            f"{certificate}not_before__lte": at,
            f"{certificate}not_after__gte": at,
        }
    )


class CertificateQuerySet(models.QuerySet["Certificate"]):
    def active(self, at: dt.datetime) -> CertificateQuerySet:
        return self.filter(valid_at(at))

    def revoked(self) -> CertificateQuerySet:
        return self.filter(revoked_at__isnull=False)

    def expired(self, at: dt.datetime) -> CertificateQuerySet:
        return self.filter(revoked_at__isnull=True, not_after__lt=at)

    def expiring_before(self, limit: dt.datetime, *, at: dt.datetime) -> CertificateQuerySet:
        return self.active(at).filter(not_after__lt=limit)

    def of_people(self) -> CertificateQuerySet:
        return self.filter(owner__isnull=False)

    def with_serial(self, text: str) -> CertificateQuerySet:
        return self.filter(serial=serial_digits(text))

    def with_sha256(self, text: str) -> CertificateQuerySet:
        return self.filter(sha256=sha256_digits(text))

    def search(self, text: str) -> CertificateQuerySet:
        """By serial, fingerprint (with or without colons), subject or username."""
        return self.filter(
            Q(serial=serial_digits(text))
            | Q(sha256=sha256_digits(text))
            | Q(subject__icontains=text)
            | Q(owner__username__icontains=text)
        )


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self, at: dt.datetime) -> InvitationQuerySet:
        return self.filter(redeemed_at__isnull=True, expires_at__gt=at)


class CertificateAuthorityQuerySet(models.QuerySet["CertificateAuthority"]):
    def issuing(self, at: dt.datetime) -> CertificateAuthorityQuerySet:
        """CAs that may sign certificates of people and servers now, oldest first; never a root.

        A further CA does not take over what is issued here by being founded.
        """
        return (
            self.filter(
                valid_at(at, "certificate__"),
                Q(retired_at__isnull=True) | Q(retired_at__gt=at),
                parent__isnull=False,
                certificate__key__isnull=False,
            )
            .select_related("certificate__key", "parent__certificate")
            .order_by("created_at", "pk")
        )
