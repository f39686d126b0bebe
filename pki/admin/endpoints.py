"""Endpoints: the sockets the server opens, and whom they ask for a certificate."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from pki import endpoints, keys, names, server_certificates
from pki.admin import extensions
from pki.admin.authority_forms import ServerCertificateForm
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
from pki.admin.forms import EndpointForm, HostsForm
from pki.models import Certificate, Endpoint
from pki.permissions import may_issue


@admin.register(Endpoint)
class EndpointAdmin(ConsoleAdmin):
    rights = ("view", "add", "change", "delete")
    form = EndpointForm
    list_display = ("name", "state", "where", "serves", "asks", "expiry")
    list_select_related = ("certificate",)
    actions_detail = ("renew", "bring_in")
    ordering = ("pk",)
    fieldsets = (
        (None, {"fields": (("name", "serves"), ("address", "port"), "enabled")}),
        ("TLS", {"fields": ("tls", "certificate", "sent", "policy")}),
        ("Client certificates", {"fields": ("client_certificate", "truststore")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        queryset: QuerySet[Endpoint] = super().get_queryset(request)
        return queryset.defer("certificate__der")

    def audit_words(self, obj: Endpoint) -> str:
        return obj.name

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only what is switched off can be taken away."""
        allowed = person(request).has_perm("pki.delete_endpoint") and isinstance(obj, Endpoint)
        return allowed and Endpoint.objects.filter(pk=obj.pk, enabled=False).exists()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The name stays: the audit trail and the logs call an endpoint by it."""
        return ("name", "sent") if obj else ("sent",)

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
        return badge("on", "good") if obj.enabled else badge("off")

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
        """The chain, and whatever a browser will not like about it."""
        if not obj.tls or obj.certificate is None:
            return "–"
        chain = [link_to(one) for one in keys.server_chain(obj.certificate)]
        shown = format_html_join(mark_safe("<br>"), "{}", ((one,) for one in chain))
        unnamed = server_certificates.unnamed_hosts(obj.certificate)
        if not unnamed:
            return shown
        words = badge(f"does not name {', '.join(unnamed)}", "warn")
        return format_html("{}<br>{}", shown, words)

    # --- Pages ---

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        here = _endpoint_of(request)

        class FormHere(form):  # type: ignore[misc, valid-type]
            """Refuses to saw off the branch that this very request sits on."""

            def clean(self) -> dict[str, Any]:
                cleaned: dict[str, Any] = super().clean()
                own = self.instance.pk and self.instance.name == here
                if own and not _keeps_us(cleaned):
                    raise ValidationError(
                        "You are using this endpoint right now. It must stay on, with TLS, and "
                        "serve the console. Change it from another endpoint."
                    )
                return cleaned

        return FormHere

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "certificate":
            kwargs["queryset"] = (
                Certificate.objects.filter(
                    Q(pk__in=Certificate.objects.active(timezone.now()).values("pk"))
                    | Q(endpoints__isnull=False)
                )
                .filter(profile="server", key__isnull=False)
                .defer("der")
                .distinct()
            )
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
                actor=actor(request), endpoint=obj, changes=changes, at=timezone.now()
            )
        else:
            endpoints.create_endpoint(actor=actor(request), endpoint=obj, at=timezone.now())

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
                endpoints.renew_certificate(
                    actor=actor(request),
                    endpoint=row,
                    hosts=form.cleaned_data["hosts"],
                    at=timezone.now(),
                )
                messages.success(
                    request, f"{row} has a new certificate. New connections see it at once."
                )
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


def _endpoint_of(request: HttpRequest) -> str:
    """The name of the endpoint that this request came through."""
    scope = getattr(request, "scope", {})
    connection = scope.get("extensions", {}).get("signet.connection")
    return connection.endpoint if connection else ""


def _keeps_us(cleaned: dict[str, Any]) -> bool:
    serves_us = cleaned.get("serves") == Endpoint.Serves.MAIN
    return bool(cleaned.get("enabled") and cleaned.get("tls") and serves_us)


def _hosts(row: Endpoint) -> list[str]:
    if row.certificate is None:
        return names.server_hosts()
    return extensions.subject_names(bytes(row.certificate.der))


def _server_label(certificate: Certificate) -> str:
    return (
        f"{certificate.subject} until {certificate.not_after:%d %b %Y} ({certificate.serial[:8]})"
    )
