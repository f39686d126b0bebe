"""Trust stores: which roots the endpoints believe."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString

from pki import permissions, truststore
from pki.admin.base import actor, button, column, person, posted, refusals_of, without
from pki.admin.columns import badge, day_with_distance, minute
from pki.admin.forms import TrustStoreForm
from pki.admin.trust_pages import TrustPages, exports_of
from pki.admin.truststore_forms import DatesForm, RecognitionForm
from pki.description import colons
from pki.models import Anchor, Endpoint, TrustStore


@admin.register(TrustStore)
class TrustStoreAdmin(TrustPages):
    rights = ("view", "add", "change")
    list_display = ("name", "description", "anchor_count", "first_expiry", "used_by")
    fieldsets = ((None, {"fields": (("name", "description"), "recognises")}),)
    actions_detail = ("add_anchor", "adopt", "import_crl", "recognition")
    change_form_outer_after_template = "pki/_console_truststore.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrustStore]:
        queryset: QuerySet[TrustStore] = super().get_queryset(request)
        return queryset.prefetch_related("endpoints").annotate(
            anchor_number=Count("anchors"), expires=Min("anchors__not_after")
        )

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "<int:object_id>/anchors/<int:anchor_id>/withdraw/": self.withdraw_anchor,
            "<int:object_id>/anchors/<int:anchor_id>/dates/": self.date_anchor,
            "<int:object_id>/export/<str:format>/": self.export,
        }
        names = ("withdraw", "dates", "export")
        own = [
            path(route, self.admin_site.admin_view(page), name=f"pki_truststore_{name}")
            for (route, page), name in zip(pages.items(), names, strict=True)
        ]
        return [*own, *super().get_urls()]

    def audit_words(self, obj: TrustStore) -> str:
        return f"trust store {obj.name}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.add_truststore")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        hidden = [] if self.has_trust_permission(request) else ["add_anchor", "import_crl"]
        if not self.has_recognition_permission(request):
            hidden.append("recognition")
        if not permissions.may_issue(person(request)):
            hidden.append("adopt")
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
            "exports": exports_of(store) if store and store.anchors.exists() else [],
            "may_withdraw": self.has_trust_permission(request),
            **(extra_context or {}),
        }
        return super().changeform_view(request, object_id, form_url, context)

    @button("Recognition", icon="how_to_reg")
    def recognition(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store = self._changeable(request, object_id)
        if not self.has_recognition_permission(request):
            raise PermissionDenied
        form = RecognitionForm(posted(request), initial={"recognises": store.recognises})
        if form.is_valid():
            with refusals_of(form):
                truststore.set_recognition(
                    actor=actor(request), truststore=store, at=timezone.now(), **form.cleaned_data
                )
                said = store.get_recognises_display()
                messages.success(request, f"A certificate from elsewhere becomes a person: {said}.")
                return redirect(self.url_of(store))
        intro = (
            "Somebody comes with a certificate that this store trusts and that was not issued here: "
            "who is it? By a name, whoever runs such a CA decides who signs in here, as anybody but "
            "people of the console; a current CRL of every CA on the way is needed. Choosing “never” "
            "again ends this for new ones alone: revoke those that were recognised."
        )
        return self._form(request, store, form, "Who is recognised?", "Save", intro=intro)

    def date_anchor(self, request: HttpRequest, object_id: int, anchor_id: int) -> HttpResponse:
        store = self._receiving(request, str(object_id))
        anchor = _anchor_of(store, anchor_id)
        initial = {name: DatesForm.initial_of(getattr(anchor, name)) for name in DATES}
        form = DatesForm(posted(request), initial=initial)
        if form.is_valid():
            with refusals_of(form):
                truststore.date_anchor(
                    actor=actor(request), anchor=anchor, at=timezone.now(), **form.cleaned_data
                )
                messages.success(request, f"The dates of {anchor} are set.")
                return redirect(self.url_of(store))
        intro = (
            f"{anchor} counts between these moments alone, for example while one root takes over "
            "from another. Endpoints notice within two minutes."
        )
        return self._form(request, store, form, "When is this root trusted?", "Save", intro=intro)

    def withdraw_anchor(self, request: HttpRequest, object_id: int, anchor_id: int) -> HttpResponse:
        store = self._changeable(request, str(object_id))
        anchor = _anchor_of(store, anchor_id)
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


def _anchor_of(store: TrustStore, anchor_id: int) -> Anchor:
    anchor = Anchor.objects.filter(truststore=store, pk=anchor_id).first()
    if anchor is None:
        raise Http404
    return anchor


DATES = ("trusted_from", "trusted_until")


def _dates(row: Anchor) -> str:
    """From when and until when it counts, where that is limited."""
    if row.trusted_from is None and row.trusted_until is None:
        return ""
    first = f"from {minute(row.trusted_from)}" if row.trusted_from else ""
    last = f"until {minute(row.trusted_until)}" if row.trusted_until else ""
    return " ".join(filter(None, (first, last)))


def _state(row: Anchor, *, at: dt.datetime) -> SafeString | str:
    """Whether an anchor counts now, where its dates say that it does not always."""
    if row.trusted_from and row.trusted_from > at:
        return badge("not yet trusted", "warn")
    if row.trusted_until and row.trusted_until <= at:
        return badge("no longer trusted")
    return badge("trusted now", "good") if row.trusted_until else ""


def _anchors_of(store: TrustStore) -> list[dict[str, Any]]:
    now = timezone.now()
    rows = store.anchors.select_related("authority__certificate")
    return [
        {
            "row": row,
            "fingerprint": colons(row.sha256),
            "expires": day_with_distance(row.not_after, at=now),
            "dates": _dates(row),
            "state": _state(row, at=now),
            "is_outside": row.authority is None or row.authority.certificate.key_id is None,
        }
        for row in rows.defer("der")
    ]
