"""What was done: published CRLs, invitations and the audit trail. Nothing here is changed."""

from __future__ import annotations

import json
from typing import Any

from cryptography import x509
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from pki import audit, crl
from pki.admin.authorities import crl_badge
from pki.admin.base import ReadOnlyAdmin, button, column
from pki.admin.columns import attachment, badge, code, distance, link_to, minute, unbroken
from pki.description import serial_text
from pki.errors import AuditError
from pki.models import AuditEntry, Invitation, RevocationList

ENTRIES_SHOWN = 200
TARGET_SHOWN = 32


@admin.register(RevocationList)
class RevocationListAdmin(ReadOnlyAdmin):
    rights = ("view", "add")  # to add one is to publish
    list_display = ("title", "authority", "state", "published", "next_one", "entries")
    list_display_links = ("title",)
    list_filter = ("authority",)
    list_select_related = ("authority",)
    ordering = ("-this_update", "-number")
    actions_detail = ("download_pem", "download_der")
    fieldsets = (
        (None, {"fields": (("title", "authority_link"), ("published", "next_one"), "revoked")}),
    )
    readonly_fields = ("title", "authority_link", "published", "next_one", "revoked")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RevocationList]:
        queryset: QuerySet[RevocationList] = super().get_queryset(request)
        return queryset.select_related("authority").defer("der")

    def audit_words(self, obj: RevocationList) -> str:
        return f"CRL {obj.number} of {obj.authority.slug}"

    @column("CRL", ordering="number")
    def title(self, obj: RevocationList) -> str:
        return f"No. {obj.number}"

    @column("State")
    def state(self, obj: RevocationList) -> SafeString:
        if obj.number + 1 < obj.authority.next_crl_number:
            return badge("replaced")
        return crl_badge(obj, at=timezone.now())

    @column("Published", ordering="this_update")
    def published(self, obj: RevocationList) -> str:
        return minute(obj.this_update)

    @column("In force until", ordering="next_update")
    def next_one(self, obj: RevocationList) -> str:
        return minute(obj.next_update)

    @column("Authority")
    def authority_link(self, obj: RevocationList) -> SafeString | str:
        return link_to(obj.authority)

    @column("Revoked certificates")
    def revoked(self, obj: RevocationList) -> SafeString | str:
        entries = list(x509.load_der_x509_crl(bytes(obj.der)))
        if not entries:
            return "None."
        listed = "\n".join(
            f"{serial_text(entry.serial_number)}  {entry.revocation_date_utc:%Y-%m-%d %H:%M}"
            for entry in entries[:ENTRIES_SHOWN]
        )
        more = len(entries) - ENTRIES_SHOWN
        return format_html(
            '<pre class="sg-pre">{}</pre>{}', listed, f"and {more} more" if more > 0 else ""
        )

    @button("PEM", icon="download", url_path="pem")
    def download_pem(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: RevocationList = self.found(request, object_id)
        return attachment(
            crl.crl_pem(found), filename=_name(found, "pem"), media_type="application/x-pem-file"
        )

    @button("DER", icon="download", url_path="der")
    def download_der(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: RevocationList = self.found(request, object_id)
        return attachment(
            bytes(found.der), filename=_name(found, "crl"), media_type="application/pkix-crl"
        )


def _name(found: RevocationList, suffix: str) -> str:
    return f"{found.authority.slug}-{found.number}.{suffix}"


class InvitationFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("used", "Used"), ("expired", "Expired")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        match self.value():
            case "open":
                return queryset.open(now)
            case "used":
                return queryset.filter(redeemed_at__isnull=False)
            case "expired":
                return queryset.filter(redeemed_at__isnull=True, expires_at__lte=now)
        return queryset


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Who was invited. The link is in nobody's hands but theirs; here was never more than a hash."""

    list_display = ("user", "device", "state", "created_by", "created", "expiry")
    list_filter = (InvitationFilter,)
    list_select_related = ("user",)
    search_fields = ("user__username", "user__name", "device")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("person_link", "device"),
                    ("state", "expiry"),
                    ("created", "created_by"),
                    ("redeemed", "certificate_link"),
                )
            },
        ),
    )
    readonly_fields = (
        "person_link",
        "state",
        "created",
        "expiry",
        "redeemed",
        "certificate_link",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invitation]:
        queryset: QuerySet[Invitation] = super().get_queryset(request)
        return queryset.select_related("user").defer("token_sha256", "user__password")

    def audit_words(self, obj: Invitation) -> str:
        return obj.user.username

    @column("State")
    def state(self, obj: Invitation) -> SafeString:
        if obj.redeemed_at:
            return badge("used")
        return badge("open", "good") if obj.expires_at > timezone.now() else badge("expired")

    @column("Made", ordering="created_at")
    def created(self, obj: Invitation) -> str:
        return minute(obj.created_at)

    @column("Expires", ordering="expires_at")
    def expiry(self, obj: Invitation) -> str:
        return distance(obj.expires_at, at=timezone.now())

    @column("Used")
    def redeemed(self, obj: Invitation) -> str:
        return minute(obj.redeemed_at)

    @column("Person")
    def person_link(self, obj: Invitation) -> SafeString | str:
        return link_to(obj.user)

    @column("Certificate")
    def certificate_link(self, obj: Invitation) -> SafeString | str:
        return link_to(obj.certificate)


class ActionFilter(admin.SimpleListFilter):
    """By what was done; the first word of an action names the noun."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        actions = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
        return [(name, name.replace(".", ": ").replace("_", " ")) for name in actions]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("number", "moment", "actor", "what", "about")
    list_display_links = ("what",)
    show_full_result_count = False  # the trail grows for ever
    list_filter = (ActionFilter,)
    search_fields = ("target", "actor")
    search_help_text = "Target or actor"
    ordering = ("-sequence",)
    date_hierarchy = "at"
    actions_list = ("verify",)
    fieldsets = (
        (None, {"fields": (("sequence", "moment"), ("actor", "what"), "target", "facts")}),
        ("Chain", {"fields": ("previous_hash", "own_hash")}),
    )
    readonly_fields = ("moment", "what", "facts", "previous_hash", "own_hash")

    @column("No.", ordering="sequence")
    def number(self, obj: AuditEntry) -> int:
        return obj.sequence

    @column("When", ordering="at")
    def moment(self, obj: AuditEntry) -> SafeString:
        return unbroken(minute(obj.at))

    @column("What", ordering="action")
    def what(self, obj: AuditEntry) -> SafeString:
        return unbroken(obj.action)

    @column("About", ordering="target")
    def about(self, obj: AuditEntry) -> str:
        return Truncator(obj.target).chars(TARGET_SHOWN)

    @column("Detail")
    def facts(self, obj: AuditEntry) -> SafeString | str:
        if not obj.detail:
            return "–"
        shown = json.dumps(obj.detail, indent=2, ensure_ascii=False, sort_keys=True)
        return format_html('<pre class="sg-pre">{}</pre>', shown)

    @column("Hash of the entry before")
    def previous_hash(self, obj: AuditEntry) -> SafeString:
        return code(obj.previous)

    @column("Hash of this entry")
    def own_hash(self, obj: AuditEntry) -> SafeString:
        return code(obj.hash)

    @button("Verify the chain", icon="verified")
    def verify(self, request: HttpRequest) -> HttpResponse:
        """Walk the whole chain and say what was found."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            count = audit.verify()
            messages.success(request, f"The chain is whole: {count} entries, none was changed.")
        except AuditError as error:
            messages.error(request, str(error))
        return redirect(self.url_of())
