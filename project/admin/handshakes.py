"""Failed handshakes in the console: how many and why, who it was, and what to do."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from pki.admin.base import ReadOnlyAdmin, column
from pki.admin.columns import badge, link, list_url, minute, unbroken, whole_fingerprint
from pki.description import UNREADABLE, describe
from pki.models import Certificate
from project import handshakes
from project.models import HandshakeFailure
from project.tls.advice import plainly

SHOWN = 8  # reasons with a bar
OTHERS = "other reasons"
BY_TEST = "by a test of this endpoint"


class Choices(admin.SimpleListFilter):
    """What is there to choose from is what has failed."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        field = str(self.parameter_name)
        rows = HandshakeFailure.objects.order_by(field).values_list(field, flat=True)
        return [(value, self.called(value)) for value in rows.distinct()]

    def called(self, value: str) -> str:
        return value

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[HandshakeFailure]
    ) -> QuerySet[HandshakeFailure]:
        chosen = self.value()
        return queryset.filter(**{str(self.parameter_name): chosen}) if chosen else queryset


class EndpointFilter(Choices):
    title, parameter_name = "endpoint", "endpoint"


class ReasonFilter(Choices):
    title, parameter_name = "reason", "reason"

    def called(self, value: str) -> str:
        said = plainly(value)
        return said if said == value else f"{said} ({value})"


@admin.register(HandshakeFailure)
class HandshakeAdmin(ReadOnlyAdmin):
    list_display = ("moment", "why", "who", "peer", "endpoint", "number")
    list_display_links = ("moment",)
    list_filter = (EndpointFilter, ReasonFilter)
    list_before_template = "project/_handshakes.html"
    search_fields = ("subject", "peer", "=sha256", "server_name")
    search_help_text = "Name in the certificate, address, host name or fingerprint"
    ordering = ("-at", "-pk")
    fieldsets = (
        (None, {"fields": ("why", ("moment", "number"), ("endpoint", "peer"))}),
        ("What the client asked for", {"fields": (("protocol_shown", "name_shown"),)}),
        ("Certificate, as presented", {"fields": ("facts",)}),
    )
    readonly_fields = ("moment", "why", "number", "protocol_shown", "name_shown", "facts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[HandshakeFailure]:
        queryset: QuerySet[HandshakeFailure] = super().get_queryset(request)
        return handshakes.with_tests(queryset).defer("certificate")

    def audit_words(self, obj: HandshakeFailure) -> str:
        return obj.endpoint

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        endpoint = request.GET.get("endpoint", "")
        context = {"reasons": _bars(endpoint), "at_endpoint": endpoint, **(extra_context or {})}
        return super().changelist_view(request, context)

    # --- Columns ---

    @column("When", ordering="at")
    def moment(self, obj: HandshakeFailure) -> SafeString:
        return unbroken(minute(obj.at))

    @column("Why, and what to do", ordering="reason")
    def why(self, obj: HandshakeFailure) -> SafeString:
        return format_html(
            '<div class="sg-why"><strong>{}{}</strong> <span>{}</span>{}</div>',
            capfirst(plainly(obj.reason)),
            format_html(" {}", badge(BY_TEST)) if handshakes.is_by_test(obj) else "",
            obj.advice,
            _token(obj.reason),
        )

    @column("Claims to be", ordering="subject")
    def who(self, obj: HandshakeFailure) -> str:
        return obj.subject or "–"

    @column("Times", ordering="count")
    def number(self, obj: HandshakeFailure) -> int:
        return obj.count

    @column("TLS version")
    def protocol_shown(self, obj: HandshakeFailure) -> str:
        return obj.protocol or "not known"

    @column("Server name")
    def name_shown(self, obj: HandshakeFailure) -> str:
        return obj.server_name or "none"

    @column("Not verified")
    def facts(self, obj: HandshakeFailure) -> SafeString | str:
        """Whatever a stranger sent: believed in nothing, but for whether it is one of ours."""
        if obj.certificate is None:
            return "none was seen"
        rows: list[tuple[str, object]] = [("Standing", _standing(obj.sha256))]
        try:
            claimed = describe(bytes(obj.certificate))
        except UNREADABLE:
            rows += [("Content", "cannot be read")]
        else:
            rows += [
                ("Issued to", claimed["subject"]),
                ("Issued by", claimed["issuer"]),
                ("Serial number", claimed["serial"]),
                ("Valid", f"{_plain(claimed['not_before'])} to {_plain(claimed['not_after'])}"),
            ]
        rows.append(("SHA-256", whole_fingerprint(obj.sha256)))
        return format_html_join("", '<div class="sg-fact"><b>{}</b><span>{}</span></div>', rows)


def _token(reason: str) -> SafeString | str:
    """What to search the web and the log for, where the page has plainer words."""
    if plainly(reason) == reason:
        return ""
    return format_html(' <code class="sg-code sg-quiet sg-token">{}</code>', reason)


def _plain(moment: str) -> str:
    return f"{moment[:16].replace('T', ', ')} UTC"


def _standing(sha256: str) -> SafeString:
    known = Certificate.objects.filter(sha256=sha256).defer("der").first()
    if known is None:
        return badge("not issued here", "warn")
    status = known.status_at(timezone.now())
    tone = "good" if status is Certificate.Status.VALID else "bad"
    url = list_url(Certificate, q=sha256)
    return format_html("{} {}", badge(f"ours, {status.value}", tone), link(url, known))


def _bars(endpoint: str) -> list[dict[str, Any]]:
    """The most frequent reasons of a day; the rest is one bar."""
    counted = handshakes.counts(at=timezone.now(), endpoint=endpoint)
    most = max((number for _, number in counted), default=0)
    rows = [
        {
            "reason": reason,
            "plain": plainly(reason),
            "token": _token(reason),
            "number": number,
            "most": most,
            "url": _url(reason, endpoint),
        }
        for reason, number in counted[:SHOWN]
    ]
    if rest := sum(number for _, number in counted[SHOWN:]):
        rows.append({"reason": OTHERS, "plain": OTHERS, "number": rest, "most": max(most, rest)})
    return rows


def _url(reason: str, endpoint: str) -> str:
    chosen = {"endpoint": endpoint} if endpoint else {}
    return list_url(HandshakeFailure, reason=reason, **chosen)
