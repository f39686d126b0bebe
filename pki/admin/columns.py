"""How facts look in lists and on pages, and where pages are."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.http import HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from pki import responder
from pki.description import colons
from pki.models import Certificate

SOON = dt.timedelta(days=30)


def badge(text: str, tone: str = "") -> SafeString:
    """A short state in a coloured box; `tone` is good, warn, bad or nothing."""
    return format_html('<span class="sg-badge {}">{}</span>', f"sg-{tone}" if tone else "", text)


def status_badge(certificate: Certificate, *, at: dt.datetime) -> SafeString:
    status = certificate.status_at(at)
    is_renewed = certificate.profile == responder.PROFILE  # of that, its CA's page tells
    if status is Certificate.Status.VALID and certificate.not_after < at + SOON and not is_renewed:
        return badge("expiring soon", "warn")
    tones = {
        Certificate.Status.VALID: "good",
        Certificate.Status.NOT_YET_VALID: "warn",
        Certificate.Status.EXPIRED: "",
        Certificate.Status.REVOKED: "bad",
    }
    return badge(status.value, tones[status])


def day(moment: dt.datetime | None) -> str:
    return f"{moment:%d %b %Y}".lstrip("0") if moment else "–"


def minute(moment: dt.datetime | None) -> str:
    return f"{day(moment)}, {moment:%H:%M} UTC" if moment else "–"


def distance(moment: dt.datetime, *, at: dt.datetime) -> str:
    """How far a moment is, in the largest unit that says enough."""
    seconds = (moment - at).total_seconds()
    days, hours = int(abs(seconds) // 86_400), int(abs(seconds) // 3_600)
    if days >= 3 * 365:
        amount = f"{days // 365} years"
    elif days >= 2:
        amount = f"{days} days"
    else:
        amount = f"{hours} h" if hours else "less than an hour"
    return f"in {amount}" if seconds >= 0 else f"{amount} ago"


def day_with_distance(moment: dt.datetime, *, at: dt.datetime) -> SafeString:
    return format_html(
        '<span class="sg-nowrap">{}</span> <span class="sg-quiet sg-nowrap">{}</span>',
        day(moment),
        distance(moment, at=at),
    )


def unbroken(text: str) -> SafeString:
    return format_html('<span class="sg-nowrap">{}</span>', text)


def code(text: str) -> SafeString:
    return format_html('<code class="sg-code">{}</code>', text)


def whole_fingerprint(sha256: str) -> SafeString:
    return format_html('<code class="sg-code sg-fingerprint">{}</code>', colons(sha256))


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="sg-link" href="{}">{}</a>', url, text)


def link_to(obj: models.Model | None) -> SafeString | str:
    return link(admin_url(obj), obj) if obj else "–"


# --- Where pages are ------------------------------------------------------------------------


def admin_url(obj: models.Model, page: str = "change") -> str:
    return reverse(f"admin:{obj._meta.label_lower.replace('.', '_')}_{page}", args=[obj.pk])


def list_url(model: type[models.Model], page: str = "changelist", /, **query: str | int) -> str:
    url = reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{page}")
    return f"{url}?{urlencode(query)}" if query else url


def audit_url(words: str) -> str:
    return f"{reverse('admin:pki_auditentry_changelist')}?{urlencode({'q': words})}"


def attachment(content: bytes, *, filename: str, media_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    return response
