"""Live connections in the console: how many there are, whose, and a way to end them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pki.admin.base import (
    DANGER,
    ReadOnlyAdmin,
    actor,
    button,
    column,
    person,
    posted,
    refusals_of,
    without,
)
from pki.admin.columns import badge, code, link, list_url, minute, unbroken
from pki.admin.columns import whole_fingerprint as fingerprint
from pki.models import Certificate, Endpoint
from pki.progress import duration
from project.live import connections, processes
from project.models import LiveConnection

TONES = {LiveConnection.Kind.SOCKET: "good", LiveConnection.Kind.LINE: "info"}
HANDSHAKE = "handshake"
GONE = "This connection has ended already."


class EndpointFilter(admin.SimpleListFilter):
    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = Endpoint.objects.order_by("pk").values_list("name", flat=True)
        return [(name, name) for name in names]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[LiveConnection]
    ) -> QuerySet[LiveConnection]:
        return queryset.filter(endpoint=self.value()) if self.value() else queryset


@admin.register(LiveConnection)
class ConnectionAdmin(ReadOnlyAdmin):
    rights = ("view", "change")  # to change one is to end it
    list_display = ("who", "kind_shown", "endpoint", "peer", "tls", "since", "heard", "amount")
    list_display_links = ("who",)
    list_filter = (EndpointFilter, "kind")
    list_select_related = ("user", "process")
    list_before_template = "project/_connections.html"
    search_fields = ("=user__username", "user__name", "peer", "=sha256", "cipher")
    search_help_text = "Username, name, address or fingerprint"
    ordering = ("-opened_at", "pk")
    actions_detail = ("end_all", "end")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("who", "kind_shown"),
                    ("endpoint", "peer"),
                    ("tls", "certificate"),
                    ("since", "heard"),
                    ("amount", "process"),
                )
            },
        ),
    )
    readonly_fields = (
        *("who", "kind_shown", "endpoint", "peer", "tls", "certificate"),
        *("since", "heard", "amount", "process"),
    )

    class Media:
        js = ("site/connections.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LiveConnection]:
        queryset: QuerySet[LiveConnection] = super().get_queryset(request)
        return queryset.filter(process__in=processes.living())

    def audit_words(self, obj: LiveConnection) -> str:
        return obj.user.username if obj.user else obj.peer

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        context = {
            "endpoints": _bars(),
            "element_classes": {"pagination": "sg-live-count"},  # kept up to date by the script
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        found = self.get_object(request, str(object_id))
        if found is None or not connections.may_end(person(request), found):
            return []
        return without(actions, *([] if found.user else ["end_all"]))

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        messages.info(request, GONE)
        return redirect(list_url(LiveConnection))

    # --- Columns ---

    @column("Who", ordering="user__username")
    def who(self, obj: LiveConnection) -> str:
        if obj.user is None:
            return "nobody we know" if obj.sha256 else "no certificate"
        return f"{obj.user.name} · {obj.user.username}" if obj.user.name else obj.user.username

    @column("Kind", ordering="kind")
    def kind_shown(self, obj: LiveConnection) -> SafeString:
        if obj.is_to_end:
            return badge("is ending", "warn")
        kind = LiveConnection.Kind(obj.kind)
        return badge(kind.label, TONES.get(kind, ""))

    @column("TLS", ordering="cipher")
    def tls(self, obj: LiveConnection) -> SafeString | str:
        if not obj.tls_version:
            return "none"
        version = obj.tls_version.replace("TLSv", "TLS ")
        return format_html(
            '<span class="sg-nowrap">{}</span> <span class="sg-quiet">{}</span>',
            version,
            obj.cipher,
        )

    @column("Certificate")
    def certificate(self, obj: LiveConnection) -> SafeString | str:
        if not obj.sha256:
            return "none"
        known = Certificate.objects.filter(sha256=obj.sha256).defer("der").first()
        if known is None:
            return fingerprint(obj.sha256)
        url = list_url(Certificate, q=obj.sha256)
        return format_html("{} {}", link(url, known), code(known.serial[:16]))

    @column("Since", ordering="opened_at")
    def since(self, obj: LiveConnection) -> SafeString:
        return _ago(obj.opened_at)

    @column("Last heard", ordering="active_at")
    def heard(self, obj: LiveConnection) -> SafeString:
        return _ago(max(obj.active_at, obj.opened_at))

    @column("Messages", ordering="received")
    def amount(self, obj: LiveConnection) -> SafeString:
        return unbroken(f"{obj.received:,} in, {obj.sent:,} out")

    # --- Pages ---

    @button("End", icon="link_off", variant=DANGER)
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(
            request,
            object_id,
            title="End this connection",
            button_text="End it",
            intro="A chat that is open stops and says that the device was signed out; a page in "
            "the browser connects anew with its next click. To keep somebody out, revoke the "
            "certificate or disable the account.",
        )

    @button("End all of this person", icon="person_off", variant=DANGER)
    def end_all(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(
            request,
            object_id,
            is_for_all=True,
            title="End all connections of this person",
            button_text="End all",
            intro="On all their devices. Who still has a valid certificate may come in again: to "
            "keep somebody out, revoke the certificate or disable the account.",
        )

    def _ask(
        self, request: HttpRequest, object_id: str, *, is_for_all: bool = False, **context: Any
    ) -> HttpResponse:
        found = self.get_object(request, object_id)
        if found is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not connections.may_end(person(request), found):
            raise PermissionDenied
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                messages.success(request, self._end(request, found, is_for_all=is_for_all))
                return redirect(list_url(LiveConnection))
        return self.page(
            request,
            "project/end_connection.html",
            obj=found,
            form=form,
            danger=True,
            who=self.who(found),
            number=connections.alive().filter(user=found.user).count() if is_for_all else 1,
            is_for_all=is_for_all,
            **context,
        )

    def _end(self, request: HttpRequest, found: LiveConnection, *, is_for_all: bool) -> str:
        who, now = actor(request), timezone.now()
        if is_for_all and found.user is not None:
            number = connections.end_all_of(actor=who, user=found.user, at=now)
            return f"{number} connections of {found.user} are being ended."
        connections.end_connection(actor=who, connection=found, at=now)
        return f"The connection from {found.peer} is being ended."


def _bars() -> list[dict[str, Any]]:
    """For each endpoint what it holds, against what its processes may hold."""
    counted, number = processes.held(), processes.living().count()
    kinds = {**dict(LiveConnection.Kind.choices), HANDSHAKE: "in handshake"}
    rows = []
    for endpoint in (
        Endpoint.objects.filter(enabled=True).order_by("pk").only("name", "max_connections")
    ):
        parts = {kind: counted.get((endpoint.name, kind), 0) for kind in kinds}
        held, limit = sum(parts.values()), endpoint.max_connections * max(number, 1)
        rows.append(
            {
                "name": endpoint.name,
                "held": held,
                "limit": limit,
                "amount": f"{held:,} of {limit:,}",
                "is_tight": held >= limit * 0.8,
                "parts": ", ".join(f"{n} {kinds[kind]}" for kind, n in parts.items() if n),
            }
        )
    return rows


def _ago(moment: dt.datetime) -> SafeString:
    seconds = max(0.0, (timezone.now() - moment).total_seconds())
    if seconds >= 86_400:
        words = f"{seconds // 86_400:.0f} days"
    else:
        words = duration(seconds) if not 60 <= seconds < 3_600 else f"{seconds // 60:.0f} min"
    return format_html('<span class="sg-nowrap" title="{}">{} ago</span>', minute(moment), words)
