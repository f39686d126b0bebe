"""Endpoints: the sockets the server opens, and whom they ask for a certificate."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from pki import endpoints, keys, names, server_certificates
from pki.admin import extensions
from pki.admin.base import (
    ConsoleAdmin,
    actor,
    button,
    column,
    person,
    posted,
    refusals_of,
    without,
)
from pki.admin.columns import badge, day_with_distance, link_to
from pki.admin.endpoint_forms import EndpointForm, HostsForm, ServerCertificateForm
from pki.lockouts import Visitor
from pki.models import Certificate, Endpoint
from pki.permissions import may_issue
from pki.requests import client_chain


@admin.register(Endpoint)
class EndpointAdmin(ConsoleAdmin):
    rights = ("view", "add", "change", "delete")
    form = EndpointForm
    list_display = ("name", "state", "where", "serves", "asks", "expiry")
    list_select_related = ("certificate__authority__certificate",)
    actions_detail: tuple[str, ...] = ("renew", "bring_in")
    ordering = ("pk",)
    fieldsets = (
        (None, {"fields": (("name", "serves"), ("address", "port"), "enabled")}),
        (
            "TLS",
            {
                "fields": (
                    *("tls", "certificate", "further_certificates", "sent", "policy"),
                    "plain_anyway",
                )
            },
        ),
        ("Client certificates", {"fields": ("client_certificate", "truststore")}),
        (
            "Limits",
            {"fields": (("max_connections", "max_per_address"), "handshake_seconds")},
        ),
        ("Proxies in front of it", {"fields": ("proxy", "proxy_addresses")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        queryset: QuerySet[Endpoint] = super().get_queryset(request)
        further = Certificate.objects.select_related("authority__certificate").defer("der")
        return queryset.defer("certificate__der").prefetch_related(
            Prefetch(endpoints.FURTHER, further)
        )

    def audit_words(self, obj: Endpoint) -> str:
        return obj.name

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only what is switched off can be taken away."""
        allowed = person(request).has_perm("pki.delete_endpoint") and isinstance(obj, Endpoint)
        return allowed and Endpoint.objects.filter(pk=obj.pk, enabled=False).exists()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The name stays: the audit trail and the logs call an endpoint by it."""
        return ("name", "wrong", "sent") if obj else ("sent",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """On a page of its own, an endpoint says first what is wrong with it."""
        first, *others = super().get_fieldsets(request, obj)
        if obj is None:
            return [first, *others]
        return [(None, {"fields": (*first[1]["fields"], "wrong")}), *others]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        row = self.get_object(request, str(object_id))
        usable = row is not None and row.tls and self.may_renew(request)
        return without(actions, *([] if usable else ["renew", "bring_in"]))

    def may_renew(self, request: HttpRequest) -> bool:
        return bool(self.has_change_permission(request)) and may_issue(person(request))

    # --- Columns ---

    @column("State", ordering="enabled")
    def state(self, obj: Endpoint) -> SafeString:
        if not obj.enabled:
            return badge("off")
        troubles = [badge(word, "bad") for word in self.troubles_of(obj)]
        shown = troubles or [badge("on", "good")]
        return format_html_join(" ", "{}", ((one,) for one in shown))

    @column("Wrong with it")
    def wrong(self, obj: Endpoint) -> SafeString | str:
        troubles = self.troubles_of(obj) if obj.enabled else {}
        sentences = ((f"{obj.name} {sentence}.",) for sentence in troubles.values())
        return format_html_join(mark_safe("<br>"), "{}", sentences) or "nothing"

    def troubles_of(self, obj: Endpoint) -> dict[str, str]:
        """What is wrong with an endpoint that is on: a word, and the end of a sentence about it."""
        now, used = timezone.now(), endpoints.certificates_of(obj) if obj.tls else []
        troubles = [server_certificates.trouble_of(one, at=now) for one in used]
        found = [trouble for trouble in troubles if trouble]
        return {"certificate ends": " and ".join(found)} if found else {}

    @column("Address", ordering="port")
    def where(self, obj: Endpoint) -> str:
        host = f"[{obj.address}]" if ":" in obj.address else obj.address
        return f"{'https' if obj.tls else 'http'}://{host}:{obj.port}"

    @column("Client certificate", ordering="client_certificate")
    def asks(self, obj: Endpoint) -> str:
        return obj.client_certificate

    @column("Certificate expires", ordering="certificate__not_after")
    def expiry(self, obj: Endpoint) -> SafeString | str:
        certificate = obj.certificate
        if not obj.tls or certificate is None:
            return "–"
        now = timezone.now()
        shown = day_with_distance(certificate.not_after, at=now)
        if certificate.status_at(now) is Certificate.Status.VALID:
            return shown
        return format_html("{} {}", shown, badge(certificate.status_at(now).value, "bad"))

    @column("Sent in handshakes")
    def sent(self, obj: Endpoint) -> SafeString | str:
        """The chain of each certificate, and whatever a browser will not like about it."""
        if not obj.tls or obj.certificate is None:
            return "–"
        used = endpoints.certificates_of(obj)
        shown = [_chain(one) for one in used]
        named = [server_certificates.unnamed_hosts(one) for one in used]
        if unnamed := [host for host in named[0] if all(host in hosts for hosts in named)]:
            shown.append(badge(f"does not name {', '.join(unnamed)}", "warn"))
        return format_html_join(mark_safe("<br>"), "{}", ((one,) for one in shown))

    # --- Pages ---

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("FormHere", (form,), {"visitor": _visitor(request)})

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = _choices()
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None:
            field.label_from_instance = _server_label
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "certificate":
            kwargs["queryset"] = _choices()
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "certificate" and field is not None:
            field.label_from_instance = _server_label
        return field

    def save_model(
        self, request: HttpRequest, obj: models.Model, form: forms.ModelForm, change: bool
    ) -> None:
        assert isinstance(obj, Endpoint)
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            endpoints.change_endpoint(
                actor=actor(request),
                endpoint=obj,
                changes=changes,
                visitor=_visitor(request),
                at=timezone.now(),
            )
        else:
            endpoints.create_endpoint(
                actor=actor(request),
                endpoint=obj,
                further_certificates=form.cleaned_data[endpoints.FURTHER],
                at=timezone.now(),
            )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: the verb has written the further certificates too."""

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        assert isinstance(obj, Endpoint)
        endpoints.remove_endpoint(actor=actor(request), endpoint=obj, at=timezone.now())

    @button("New certificate", icon="autorenew")
    def renew(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Issue a server certificate with a new key and put it in force."""
        row: Endpoint = self.found(request, object_id)
        if not (row.tls and self.may_renew(request)):
            raise PermissionDenied
        form = HostsForm(posted(request), initial={"hosts": ", ".join(_hosts(row))})
        if form.is_valid():
            with refusals_of(form, "hosts"):
                certificate = endpoints.renew_certificate(
                    actor=actor(request),
                    endpoint=row,
                    hosts=form.cleaned_data["hosts"],
                    algorithm=form.cleaned_data["algorithm"],
                    beside=form.cleaned_data["beside"],
                    at=timezone.now(),
                )
                messages.success(
                    request, f"{row} has a new certificate. New connections see it at once."
                )
                if unserved := server_certificates.unserved(certificate):
                    messages.warning(request, unserved)
                return redirect(self.url_of(row))
        return self.page(
            request,
            "pki/console_form.html",
            title="New server certificate",
            obj=row,
            form=form,
            button_text="Issue and put in force",
            intro="A new key and certificate for this endpoint. The one before stays valid until "
            "it expires or is revoked.",
        )

    @button("Import certificate", icon="upload", url_path="import")
    def bring_in(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take a server certificate from elsewhere with its key, and put it in force."""
        row: Endpoint = self.found(request, object_id)
        if not (row.tls and self.may_renew(request)):
            raise PermissionDenied
        form = ServerCertificateForm(posted(request), request.FILES or None)
        if form.is_valid():
            with refusals_of(form):
                certificate = endpoints.import_certificate(
                    actor=actor(request),
                    endpoint=row,
                    data=form.content("file"),
                    password=form.cleaned_data["password"] or None,
                    chain=form.content("chain"),
                    beside=form.cleaned_data["beside"],
                    at=timezone.now(),
                )
                self._tell(request, row, certificate)
                return redirect(self.url_of(row))
        return self.page(
            request,
            "pki/console_form.html",
            title="Import a server certificate",
            obj=row,
            form=form,
            multipart=True,
            button_text="Import and put in force",
            intro="A certificate from another CA, with its key, which is kept wrapped under the "
            "master key. The one before stays valid until it expires or is revoked.",
        )

    def _tell(self, request: HttpRequest, row: Endpoint, certificate: Certificate) -> None:
        messages.success(
            request, f"{row} has this certificate now. New connections see it at once."
        )
        if unnamed := server_certificates.unnamed_hosts(certificate):
            messages.warning(
                request, f"It does not name {', '.join(unnamed)}: browsers refuse it there."
            )
        if unserved := server_certificates.unserved(certificate):
            messages.warning(request, unserved)


def _chain(certificate: Certificate) -> SafeString:
    """What is sent with a certificate, and the hosts of it that lead nowhere."""
    shown = [link_to(one) for one in keys.server_chain(certificate)]
    if unserved := server_certificates.unserved(certificate):
        shown.append(format_html("{} {}", badge("400", "warn"), unserved))
    return format_html_join(mark_safe("<br>"), "{}", ((one,) for one in shown))


def _visitor(request: HttpRequest) -> Visitor:
    """Who asks, and how they came: through which endpoint, and to which address of ours."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    connection = scope.get("extensions", {}).get("signet.connection")
    chain = client_chain(scope)
    return Visitor(
        endpoint=connection.endpoint if connection else "",
        address=str((scope.get("server") or [""])[0]),
        certificate=chain[0] if chain else b"",
    )


def _choices() -> QuerySet[Certificate]:
    """Server certificates with their key that are valid, or that an endpoint has anyway."""
    valid = Certificate.objects.active(timezone.now()).values("pk")
    rows = Certificate.objects.filter(
        Q(pk__in=valid) | Q(endpoints__isnull=False) | Q(further_endpoints__isnull=False)
    )
    return (
        rows.filter(profile="server", key__isnull=False)
        .select_related("key")
        .defer("der")
        .distinct()
    )


def _hosts(row: Endpoint) -> list[str]:
    if row.certificate is None:
        return names.server_hosts()
    return extensions.subject_names(bytes(row.certificate.der))


def _server_label(certificate: Certificate) -> str:
    return (
        f"{certificate.subject} until {certificate.not_after:%d %b %Y} ({certificate.serial[:8]}, "
        f"{certificate.key.algorithm if certificate.key else 'no key'})"
    )
