"""What was done: published CRLs and invitations."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.forms.models import model_to_dict
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from pki import crl, enrolment
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
from pki.admin.columns import (
    attachment,
    badge,
    code,
    day_with_distance,
    distance,
    link_to,
    minute,
    unbroken,
)
from pki.admin.standing import crl_badge
from pki.description import serial_text
from pki.models import Invitation, RevocationList
from pki.permissions import may_issue, may_manage


class CRLSettingsForm(forms.Form):
    """Which CRLs a CA publishes besides the one of everything."""

    has_delta_crls = forms.BooleanField(
        label="Delta CRLs",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="A small list of what changed, for whoever fetches CRLs often.",
    )
    crl_partitions = forms.IntegerField(
        label="Partitions",
        min_value=0,
        max_value=crl.MOST_PARTITIONS,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text="0 for none. Certificates issued from now on name one of them, and it alone is "
        "fetched to check them. Certificates that name one keep it until they expire.",
    )


ENTRIES_SHOWN = 200


@admin.register(RevocationList)
class RevocationListAdmin(ReadOnlyAdmin):
    rights = ("view", "add")  # to add one is to publish
    list_display = ("title", "authority", "which", "state", "published", "next_one", "entries")
    list_display_links = ("title",)
    list_filter = ("authority", "kind")
    list_select_related = ("authority",)
    ordering = ("-this_update", "-number")
    actions_detail = ("download_pem", "download_der", "crl_settings")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("title", "authority_link"),
                    ("which", "state"),
                    ("published", "next_one"),
                    "address",
                    "revoked",
                )
            },
        ),
    )
    readonly_fields = (
        "title",
        "authority_link",
        "which",
        "state",
        "published",
        "next_one",
        "address",
        "revoked",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RevocationList]:
        queryset: QuerySet[RevocationList] = super().get_queryset(request)
        newer = RevocationList.objects.filter(
            authority=OuterRef("authority"),
            kind=OuterRef("kind"),
            partition=OuterRef("partition"),
            number__gt=OuterRef("number"),
        )
        listed = queryset.annotate(is_replaced=Exists(newer.order_by()))
        return listed.select_related("authority").defer("der")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        found = self.get_object(request, str(object_id))
        if found is None or not found.der:
            actions = without(actions, "download_pem", "download_der")
        may_configure = found is not None and self._may_configure(request, found)
        return actions if may_configure else without(actions, "crl_settings")

    def _may_configure(self, request: HttpRequest, obj: RevocationList) -> bool:
        is_ours = obj.authority.certificate.key_id is not None
        return is_ours and person(request).has_perm("pki.add_revocationlist")

    def audit_words(self, obj: RevocationList) -> str:
        return f"CRL {obj.number} of {obj.authority.slug}"

    @column("CRL", ordering="number")
    def title(self, obj: RevocationList) -> str:
        return f"No. {obj.number}"

    @column("Lists", ordering="partition")
    def which(self, obj: RevocationList) -> str:
        if obj.base_number is not None:
            return f"changes since No. {obj.base_number}"
        return f"partition {obj.partition}" if obj.partition else "everything"

    @column("Address")
    def address(self, obj: RevocationList) -> SafeString:
        return code(crl.url(obj.authority, crl.Scope(obj.kind, obj.partition)))

    @column("State")
    def state(self, obj: RevocationList) -> SafeString:
        if obj.is_replaced:  # type: ignore[attr-defined]
            return badge("replaced")
        return crl_badge(obj, at=timezone.now())

    @column("Published", ordering="this_update")
    def published(self, obj: RevocationList) -> SafeString:
        return unbroken(minute(obj.this_update))

    @column("In force until", ordering="next_update")
    def next_one(self, obj: RevocationList) -> SafeString:
        return day_with_distance(obj.next_update, at=timezone.now())

    @column("Authority")
    def authority_link(self, obj: RevocationList) -> SafeString | str:
        return link_to(obj.authority)

    @column("Revoked certificates")
    def revoked(self, obj: RevocationList) -> SafeString | str:
        if not obj.der:
            return "A newer CRL has replaced it, and its contents are no longer kept."
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
        found = self._kept(request, object_id)
        return attachment(
            crl.crl_pem(found), filename=_name(found, "pem"), media_type="application/x-pem-file"
        )

    @button("DER", icon="download", url_path="der")
    def download_der(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found = self._kept(request, object_id)
        return attachment(
            bytes(found.der), filename=_name(found, "crl"), media_type="application/pkix-crl"
        )

    def _kept(self, request: HttpRequest, object_id: str) -> RevocationList:
        found: RevocationList = self.found(request, object_id)
        if not found.der:
            raise Http404
        return found

    @button("Deltas and partitions", icon="tune", url_path="settings")
    def crl_settings(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: RevocationList = self.found(request, object_id)
        if not self._may_configure(request, found):
            raise PermissionDenied
        form = CRLSettingsForm(posted(request), initial=model_to_dict(found.authority))
        if form.is_valid():
            with refusals_of(form):
                crl.configure(
                    actor=actor(request),
                    authority=found.authority,
                    at=timezone.now(),
                    **form.cleaned_data,
                )
                messages.success(request, f"The CRLs of {found.authority} are published anew.")
                return redirect(self.url_of())
        return self.page(
            request,
            "pki/console_form.html",
            title=f"CRLs of {found.authority}",
            obj=found,
            form=form,
            intro="The CRL of everything is published whatever you choose here.",
            button_text="Save and publish",
        )


def _name(found: RevocationList, suffix: str) -> str:
    scope = crl.Scope(found.kind, found.partition)
    name = crl.file_name(found.authority, scope).removesuffix(".crl")
    return f"{name}-{found.number}.{suffix}"


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
    actions_detail = ("withdraw",)
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

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        found = self.get_object(request, str(object_id))
        is_offered = found is not None and self._may_withdraw(request, found)
        return actions if is_offered else without(actions, "withdraw")

    def _may_withdraw(self, request: HttpRequest, obj: Invitation) -> bool:
        is_open = obj.redeemed_at is None and obj.expires_at > timezone.now()
        user = person(request)
        return is_open and may_issue(user) and may_manage(user, obj.user)

    @button("Withdraw", icon="link_off", variant=DANGER)
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End an open link, after a question."""
        found: Invitation = self.found(request, object_id)
        if not self._may_withdraw(request, found):
            raise PermissionDenied
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                enrolment.withdraw_link(actor=actor(request), invitation=found, at=timezone.now())
                messages.success(request, "The link no longer works.")
                return redirect(self.url_of(found))
        return self.page(
            request,
            "pki/console_form.html",
            title="Withdraw this link?",
            obj=found,
            form=form,
            danger=True,
            button_text="Withdraw",
            intro=f"It was made for {found.user} on {found.device}. Whoever has it can do nothing "
            "with it any more.",
        )

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
