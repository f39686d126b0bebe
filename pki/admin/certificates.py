"""Certificates: find, look at, download, hand out and revoke them."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import Any

from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pki.admin import extensions
from pki.admin.base import (
    button,
    column,
)
from pki.admin.columns import (
    SOON,
    attachment,
    badge,
    code,
    day_with_distance,
    minute,
    status_badge,
    unbroken,
    whole_fingerprint,
)
from pki.admin.revoking import BUTTONS, RevokingAdmin, planned_text
from pki.models import Certificate, RevocationReason
from pki.querysets import CertificateQuerySet


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        statuses = [(status.value, status.value.capitalize()) for status in Certificate.Status]
        return [*statuses, ("on hold", "On hold"), ("planned", "Revocation planned")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        match self.value():
            case "valid":
                return queryset.active(now)
            case "revoked":
                return queryset.revoked()
            case "expired":
                return queryset.expired(now)
            case "on hold":
                return queryset.filter(revocation_reason=RevocationReason.HOLD)
            case "planned":
                return queryset.filter(planned__isnull=False, revoked_at__isnull=True)
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
class CertificateAdmin(RevokingAdmin):
    rights = ("view", "issue", "revoke")
    list_display = (
        "holder",
        "status_now",
        "device",
        "kind",
        "expiry",
        "issuer",
    )
    list_filter = (StatusFilter, ExpiryFilter, HolderFilter, "profile", "authority")
    list_select_related = ("owner", "authority")
    search_fields = ("serial",)
    search_help_text = "Serial, fingerprint, subject or username"
    ordering = ("-issued_at", "-pk")
    actions = ("revoke_selected",)
    actions_detail = ("download_pem", "download_der", *BUTTONS)
    fieldsets = (
        (None, {"fields": (("status_now", "kind"), ("holder", "device"), ("names", "issuer"))}),
        ("Validity", {"fields": (("begins", "ends"), ("issued", "by"))}),
        ("Revocation", {"fields": (("revoked", "why"), "planned_revocation")}),
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
        "planned_revocation",
        "serial_number",
        "full_sha256",
        "key_sha256",
        "contents",
    )

    def get_queryset(self, request: HttpRequest) -> CertificateQuerySet:
        queryset: CertificateQuerySet = super().get_queryset(request)
        related = queryset.select_related("owner", "authority").defer("owner__password")
        return related.annotate(planned_at=F("planned__at"))

    def get_search_results(
        self, request: HttpRequest, queryset: CertificateQuerySet, search_term: str
    ) -> tuple[Any, bool]:
        words = search_term.strip()
        exact = queryset.with_serial(words) | queryset.with_sha256(words)
        if words and exact.exists():  # both have an index, which parts of names have not
            return exact, False
        return (queryset.search(words) if words else queryset), False

    def audit_words(self, obj: Certificate) -> str:
        return obj.serial

    # --- Columns ---

    @column("Holder", ordering="owner__username")
    def holder(self, obj: Certificate) -> str:
        return str(obj.owner) if obj.owner else obj.subject

    @column("Status")
    def status_now(self, obj: Certificate) -> SafeString:
        status = status_badge(obj, at=timezone.now())
        if obj.revocation_reason == RevocationReason.HOLD:
            return badge("on hold", "bad")
        planned = getattr(obj, "planned_at", None)
        if not planned:
            return status
        return format_html("{} {}", status, badge("revocation planned", "warn"))

    @column("Profile", ordering="profile")
    def kind(self, obj: Certificate) -> str:
        return obj.profile

    @column("Expires", ordering="not_after")
    def expiry(self, obj: Certificate) -> SafeString:
        return day_with_distance(obj.not_after, at=timezone.now())

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

    @column("At the request of")
    def by(self, obj: Certificate) -> str:
        return obj.issued_by

    @column("Revoked")
    def revoked(self, obj: Certificate) -> str:
        return minute(obj.revoked_at)

    @column("Reason")
    def why(self, obj: Certificate) -> str:
        return obj.get_revocation_reason_display() or "–"

    @column("Planned")
    def planned_revocation(self, obj: Certificate) -> str:
        return planned_text(obj)

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
