"""Certificate authorities: who signs, under whom, and how fresh their CRLs are."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from pki import authorities, crl, responder
from pki.admin import extensions
from pki.admin.authority_forms import FoundingForm
from pki.admin.base import (
    PRIMARY,
    actor,
    button,
    column,
    person,
    posted,
    refusals_of,
    without,
)
from pki.admin.columns import (
    admin_url,
    attachment,
    badge,
    code,
    day,
    day_with_distance,
    distance,
    link,
    link_to,
    list_url,
    minute,
    status_badge,
    whole_fingerprint,
)
from pki.admin.standing import (
    TREE,
    crl_badge,
    newest_crl_of,
    standing_badge,
    with_newest_crl,
)
from pki.admin.succession import SuccessionAdmin
from pki.errors import PKIError
from pki.models import Certificate, CertificateAuthority, TrustStore


def _links(rows: Iterable[models.Model]) -> SafeString:
    return format_html_join(mark_safe("<br>"), "{}", ((link_to(row),) for row in rows))


@admin.register(CertificateAuthority)
class AuthorityAdmin(SuccessionAdmin):
    rights = ("view", "add")
    list_display = ("branch", "state", "key", "expiry", "newest_crl", "crl_state", "issued_count")
    list_display_links = ("branch",)
    search_fields = ("name", "slug")
    search_help_text = "Name"
    actions = ("publish_selected",)
    actions_detail = (
        "download_pem",
        "download_der",
        "publish_crl",
        "renew",
        "roll_over",
        "restore",
        "retire",
    )
    actions_list = ("take_over", "ask")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("parent_link", "key"),
                    ("begins", "ends"),
                    ("issued_link", "slug"),
                    ("limits", "stores"),
                    ("before", "after"),
                )
            },
        ),
        (
            "CRL",
            {
                "fields": (
                    ("newest_crl", "crl_state"),
                    ("crl_entries", "crl_kinds"),
                    "crl_address",
                )
            },
        ),
        ("OCSP", {"fields": ("responder_link",)}),
        ("Certificate", {"fields": (("certificate_link", "earlier"), "fingerprint")}),
    )
    readonly_fields = (
        "state",
        "parent_link",
        "key",
        "begins",
        "ends",
        "issued_link",
        "slug",
        "limits",
        "stores",
        "before",
        "after",
        "newest_crl",
        "crl_state",
        "crl_entries",
        "crl_kinds",
        "crl_address",
        "responder_link",
        "certificate_link",
        "earlier",
        "fingerprint",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        related = super().get_queryset(request).select_related("certificate__key", "parent")
        issued = Certificate.objects.filter(authority=OuterRef("pk")).order_by()
        issues = issued.values("authority").annotate(number=Count("*")).values("number")
        queryset: QuerySet[Any] = with_newest_crl(related).annotate(
            issues=Coalesce(Subquery(issues), 0)
        )
        return queryset

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        return TREE

    def audit_words(self, obj: CertificateAuthority) -> str:
        return obj.slug

    # --- Who may do what ---

    def has_add_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.add_certificateauthority")

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.add_revocationlist")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        authority = self.get_object(request, str(object_id))
        if authority is None:
            return []
        hidden = self._hidden(request, authority)
        if not self.has_publish_permission(request) or authority.certificate.key_id is None:
            hidden.append("publish_crl")
        return without(actions, *hidden)

    def get_actions_list(self, request: HttpRequest) -> list[Any]:
        actions = list(super().get_actions_list(request))
        return actions if self.has_add_permission(request) else []

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        if not self.has_publish_permission(request):
            actions.pop("publish_selected", None)
        return actions

    # --- Columns ---

    @column("Authority")
    def branch(self, obj: CertificateAuthority) -> SafeString | str:
        if obj.parent is None:
            return obj.name
        return format_html('<span class="sg-branch">{}</span>', obj.name)

    @column("State")
    def state(self, obj: CertificateAuthority) -> SafeString:
        kind = "root" if obj.is_root else "intermediate"
        return format_html("{} {}", standing_badge(obj, at=timezone.now()), badge(kind))

    @column("Key")
    def key(self, obj: CertificateAuthority) -> str:
        return authorities.key_words(obj)

    @column("Expires", ordering="certificate__not_after")
    def expiry(self, obj: CertificateAuthority) -> SafeString:
        return day_with_distance(obj.certificate.not_after, at=timezone.now())

    @column("Newest CRL")
    def newest_crl(self, obj: Any) -> SafeString | str:
        newest = newest_crl_of(obj)
        if newest is None:
            return "–"
        return format_html(
            'No. {} <span class="sg-quiet">next {}</span>',
            newest.number,
            distance(newest.next_update, at=timezone.now()),
        )

    @column("CRL state")
    def crl_state(self, obj: Any) -> SafeString:
        is_ours = obj.certificate.key_id is not None
        return crl_badge(newest_crl_of(obj), at=timezone.now(), is_ours=is_ours)

    @column("Issued", ordering="issues")
    def issued_count(self, obj: Any) -> int:
        return int(obj.issues)

    @column("Issued")
    def issued_link(self, obj: Any) -> SafeString:
        noun = "certificate" if obj.issues == 1 else "certificates"
        return link(list_url(Certificate, authority__id__exact=obj.pk), f"{obj.issues} {noun}")

    @column("Signed by")
    def parent_link(self, obj: CertificateAuthority) -> SafeString | str:
        return link_to(obj.parent) if obj.parent else "itself"

    @column("Valid from")
    def begins(self, obj: CertificateAuthority) -> str:
        return minute(obj.certificate.not_before)

    @column("Valid until")
    def ends(self, obj: CertificateAuthority) -> str:
        return minute(obj.certificate.not_after)

    @column("Limits")
    def limits(self, obj: CertificateAuthority) -> str:
        """Path length and name constraints, in words."""
        return extensions.authority_limits(bytes(obj.certificate.der))

    @column("In trust stores")
    def stores(self, obj: CertificateAuthority) -> SafeString | str:
        found = TrustStore.objects.filter(anchors__sha256=obj.certificate.sha256).distinct()
        return _links(found) or "none"

    @column("Follows")
    def before(self, obj: CertificateAuthority) -> SafeString | str:
        return link_to(obj.predecessor)

    @column("Followed by")
    def after(self, obj: CertificateAuthority) -> SafeString | str:
        return _links(obj.successors.all()) or "–"

    @column("Earlier ones of the same key")
    def earlier(self, obj: CertificateAuthority) -> SafeString | str:
        if obj.certificate.key_id is None:
            return "–"
        same = Certificate.objects.filter(key=obj.certificate.key_id).exclude(pk=obj.certificate_id)
        return _links(same.defer("der").order_by("-not_before")) or "none"

    @column("Revoked certificates on it")
    def crl_entries(self, obj: CertificateAuthority) -> SafeString | str:
        newest = crl.latest(obj)
        return link(admin_url(newest), newest.entries) if newest else "–"

    @column("Besides")
    def crl_kinds(self, obj: CertificateAuthority) -> SafeString | str:
        """Deltas and partitions, and the page that sets them."""
        deltas = "delta CRLs" if obj.has_delta_crls else "no delta CRLs"
        words = f"{deltas}, {obj.crl_partitions or 'no'} partitions"
        newest = crl.latest(obj)
        if newest is None or obj.certificate.key_id is None:
            return words
        return format_html("{} {}", words, link(admin_url(newest, "crl_settings"), "set them"))

    @column("Answers signed by")
    def responder_link(self, obj: CertificateAuthority) -> SafeString | str:
        current, now = obj.responder, timezone.now()
        if current is None:
            return "the CA itself" if obj.certificate.key_id else "nobody: its key is elsewhere"
        is_overdue = responder.is_overdue(obj, at=now)
        return format_html(
            '{} {} <span class="sg-quiet">serial {}, until {}</span>',
            link_to(current),
            badge("renewal overdue", "warn") if is_overdue else status_badge(current, at=now),
            current.serial,
            minute(current.not_after),
        )

    @column("Published at")
    def crl_address(self, obj: CertificateAuthority) -> SafeString | str:
        if obj.certificate.key_id is None:
            return "not here: its own operator publishes it"
        return code(crl.url(obj))

    @column("Certificate")
    def certificate_link(self, obj: CertificateAuthority) -> SafeString | str:
        return link_to(obj.certificate)

    @column("SHA-256 fingerprint")
    def fingerprint(self, obj: CertificateAuthority) -> SafeString:
        return whole_fingerprint(obj.certificate.sha256)

    # --- Pages ---

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = FoundingForm(posted(request))
        if form.is_valid():
            with refusals_of(form):
                made = authorities.create_authority(
                    actor=actor(request), at=timezone.now(), **form.arguments()
                )
                messages.success(request, f"{made} is founded, and its first CRL is published.")
                return redirect(self.url_of(made))
        return self.page(
            request,
            "pki/console_form.html",
            title="New authority",
            form=form,
            button_text="Found the authority",
            intro="Makes its key, its certificate and its first CRL. A root becomes trusted once it is "
            "added to a trust store. Making an RSA key takes a few seconds.",
        )

    @admin.action(description="Publish CRL now")
    def publish_selected(
        self, request: HttpRequest, queryset: QuerySet[CertificateAuthority]
    ) -> None:
        if not self.has_publish_permission(request):
            raise PermissionDenied
        for authority in queryset:
            self._publish(request, authority)

    @button("Publish CRL", icon="publish", variant=PRIMARY)
    def publish_crl(self, request: HttpRequest, object_id: str) -> HttpResponse:
        authority: CertificateAuthority = self.found(request, object_id)
        if not self.has_publish_permission(request):
            raise PermissionDenied
        form = forms.Form(posted(request))
        if form.is_valid():
            self._publish(request, authority)
            return redirect(self.url_of(authority))
        return self.page(
            request,
            "pki/console_form.html",
            title="Publish a CRL",
            obj=authority,
            form=form,
            button_text="Publish",
            intro=f"Signs CRL number {authority.next_crl_number} of {authority} and puts it in "
            "force everywhere. Revoking does this by itself, and so does the clock.",
        )

    def _publish(self, request: HttpRequest, authority: CertificateAuthority) -> None:
        try:
            made = crl.publish(authority=authority, actor=actor(request), at=timezone.now())
        except PKIError as error:
            messages.error(request, str(error))
        else:
            until = day(made.next_update)
            messages.success(
                request,
                f"CRL {made.number} of {authority} is published: {made.entries} revoked, "
                f"in force until {until}.",
            )

    @button("PEM", icon="download", url_path="pem")
    def download_pem(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: CertificateAuthority = self.found(request, object_id)
        pem = ssl.DER_cert_to_PEM_cert(bytes(found.certificate.der)).encode()
        return attachment(pem, filename=f"{found.slug}.pem", media_type="application/x-pem-file")

    @button("DER", icon="download", url_path="der")
    def download_der(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: CertificateAuthority = self.found(request, object_id)
        return attachment(
            bytes(found.certificate.der),
            filename=f"{found.slug}.cer",
            media_type="application/pkix-cert",
        )
