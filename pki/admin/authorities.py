"""Certificate authorities: who signs, under whom, and how fresh their CRLs are."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import Any

from cryptography import x509
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pki import addresses, algorithms, authorities, crl
from pki.admin.base import (
    PRIMARY,
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
    day,
    day_with_distance,
    distance,
    link_to,
    list_url,
    minute,
    status_badge,
    whole_fingerprint,
)
from pki.admin.forms import AuthorityForm
from pki.errors import PKIError
from pki.models import Certificate, CertificateAuthority, RevocationList


def crl_badge(crl: RevocationList | None, *, at: dt.datetime) -> SafeString:
    """Whether a CRL is fresh, due for its successor, or so old that clients refuse everybody."""
    if crl is None:
        return badge("no CRL", "bad")
    if crl.is_stale_at(at):
        return badge("out of date", "bad")
    return badge("due", "warn") if crl.is_due_at(at) else badge("fresh", "good")


# A root, and then those below it.
TREE: tuple[Any, ...] = (
    Coalesce("parent__name", "name"),
    F("parent").asc(nulls_first=True),
    "name",
)


def with_newest_crl(queryset: QuerySet[CertificateAuthority]) -> QuerySet[Any]:
    """Each CA with the number and times of its newest CRL."""
    newest = RevocationList.objects.filter(authority=OuterRef("pk")).order_by("-number")
    return queryset.annotate(
        crl_number=Subquery(newest.values("number")[:1]),
        crl_this_update=Subquery(newest.values("this_update")[:1]),
        crl_next_update=Subquery(newest.values("next_update")[:1]),
    )


def newest_crl_of(row: Any) -> RevocationList | None:
    """The newest CRL of a row of `with_newest_crl`, without its DER and without a query."""
    if row.crl_number is None:
        return None
    return RevocationList(
        number=row.crl_number, this_update=row.crl_this_update, next_update=row.crl_next_update
    )


@admin.register(CertificateAuthority)
class AuthorityAdmin(ReadOnlyAdmin):
    rights = ("view", "add")
    list_display = ("branch", "state", "key", "expiry", "newest_crl", "crl_state", "issued_count")
    list_display_links = ("branch",)
    search_fields = ("name", "slug")
    actions = ("publish_selected",)
    actions_detail = ("publish_crl", "download_pem", "download_der", "see_certificates")
    fieldsets = (
        (None, {"fields": (("name", "state"), ("parent_link", "key"), ("begins", "ends"))}),
        ("CRL", {"fields": (("newest_crl", "crl_state"), "crl_address")}),
        ("Certificate", {"fields": ("certificate_link", "fingerprint")}),
    )
    readonly_fields = (
        "state",
        "parent_link",
        "key",
        "begins",
        "ends",
        "newest_crl",
        "crl_state",
        "crl_address",
        "certificate_link",
        "fingerprint",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        related = super().get_queryset(request).select_related("certificate", "parent")
        queryset: QuerySet[Any] = with_newest_crl(related).annotate(issues=Count("issued"))
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
        hidden = [] if self.has_publish_permission(request) else ["publish_crl"]
        return without(actions, *hidden)

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
        shown = status_badge(obj.certificate, at=timezone.now())
        return format_html("{} {}", shown, badge(kind))

    @column("Key")
    def key(self, obj: CertificateAuthority) -> str:
        public = x509.load_der_x509_certificate(bytes(obj.certificate.der)).public_key()
        here = "" if obj.certificate.key_id else ", kept elsewhere"
        return algorithms.describe(public) + here

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
        return crl_badge(newest_crl_of(obj), at=timezone.now())

    @column("Issued", ordering="issues")
    def issued_count(self, obj: Any) -> int:
        return int(obj.issues)

    @column("Signed by")
    def parent_link(self, obj: CertificateAuthority) -> SafeString | str:
        return link_to(obj.parent) if obj.parent else "itself"

    @column("Valid from")
    def begins(self, obj: CertificateAuthority) -> str:
        return minute(obj.certificate.not_before)

    @column("Valid until")
    def ends(self, obj: CertificateAuthority) -> str:
        return minute(obj.certificate.not_after)

    @column("Published at")
    def crl_address(self, obj: CertificateAuthority) -> SafeString:
        return code(addresses.url("public", f"/crl/{obj.slug}.crl"))

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
        form = AuthorityForm(posted(request))
        if form.is_valid():
            with refusals_of(form):
                made = authorities.create_authority(
                    actor=actor(request), at=timezone.now(), **form.cleaned_data
                )
                messages.success(request, f"{made} is founded, and its first CRL is published.")
                return redirect(self.url_of(made))
        return self.page(
            request,
            "pki/console_form.html",
            title="New authority",
            form=form,
            button_text="Found the authority",
            intro="Its key is made here and kept wrapped under the master key. Making an RSA key "
            "takes a few seconds.",
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

    @button("Issued certificates", icon="list")
    def see_certificates(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found = self.found(request, object_id)
        return redirect(list_url(Certificate, authority__id__exact=found.pk))
