"""The console's first page: what needs a hand, at a glance, in a fixed number of queries."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from pki import responder, server_certificates
from pki.admin.columns import (
    SOON,
    admin_url,
    badge,
    day_with_distance,
    distance,
    list_url,
)
from pki.admin.standing import (
    TREE,
    crl_badge,
    newest_crl_of,
    standing_badge,
    with_newest_crl,
)
from pki.endpoints import certificates_of
from pki.models import (
    AuditEntry,
    Certificate,
    CertificateAuthority,
    CertificationRequest,
    Endpoint,
    Invitation,
    User,
)
from pki.permissions import may_issue, may_see_requests
from pki.querysets import valid_at

MONTHS, WEEKS = 13, 12  # what is issued today expires in the thirteenth
CA_SOON = dt.timedelta(days=90)  # to succeed a CA takes longer than to renew a certificate
PEOPLE_SHOWN, AUDIT_SHOWN = 6, 8

FURTHER = Certificate.objects.select_related("authority__certificate").defer("der")


@dataclass(frozen=True)
class Number:
    """One figure, and the list it counts."""

    label: str
    value: int
    url: str
    icon: str
    tone: str = ""


@dataclass(frozen=True)
class Bar:
    label: str
    value: int
    percent: int
    title: str


@dataclass(frozen=True)
class Alert:
    """Something that wants a hand, and where to lend it; `tone` is bad or warn."""

    text: str
    url: str
    tone: str = "bad"
    icon: str = "warning"


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what this person may see; called by the theme for the index page."""
    now, user = timezone.now(), request.user
    assert isinstance(user, User)
    context["now"] = now
    if user.has_perm("pki.view_certificate"):
        context["numbers"] = numbers(at=now)
        context["weeks"] = expiries_by_week(at=now)
        context["expiries"] = expiries_by_month(at=now)
        context["issues"] = issues_by_week(at=now)
    if user.has_perm("pki.view_certificateauthority"):
        context["authorities"] = authorities(at=now)
    if user.has_perm("pki.view_endpoint"):
        context["endpoints"] = endpoints(at=now)
    if user.has_perm("pki.view_user"):
        context["without"] = people_without_certificate(at=now)
        context["without_url"] = list_url(User, certificate="no", account="open")
    if user.has_perm("pki.view_auditentry"):
        context["entries"] = list(AuditEntry.objects.all()[:AUDIT_SHOWN])
        context["audit_list_url"] = list_url(AuditEntry)
    if may_see_requests(user):
        context["waiting"] = requests_waiting()
    context["numbers"] = [*_to_do(context), *context.get("numbers", [])]
    context["may_issue"] = may_issue(user)
    context["add_certificate_url"] = list_url(Certificate, "add")
    context["add_person_url"] = list_url(User, "add") if user.has_perm("pki.add_user") else None
    context["alerts"] = alerts(context)
    return context


# --- Figures --------------------------------------------------------------------------------


def numbers(*, at: dt.datetime) -> list[Number]:
    valid = valid_at(at)
    soon = valid & Q(not_after__lt=at + SOON)
    counted = Certificate.objects.of_people().aggregate(
        valid=Count("owner", filter=valid),
        soon=Count("owner", filter=soon),
        expired=Count("owner", filter=Q(revoked_at__isnull=True, not_after__lt=at)),
        revoked=Count("owner", filter=Q(revoked_at__isnull=False)),
    )
    people: dict[str, str | int] = {"holder": "people"}
    return [
        Number(
            "People's valid certificates",
            counted["valid"],
            _list(status="valid", **people),
            "badge",
        ),
        Number(
            f"Of them, expire within {SOON.days} days",
            counted["soon"],
            _list(expires=SOON.days, **people),
            "schedule",
            "warn" if counted["soon"] else "",
        ),
        Number("Expired", counted["expired"], _list(status="expired", **people), "event_busy"),
        Number("Revoked", counted["revoked"], _list(status="revoked", **people), "block"),
        Number(
            "Open invitations",
            Invitation.objects.open(at).count(),
            list_url(Invitation, state="open"),
            "link",
        ),
    ]


