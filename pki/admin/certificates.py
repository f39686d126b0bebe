"""Certificates: find, look at, download, hand out and revoke them."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from pki import revocation
from pki.admin import extensions
from pki.admin.base import (
    DANGER,
    actor,
    button,
    column,
    person,
    without,
)
from pki.admin.columns import (
    SOON,
    attachment,
    code,
    day_with_distance,
    minute,
    short_fingerprint,
    status_badge,
    unbroken,
    whole_fingerprint,
)
from pki.admin.forms import RevocationForm
from pki.admin.issuing import IssuingAdmin
from pki.errors import PKIError
from pki.models import Certificate, CertificateAuthority, Endpoint, RevocationReason
from pki.querysets import CertificateQuerySet

MOST_AT_ONCE = 200


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.value.capitalize()) for status in Certificate.Status]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        match self.value():
            case "valid":
                return queryset.active(now)
            case "revoked":
                return queryset.revoked()
            case "expired":
                return queryset.expired(now)
            case "not yet valid":
                return queryset.filter(revoked_at__isnull=True, not_before__gt=now)
        return queryset


class ExpiryFilter(admin.SimpleListFilter):
    title = "expiry of valid ones"
    parameter_name = "expires"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(days), f"Within {days} days") for days in (7, SOON.days, 90)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() not in {"7", str(SOON.days), "90"}:
            return queryset
        now = timezone.now()
        return queryset.expiring_before(now + dt.timedelta(days=int(self.value() or 0)), at=now)


class HolderFilter(admin.SimpleListFilter):
    title = "holder"
    parameter_name = "holder"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("people", "People"), ("others", "Servers and CAs")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "people":
            return queryset.of_people()
        return queryset.filter(owner__isnull=True) if self.value() == "others" else queryset


@admin.register(Certificate)
class CertificateAdmin(IssuingAdmin):
    rights = ("view", "issue", "revoke")
    list_display = (
        "holder",
        "status_now",
        "device",
        "kind",
        "expiry",
        "short_sha256",
        "issuer",
    )
    list_filter = (StatusFilter, ExpiryFilter, HolderFilter, "profile", "authority")
    list_select_related = ("owner", "authority")
    search_fields = ("serial",)
    search_help_text = "Serial, fingerprint, subject or username"
    ordering = ("-issued_at", "-pk")
    actions = ("revoke_selected",)
    actions_detail = ("download_pem", "download_der", "revoke")
    fieldsets = (
        (None, {"fields": (("status_now", "kind"), ("holder", "device"), ("names", "issuer"))}),
        ("Validity", {"fields": (("begins", "ends"), ("issued", "by"))}),
        ("Revocation", {"fields": (("revoked", "why"),)}),
        ("Numbers", {"fields": ("serial_number", "full_sha256", "key_sha256")}),
        ("Contents", {"fields": ("contents",)}),
    )
    readonly_fields = (
        "names",
        "status_now",
        "kind",
        "holder",
        "issuer",
        "begins",
        "ends",
        "issued",
        "by",
        "revoked",
        "why",
        "serial_number",
        "full_sha256",
        "key_sha256",
        "contents",
    )

    def get_queryset(self, request: HttpRequest) -> CertificateQuerySet:
        queryset: CertificateQuerySet = super().get_queryset(request)
        return queryset.select_related("owner", "authority").defer("owner__password")

    def get_search_results(
        self, request: HttpRequest, queryset: CertificateQuerySet, search_term: str
    ) -> tuple[Any, bool]:
        words = search_term.strip()
        return (queryset.search(words) if words else queryset), False

    def get_urls(self) -> list[URLPattern]:
        confirm = self.admin_site.admin_view(self.revoke_confirmed)
        own = path("revoke/", confirm, name="pki_certificate_revoke_confirmed")
        return [own, *super().get_urls()]

    def audit_words(self, obj: Certificate) -> str:
        return obj.serial

    # --- Who may do what ---

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.revoke_certificate")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        found = self.get_object(request, str(object_id))
        revocable = found is not None and found.revoked_at is None and found.authority_id
        return (
            actions
            if revocable and self.has_revoke_permission(request)
            else without(actions, "revoke")
        )

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        if not self.has_revoke_permission(request):
            actions.pop("revoke_selected", None)
        return actions

    # --- Columns ---

    @column("Holder", ordering="owner__username")
    def holder(self, obj: Certificate) -> str:
        return str(obj.owner) if obj.owner else obj.subject

    @column("Status")
    def status_now(self, obj: Certificate) -> SafeString:
        return status_badge(obj, at=timezone.now())

    @column("Profile", ordering="profile")
    def kind(self, obj: Certificate) -> str:
        return obj.profile

    @column("Expires", ordering="not_after")
    def expiry(self, obj: Certificate) -> SafeString:
        return day_with_distance(obj.not_after, at=timezone.now())

    @column("SHA-256")
    def short_sha256(self, obj: Certificate) -> SafeString:
        return short_fingerprint(obj.sha256)

    @column("Issued by", ordering="authority__name")
    def issuer(self, obj: Certificate) -> SafeString:
        return unbroken(str(obj.authority) if obj.authority else "itself")

    @column("Subject")
    def names(self, obj: Certificate) -> str:
        return obj.subject

    @column("Valid from")
    def begins(self, obj: Certificate) -> str:
        return minute(obj.not_before)

    @column("Valid until")
    def ends(self, obj: Certificate) -> str:
        return minute(obj.not_after)

    @column("Issued on")
    def issued(self, obj: Certificate) -> str:
        return minute(obj.issued_at)

    @column("at the request of")
    def by(self, obj: Certificate) -> str:
        return obj.issued_by

    @column("Revoked")
    def revoked(self, obj: Certificate) -> str:
        return minute(obj.revoked_at)

    @column("Reason")
    def why(self, obj: Certificate) -> str:
        return obj.get_revocation_reason_display() or "–"

    @column("Serial number")
    def serial_number(self, obj: Certificate) -> SafeString:
        return code(obj.serial)

    @column("SHA-256 fingerprint")
    def full_sha256(self, obj: Certificate) -> SafeString:
        return whole_fingerprint(obj.sha256)

    @column("SHA-256 of the public key")
    def key_sha256(self, obj: Certificate) -> SafeString:
        return code(obj.spki_sha256)

    @column("What stands in it")
    def contents(self, obj: Certificate) -> SafeString:
        rows = extensions.lines(bytes(obj.der))
        return format_html_join("", '<div class="sg-fact"><b>{}</b><span>{}</span></div>', rows)

    # --- Downloads ---

    @button("PEM", icon="download", url_path="pem")
    def download_pem(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: Certificate = self.found(request, object_id)
        pem = ssl.DER_cert_to_PEM_cert(bytes(found.der)).encode()
        return attachment(pem, filename=f"{found.serial}.pem", media_type="application/x-pem-file")

    @button("DER", icon="download", url_path="der")
    def download_der(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: Certificate = self.found(request, object_id)
        return attachment(
            bytes(found.der), filename=f"{found.serial}.cer", media_type="application/pkix-cert"
        )

    # --- Revoke ---

    @admin.action(description="Revoke …")
    def revoke_selected(
        self, request: HttpRequest, queryset: CertificateQuerySet
    ) -> HttpResponse | None:
        keys = list(queryset.values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
        if len(keys) > MOST_AT_ONCE:
            messages.error(request, f"Select at most {MOST_AT_ONCE} certificates at once.")
            return None
        return self._ask_for_reason(request, keys)

    @button("Revoke", icon="block", variant=DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask_for_reason(request, [self.found(request, object_id).pk])

    def _ask_for_reason(
        self, request: HttpRequest, keys: list[int], form: RevocationForm | None = None
    ) -> HttpResponse:
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        certificates = list(self.get_queryset(request).defer("der").filter(pk__in=keys))
        revocable = [c for c in certificates if c.revoked_at is None and c.authority_id]
        own = request.identity.certificate_id  # type: ignore[attr-defined]
        numbers = {c.pk for c in revocable}
        return self.page(
            request,
            "pki/console_revoke.html",
            title="Revoke",
            obj=certificates[0] if len(certificates) == 1 else None,
            form=form or _reason_form(revocable),
            certificates=revocable,
            left_out=len(certificates) - len(revocable),
            has_own=own in numbers,
            endpoints=list(Endpoint.objects.filter(certificate__in=numbers)),
            authorities=list(CertificateAuthority.objects.filter(certificate__in=numbers)),
            now=timezone.now(),
        )

    def revoke_confirmed(self, request: HttpRequest) -> HttpResponse:
        """Revoke exactly what the page before had listed."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        form = RevocationForm(request.POST)
        form.is_valid()
        keys = form.cleaned_data.get("certificates", [])[:MOST_AT_ONCE]
        chosen = self.get_queryset(request).filter(pk__in=keys)
        if len(chosen) < len(set(keys)) or not keys:
            messages.error(request, "There is no such certificate. Select the certificates again.")
            return redirect(self.url_of())
        if form.errors:
            return self._ask_for_reason(request, keys, form)
        self._revoke_each(request, chosen, RevocationReason(form.cleaned_data["reason"]))
        return redirect(self.url_of(chosen[0]) if len(keys) == 1 else self.url_of())

    def _revoke_each(
        self, request: HttpRequest, chosen: CertificateQuerySet, reason: RevocationReason
    ) -> None:
        revoked = 0
        # CAs last: what they issued is revoked under their own CRL first.
        for certificate in chosen.order_by(F("owner").asc(nulls_last=True), "pk"):
            try:
                revocation.revoke(
                    actor=actor(request),
                    certificate=certificate,
                    reason=reason,
                    at=timezone.now(),
                )
                revoked += 1
            except PKIError as error:
                messages.error(request, str(error))
        if revoked:
            noun = "certificate is" if revoked == 1 else "certificates are"
            messages.success(request, f"{revoked} {noun} revoked, and the CRL is published.")


def _reason_form(certificates: list[Certificate]) -> RevocationForm:
    form = RevocationForm(initial={"certificates": ",".join(str(c.pk) for c in certificates)})
    if not any(c.owner_id is None for c in certificates):
        reason = form.fields["reason"]
        reason.choices = RevocationReason.for_leaves()  # type: ignore[attr-defined]
    return form
