"""How a CA and its newest CRL stand, for the console's pages that show many of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.safestring import SafeString

from pki import authorities
from pki.admin.columns import badge, day, status_badge
from pki.models import CertificateAuthority, RevocationList


def crl_badge(crl: RevocationList | None, *, at: dt.datetime, is_ours: bool = True) -> SafeString:
    """Whether a CRL is fresh, due for its successor, or so old that clients refuse everybody."""
    if crl is None:
        return badge("no CRL", "bad") if is_ours else badge("none imported")
    if crl.is_stale_at(at):
        return badge("out of date", "bad")
    return badge("due", "warn") if crl.is_due_at(at) else badge("fresh", "good")


def standing_badge(authority: CertificateAuthority, *, at: dt.datetime) -> SafeString:
    """Whether a CA issues: valid, retired or about to be, with its key elsewhere, expired …"""
    words = authorities.standing(authority, at=at)
    if words == authority.certificate.status_at(at).value:
        return status_badge(authority.certificate, at=at)
    if authority.retired_at is not None and authority.retired_at > at:
        words = f"retires on {day(authority.retired_at)}"
    return badge(words, "warn" if authority.retired_at else "")


# A root, and then those below it.
TREE: tuple[Any, ...] = (
    Coalesce("parent__name", "name"),
    F("parent").asc(nulls_first=True),
    "name",
)


def with_newest_crl(queryset: QuerySet[CertificateAuthority]) -> QuerySet[Any]:
    """Each CA with the number and times of its newest CRL."""
    full = RevocationList.objects.filter(kind=RevocationList.Kind.FULL, partition=0)
    newest = full.filter(authority=OuterRef("pk")).order_by("-number")
    return queryset.annotate(
        crl_number=Subquery(newest.values("number")[:1]),
        crl_this_update=Subquery(newest.values("this_update")[:1]),
        crl_next_update=Subquery(newest.values("next_update")[:1]),
    )


def newest_crl_of(row: Any) -> RevocationList | None:
    """The newest CRL of a row of `with_newest_crl`, without its DER and without a query."""
    if row.crl_number is None:
        return None
    return RevocationList(
        number=row.crl_number, this_update=row.crl_this_update, next_update=row.crl_next_update
    )