def _to_do(context: dict[str, Any]) -> list[Number]:
    """What waits for somebody, from what was looked up already."""
    found = []
    if (waiting := context.get("waiting")) is not None:
        url = list_url(CertificationRequest, state="waiting")
        found.append(Number("Requests waiting", waiting, url, "inbox", "warn" if waiting else ""))
    if (rows := context.get("authorities")) is not None:
        due = sum(row["due"] for row in rows)
        url = list_url(CertificateAuthority)
        found.append(Number("CRLs due", due, url, "playlist_remove", "warn" if due else ""))
    return found


def _list(**query: str | int) -> str:
    return list_url(Certificate, **query)


def expiries_by_month(*, at: dt.datetime) -> list[Bar]:
    """Valid certificates of people by the month they expire in: this month and twelve more."""
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months = [_months_after(first, number) for number in range(MONTHS + 1)]
    rows = Certificate.objects.of_people().active(at)
    return _bars(months, rows, "not_after", label="%b", title="%B %Y")


def expiries_by_week(*, at: dt.datetime) -> list[Bar]:
    """Valid certificates of people by the week they expire in: this one and eleven more."""
    weeks = [_monday(at) + dt.timedelta(weeks=number) for number in range(WEEKS + 1)]
    rows = Certificate.objects.of_people().active(at)
    return _bars(weeks, rows, "not_after", label="%-d %b", title="week of %-d %B %Y")


def issues_by_week(*, at: dt.datetime) -> list[Bar]:
    """Certificates of people by the week they were issued in: the last twelve, this one last."""
    weeks = [_monday(at) - dt.timedelta(weeks=number) for number in reversed(range(-1, WEEKS))]
    rows = Certificate.objects.of_people()
    return _bars(weeks, rows, "issued_at", label="%-d %b", title="week of %-d %B %Y")


def _monday(at: dt.datetime) -> dt.datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=at.weekday())


