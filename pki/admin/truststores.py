"""Trust stores: which roots the endpoints believe."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString

from pki import files, truststore
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
from pki.admin.columns import attachment, badge, day_with_distance
from pki.admin.forms import AnchorForm, TrustStoreForm
from pki.description import colons
from pki.models import Anchor, Endpoint, TrustStore


@admin.register(TrustStore)
class TrustStoreAdmin(ReadOnlyAdmin):
    rights = ("view", "add", "change")
    list_display = ("name", "description", "anchor_count", "first_expiry", "used_by")
    fieldsets = ((None, {"fields": (("name", "description"),)}),)
    actions_detail = ("add_anchor", "download_pem", "download_p7b")
    change_form_outer_after_template = "pki/_console_truststore.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrustStore]:
        queryset: QuerySet[TrustStore] = super().get_queryset(request)
        return queryset.prefetch_related("endpoints").annotate(
            anchor_number=Count("anchors"), expires=Min("anchors__not_after")
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.withdraw_anchor)
        own = path(
            "<int:object_id>/anchors/<int:anchor_id>/withdraw/",
            view,
            name="pki_truststore_withdraw",
        )
        return [own, *super().get_urls()]

    def audit_words(self, obj: TrustStore) -> str:
        return f"trust store {obj.name}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.add_truststore")

    def has_trust_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.change_truststore")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        hidden = [] if self.has_trust_permission(request) else ["add_anchor"]
        store = self.get_object(request, str(object_id))
        if store is None or not store.anchor_number:
            hidden += ["download_pem", "download_p7b"]
        return without(actions, *hidden)

    # --- Columns ---

    @column("Anchors", ordering="anchor_number")
    def anchor_count(self, obj: Any) -> SafeString | int:
        return obj.anchor_number or badge("empty", "warn")

    @column("First expiry", ordering="expires")
    def first_expiry(self, obj: Any) -> SafeString | str:
        return day_with_distance(obj.expires, at=timezone.now()) if obj.expires else "–"

    @column("Used by")
    def used_by(self, obj: TrustStore) -> str:
        return ", ".join(endpoint.name for endpoint in obj.endpoints.all()) or "–"

    # --- Pages ---

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TrustStoreForm(posted(request))
        if form.is_valid():
            with refusals_of(form, "name"):
                made = truststore.create_truststore(
                    actor=actor(request), at=timezone.now(), **form.cleaned_data
                )
                messages.success(request, f"{made} exists now, and trusts nobody yet.")
                return redirect(self.url_of(made))
        return self.page(request, "pki/console_form.html", title="New trust store", form=form)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        store = self.get_object(request, object_id) if object_id else None
        context = {
            "anchors": _anchors_of(store) if store else [],
            "may_withdraw": self.has_trust_permission(request),
            **(extra_context or {}),
        }
        return super().changeform_view(request, object_id, form_url, context)

    @button("Add anchor", icon="add_moderator", variant=PRIMARY)
    def add_anchor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store = self._changeable(request, object_id)
        form = AnchorForm(posted(request), request.FILES or None)
        if form.is_valid():
            with refusals_of(form):
                anchor = truststore.add_anchor(
                    actor=actor(request), truststore=store, at=timezone.now(), **_root(form)
                )
                messages.success(request, f"{store} trusts {anchor} now.")
                return redirect(self.url_of(store))
        return self.page(
            request,
            "pki/console_form.html",
            title="Add a trust anchor",
            obj=store,
            form=form,
            multipart=True,
            button_text="Trust this root",
            intro="Endpoints that use this store then finish the handshake with certificates "
            "below this root. Nobody signs in by that alone: people are known by certificates "
            "that were issued here.",
        )

    def withdraw_anchor(self, request: HttpRequest, object_id: int, anchor_id: int) -> HttpResponse:
        store = self._changeable(request, str(object_id))
        anchor = Anchor.objects.filter(truststore=store, pk=anchor_id).first()
        if anchor is None:
            raise Http404
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                truststore.withdraw_anchor(actor=actor(request), anchor=anchor, at=timezone.now())
                messages.success(request, f"{store} does not trust {anchor} any more.")
                return redirect(self.url_of(store))
        return self.page(
            request,
            "pki/console_withdraw.html",
            title="Withdraw a trust anchor",
            obj=store,
            form=form,
            anchor=anchor,
            fingerprint=colons(anchor.sha256),
            is_last=store.anchors.count() == 1,
            endpoints=list(Endpoint.objects.filter(truststore=store, enabled=True)),
        )

    def _changeable(self, request: HttpRequest, object_id: str) -> TrustStore:
        store: TrustStore = self.found(request, object_id)
        if not self.has_trust_permission(request):
            raise PermissionDenied
        return store

    @button("PEM", icon="download", url_path="pem")
    def download_pem(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store: TrustStore = self.found(request, object_id)
        return attachment(
            truststore.export_pem(store),
            filename=f"{store.name}.pem",
            media_type="application/x-pem-file",
        )

    @button("PKCS #7", icon="download", url_path="p7b")
    def download_p7b(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store: TrustStore = self.found(request, object_id)
        return attachment(
            truststore.export_p7b(store),
            filename=f"{store.name}.p7b",
            media_type="application/x-pkcs7-certificates",
        )


def _anchors_of(store: TrustStore) -> list[dict[str, Any]]:
    now = timezone.now()
    rows = store.anchors.select_related("authority")
    return [
        {
            "row": row,
            "fingerprint": colons(row.sha256),
            "expires": day_with_distance(row.not_after, at=now),
        }
        for row in rows.defer("der")
    ]


def _root(form: AnchorForm) -> dict[str, Any]:
    authority = form.cleaned_data["authority"]
    if authority:
        return {"authority": authority}
    certificate = files.read_certificate(form.content())
    return {"certificate": certificate.public_bytes(Encoding.DER)}
