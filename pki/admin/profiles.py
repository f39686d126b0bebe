"""Profiles: what kinds of certificates there are, and what each may contain."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.safestring import SafeString

from pki import catalogue
from pki.admin.base import (
    DANGER,
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
from pki.admin.columns import badge, unbroken
from pki.admin.profile_forms import USAGE_WORDS, NewProfileForm, ProfileForm
from pki.algorithms import KEY_TYPES
from pki.errors import PKIError
from pki.models import Certificate, CertificateProfile


@admin.register(CertificateProfile)
class ProfileAdmin(ReadOnlyAdmin):
    rights = ("view", "add", "change")
    list_display = ("title", "short", "what_for", "validity", "keys", "yes", "in_use", "state")
    list_display_links = ("title",)
    list_filter = ("purpose", "enabled")
    search_fields = ("name", "label")
    fieldsets = ((None, {"fields": (("title", "short"),)}),)
    readonly_fields = ("title", "short")
    search_help_text = "Name or short name"
    actions_detail = ("edit", "copy", "switch_off", "switch_on", "remove")
    change_form_outer_after_template = "pki/_console_profile.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CertificateProfile]:
        queryset: QuerySet[CertificateProfile] = super().get_queryset(request)
        counted = Certificate.objects.active(timezone.now()).order_by()
        held = counted.filter(profile=OuterRef("name")).values("profile").annotate(n=Count("pk"))
        number = Subquery(held.values("n"), output_field=IntegerField())
        return queryset.annotate(held=Coalesce(number, 0))

    def audit_words(self, obj: CertificateProfile) -> str:
        return f"profile {obj.name}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.add_certificateprofile")

    def has_edit_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.change_certificateprofile")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        row = self.get_object(request, str(object_id))
        hidden = []
        if row is None or not self.has_edit_permission(request):
            hidden += ["edit", "switch_off", "switch_on", "remove"]
        else:
            hidden += ["switch_on"] if row.enabled else ["switch_off"]
            hidden += ["remove"] if row.built_in else []
        if not self.has_add_permission(request):
            hidden.append("copy")
        return without(actions, *hidden)

    # --- Columns ---

    @column("Name", ordering="label")
    def title(self, obj: CertificateProfile) -> str:
        return obj.label

    @column("Short name", ordering="name")
    def short(self, obj: CertificateProfile) -> SafeString:
        return unbroken(obj.name)

    @column("For", ordering="purpose")
    def what_for(self, obj: CertificateProfile) -> str:
        return obj.get_purpose_display()

    @column("Valid for", ordering="validity_days")
    def validity(self, obj: CertificateProfile) -> SafeString:
        return unbroken(_days(obj.validity_days))

    @column("Keys")
    def keys(self, obj: CertificateProfile) -> str:
        return ", ".join(KEY_TYPES.get(kind, kind) for kind in obj.key_types)

    @column("Approvals", ordering="approvals")
    def yes(self, obj: CertificateProfile) -> str:
        return str(obj.approvals or "none")

    @column("Valid certificates", ordering="held")
    def in_use(self, obj: Any) -> int:
        return int(obj.held)

    @column("State", ordering="enabled")
    def state(self, obj: CertificateProfile) -> SafeString:
        return badge("on", "good") if obj.enabled else badge("off", "warn")

    # --- Pages ---

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return self._create(request, CertificateProfile(built_in=False), title="New profile")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        context = {**(_admitted(row) if row else {}), **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    @button("Edit", icon="edit", variant=PRIMARY)
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._changeable(request, object_id)
        before_label = row.label
        form = ProfileForm(posted(request), instance=row)
        if form.is_valid():
            before = CertificateProfile.objects.get(pk=row.pk)  # the form has changed its own
            with refusals_of(form):
                changed = catalogue.change_profile(
                    actor=actor(request),
                    profile=before,
                    changes={name: form.cleaned_data[name] for name in form.changed_data},
                    at=timezone.now(),
                )
                messages.success(request, f"{changed}: what is issued from now on follows this.")
                return redirect(self.url_of(changed))
        return self._form(
            request,
            form,
            title=f"Edit “{before_label}”",
            obj=row,
            intro="Certificates that were issued stay as they are.",
        )

    @button("Copy", icon="content_copy")
    def copy(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: CertificateProfile = self.found(request, object_id)
        fields = catalogue.fields_of(catalogue.rules(row)) | {"name": "", "label": ""}
        return self._create(request, CertificateProfile(**fields), title=f"Copy of “{row}”")

    @button("Switch off", icon="toggle_off", variant=DANGER)
    def switch_off(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(
            request,
            object_id,
            enabled=False,
            intro="Nothing is issued or renewed by this profile then: servers, OCSP responders and "
            "people who depend on it go without when their certificates end. Those that were "
            "issued stay valid.",
        )

    @button("Switch on", icon="toggle_on", variant=PRIMARY)
    def switch_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(
            request, object_id, enabled=True, intro="Certificates are issued by it again."
        )

    @button("Remove", icon="delete", variant=DANGER)
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._changeable(request, object_id)
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                catalogue.remove_profile(actor=actor(request), profile=row, at=timezone.now())
                messages.success(request, f"{row} is gone.")
                return redirect(self.url_of())
        return self._form(
            request,
            form,
            title=f"Remove “{row}”?",
            obj=row,
            intro="It is gone for good. Only a profile that was never used can be removed.",
            button_text="Remove",
            danger=True,
        )

    # --- Parts ---

    def _create(
        self, request: HttpRequest, model: CertificateProfile, *, title: str
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewProfileForm(posted(request), instance=model)
        if form.is_valid():
            with refusals_of(form):
                made = catalogue.create_profile(
                    actor=actor(request), profile=form.instance, at=timezone.now()
                )
                messages.success(request, f"{made} exists now.")
                return redirect(self.url_of(made))
        intro = "What a kind of certificate may contain. It can be chosen as soon as it is created."
        return self._form(request, form, title=title, button_text="Create", intro=intro)

    def _switch(
        self, request: HttpRequest, object_id: str, *, enabled: bool, intro: str
    ) -> HttpResponse:
        row, word = self._changeable(request, object_id), "on" if enabled else "off"
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                catalogue.change_profile(
                    actor=actor(request),
                    profile=row,
                    changes={"enabled": enabled},
                    at=timezone.now(),
                )
                messages.success(request, f"{row} is {word} now.")
                return redirect(self.url_of(row))
        title = f"Switch “{row}” {word}?"
        text = f"Switch {word}"
        return self._form(
            request,
            form,
            title=title,
            obj=row,
            intro=intro,
            button_text=text,
            danger=not enabled,
        )

    def _form(self, request: HttpRequest, form: Any, **context: Any) -> HttpResponse:
        return self.page(request, "pki/console_form.html", form=form, **context)

    def _changeable(self, request: HttpRequest, object_id: str) -> CertificateProfile:
        row: CertificateProfile = self.found(request, object_id)
        if not self.has_edit_permission(request):
            raise PermissionDenied
        return row


def _admitted(row: CertificateProfile) -> dict[str, Any]:
    """What the profile admits, as lines of a table; or why it admits nothing."""
    try:
        rules = catalogue.rules(row)
    except PKIError as error:
        return {"unsound": str(error)}
    usages = [USAGE_WORDS[usage] for usage in row.key_usage]
    lines = [
        ("For", row.get_purpose_display()),
        ("Valid for", _days(row.validity_days)),
        ("Kinds of key", ", ".join(KEY_TYPES[kind] for kind in rules.key_types)),
        ("Key usage", ", ".join(usages)),
        ("Purposes (extended key usage)", ", ".join(rules.extended_key_usage) or "none: a CA"),
        ("Alternative names", row.get_names_display()),
    ]
    if rules.is_ca:
        lines.append(("CAs below it", str(rules.path_length or "none")))
    else:
        limit = f"{rules.per_person} valid at once" if rules.per_person else "no limit"
        lines += [
            ("What a request asks beyond this", row.get_excess_display()),
            ("Approvals before it is issued", str(rules.approvals or "none")),
            *([("Certificates of one person", limit)] if rules.is_for_people else []),
        ]
    return {"lines": lines, "signs_in": rules.signs_in}


def _days(days: int) -> str:
    return f"{days // 365} years" if days >= 730 and days % 365 == 0 else f"{days} days"