def _months_after(first: dt.datetime, number: int) -> dt.datetime:
    months = first.month - 1 + number
    return first.replace(year=first.year + months // 12, month=months % 12 + 1)


def _bars(
    limits: list[dt.datetime],
    rows: QuerySet[Certificate],
    column: str,
    *,
    label: str,
    title: str,
) -> list[Bar]:
    """One bar from each limit to the next, counted in one query of ranges, which an index answers."""
    parts = [
        rows.filter(**{f"{column}__gte": begin, f"{column}__lt": end})
        .order_by()
        .annotate(slot=Value(slot))
        .values("slot")
        .annotate(number=Count("*"))
        .values_list("slot", "number")
        for slot, (begin, end) in enumerate(pairwise(limits))
    ]
    counted = dict(parts[0].union(*parts[1:], all=True))
    highest = max(counted.values(), default=0) or 1
    return [
        Bar(
            label=f"{begin:{label}}",
            value=value,
            percent=round(100 * value / highest),
            title=f"{begin:{title}}: {value}",
        )
        for slot, begin in enumerate(limits[:-1])
        for value in [counted.get(slot, 0)]
    ]


# --- State ----------------------------------------------------------------------------------


def authorities(*, at: dt.datetime) -> list[dict[str, Any]]:
    related = CertificateAuthority.objects.select_related("certificate", "responder")
    rows = with_newest_crl(related.defer("certificate__der", "responder__der"))
    return [
        {
            "name": row.name,
            "url": admin_url(row),
            "is_root": row.is_root,
            "state": standing_badge(row, at=at),
            "expires": day_with_distance(row.certificate.not_after, at=at),
            "crl": crl_badge(crl, at=at, is_ours=row.certificate.key_id is not None),
            "crl_number": crl.number if crl else None,
            "next": distance(crl.next_update, at=at) if crl else "",
            "is_ours": row.certificate.key_id is not None,
            "due": crl.is_due_at(at) if crl else row.certificate.key_id is not None,
            "stale": crl.is_stale_at(at) if crl else row.certificate.key_id is not None,
            "ends_soon": at < row.certificate.not_after < at + CA_SOON,
            "days": (row.certificate.not_after - at).days,
            "responder_overdue": responder.is_overdue(row, at=at),
        }
        for row, crl in ((row, newest_crl_of(row)) for row in rows.order_by(*TREE))
    ]


def endpoints(*, at: dt.datetime) -> list[dict[str, Any]]:
    rows = (
        Endpoint.objects.select_related("certificate__authority__certificate")
        .defer("certificate__der", "certificate__authority__certificate__der")
        .prefetch_related(Prefetch("further_certificates", FURTHER))
    )
    return [
        {
            "name": row.name,
            "url": admin_url(row),
            "address": f"{row.address}:{row.port}",
            "mode": _mode(row),
            "state": badge("on", "good") if row.enabled else badge("off"),
            "certificate": _endpoint_certificate(row, at=at),
            "trouble": _trouble(row, at=at),
        }
        for row in rows
    ]


def _trouble(row: Endpoint, *, at: dt.datetime) -> str | None:
    used = certificates_of(row) if row.enabled and row.tls else []
    troubles = (server_certificates.trouble_of(one, at=at) for one in used)
    return next((trouble for trouble in troubles if trouble), None)


def _mode(row: Endpoint) -> str:
    asked = {"none": "not asked"}.get(row.client_certificate, row.client_certificate)
    return f"certificate {asked}" if row.tls else "plain HTTP"


def _endpoint_certificate(row: Endpoint, *, at: dt.datetime) -> SafeString | str:
    if not row.tls or row.certificate is None:
        return "–"
    return day_with_distance(row.certificate.not_after, at=at)


def people_without_certificate(*, at: dt.datetime) -> list[dict[str, Any]]:
    """The first of those with an open account and nothing to sign in with; one more says "more"."""
    valid = Certificate.objects.active(at).filter(owner=OuterRef("pk"))
    invited = Invitation.objects.open(at).filter(user=OuterRef("pk"))
    rows = (
        User.objects.filter(~Exists(valid), is_active=True)
        .annotate(invited=Exists(invited))
        .defer("password")[: PEOPLE_SHOWN + 1]
    )
    return [
        {
            "name": str(row),
            "username": row.username,
            "url": admin_url(row),
            "invite_url": reverse("admin:pki_user_invite", args=[row.pk]),
            "invited": row.invited,
            "is_more": number == PEOPLE_SHOWN,
        }
        for number, row in enumerate(rows)
    ]


def requests_waiting() -> int:
    waiting = CertificationRequest.State.WAITING
    return CertificationRequest.objects.filter(state=waiting).count()


def alerts(context: dict[str, Any]) -> list[Alert]:
    """What cannot wait, from what was looked up already."""
    found = []
    for row in context.get("authorities", []):
        if row["stale"]:
            text = f"{row['name']}: the CRL is out of date, so strict clients refuse everybody."
            if not row["is_ours"]:
                text = f"{row['name']}: the imported CRL is out of date. Import a newer one."
            found.append(Alert(text, row["url"]))
        if row["ends_soon"]:
            text = f"{row['name']}: its certificate expires in {row['days']} days."
            tone = "bad" if row["days"] < SOON.days else "warn"
            found.append(Alert(text, row["url"], tone))
        if row["responder_overdue"]:
            text = f"{row['name']}: its OCSP responder could not be renewed; the log says why."
            found.append(Alert(text, row["url"], "warn"))
    if waiting := context.get("waiting"):
        text = (
            f"{waiting} request{'s' if waiting > 1 else ''} for certificates: waiting for approval."
        )
        url = list_url(CertificationRequest, state="waiting")
        found.append(Alert(text, url, "warn", "inbox"))
    for row in context.get("endpoints", []):
        if row["trouble"]:
            found.append(Alert(f"Endpoint {row['name']} {row['trouble']}.", row["url"]))
    return found
