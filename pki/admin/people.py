"""People and roles: who exists, whose account is open, and their way to a certificate."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm

from pki import addresses, audit, enrolment
from pki import people as verbs
from pki.admin.base import (
    PRIMARY,
    actor,
    button,
    certificate_id,
    column,
    person,
    posted,
    refusals_of,
    without,
)
from pki.admin.columns import admin_url, badge, day_with_distance, link, list_url, status_badge
from pki.admin.forms import LinkForm, PersonChangeForm, PersonForm
from pki.admin.many import ManyPeopleAdmin
from pki.errors import NotAllowedError
from pki.models import Certificate, Invitation, User
from pki.permissions import (
    may_create_people,
    may_give_rights,
    may_issue,
    may_manage,
    may_set_email,
    may_set_password,
    may_switch,
    may_take_console,
)

CERTIFICATES_SHOWN = 50
RIGHTS = ("is_staff", "is_superuser", "groups")
EMAIL_DECIDES = (
    "A trust store recognises people by their e-mail address, so only people who may issue "
    "certificates set one."
)
NAME_DECIDES = (
    "A trust store recognises people by their username, so only people who may issue certificates "
    "create somebody."
)


class AccountFilter(admin.SimpleListFilter):
    title = "account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("disabled", "Disabled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return queryset.filter(is_active=self.value() == "open") if self.value() else queryset


class HasCertificateFilter(admin.SimpleListFilter):
    title = "valid certificate"
    parameter_name = "certificate"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Has one"), ("no", "Has none")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if self.value() is None:
            return queryset
        return queryset.filter(**{f"valid__{'gt' if self.value() == 'yes' else 'exact'}": 0})


class PersonPageForm(PersonChangeForm):
    """Says that there are no groups, where there are none."""

    no_groups = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.no_groups and "groups" in self.fields:
            self.fields["groups"].help_text = self.no_groups


@admin.register(User)
class PersonAdmin(ManyPeopleAdmin):
    rights = ("view", "add", "change")
    form = PersonPageForm
    list_display = ("named", "account", "valid_certificates", "last_expiry", "role")
    list_filter = (AccountFilter, HasCertificateFilter, "is_staff")
    search_fields = ("username", "name", "email")
    search_help_text = "Username, name or e-mail"
    ordering = ("username",)
    readonly_fields = ("login", "account", "console_password")
    fieldsets = (
        (None, {"fields": (("login", "account"), ("name", "email"))}),
        (
            "Console",
            {"fields": (("is_staff", "is_superuser"), "groups", "console_password")},
        ),
    )
    actions_detail: tuple[str, ...] = ("issue", "invite", "set_password", "enable", "disable")
    change_form_outer_after_template = "pki/_console_person.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Subqueries, so that a page of people costs what its own people's certificates cost."""
        valid = Certificate.objects.active(timezone.now()).filter(owner=OuterRef("pk")).order_by()
        each = valid.values("owner")
        queryset: QuerySet[User] = super().get_queryset(request)
        return queryset.annotate(
            valid=Coalesce(Subquery(each.annotate(number=Count("*")).values("number")), 0),
            expires=Subquery(each.annotate(last=Max("not_after")).values("last")),
        )

    def audit_words(self, obj: User) -> str:
        return obj.username

    # --- Who may do what ---

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and (not isinstance(obj, User) or may_manage(person(request), obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        own = person(request)
        if not may_give_rights(own):
            return (*self.readonly_fields, *RIGHTS)
        is_free = obj is None or may_take_console(own, obj)
        return self.readonly_fields if is_free else (*self.readonly_fields, *RIGHTS[:2])

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        subject = self.get_object(request, str(object_id))
        if subject is None or not may_manage(person(request), subject):
            return []
        hidden = ["enable"] if subject.is_active else ["disable", "issue", "invite"]
        if not may_issue(person(request)):
            hidden += ["issue", "invite"]
        can_change = super().has_change_permission(request)
        if not (can_change and may_switch(person(request), subject)):
            hidden += ["enable", "disable"]
        if not may_set_password(person(request), subject):
            hidden += ["set_password"]
        return without(actions, *hidden)

    def managed(self, request: HttpRequest, object_id: str) -> User:
        """The person behind a URL, for somebody who may manage them."""
        subject: User = self.found(request, object_id)
        if not may_manage(person(request), subject):
            raise PermissionDenied("Only administrators manage people of the console.")
        return subject

    # --- Columns ---

    @column("Person", ordering="username")
    def named(self, obj: User) -> str:
        return f"{obj.name} · {obj.username}" if obj.name else obj.username

    @column("Username")
    def login(self, obj: User) -> str:
        return obj.username

    @column("Account", ordering="is_active")
    def account(self, obj: User) -> SafeString:
        return badge("open", "good") if obj.is_active else badge("disabled", "bad")

    @column("Valid certificates", ordering="valid")
    def valid_certificates(self, obj: Any) -> SafeString | int:
        return obj.valid or badge("none", "warn" if obj.is_active else "")

    @column("Last expiry", ordering="expires")
    def last_expiry(self, obj: Any) -> SafeString | str:
        return day_with_distance(obj.expires, at=timezone.now()) if obj.expires else "–"

    @column("Console", ordering="is_staff")
    def role(self, obj: User) -> SafeString | str:
        if obj.is_superuser:
            return badge("administrator", "info")
        return badge("console", "info") if obj.is_staff else "–"

    @column("Console password")
    def console_password(self, obj: User) -> str:
        if not obj.is_staff:
            return "Not needed: this person does not use the console."
        if obj.has_usable_password():
            return "Set."
        return "Not set. It is chosen with the next enrolment link, or set here."

    # --- Pages ---

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = PersonForm(posted(request), may_make_admins=person(request).is_superuser)
        if form.is_valid() and form.cleaned_data["email"] and not may_set_email(person(request)):
            name = form.cleaned_data["username"]
            form.add_error("email", _refused(request, EMAIL_DECIDES, "person.create", name))
        if form.is_valid() and not may_create_people(person(request)):
            name = form.cleaned_data["username"]
            form.add_error("username", _refused(request, NAME_DECIDES, "person.create", name))
        if form.is_valid():
            with refusals_of(form):
                made = verbs.create_person(
                    actor=actor(request), at=timezone.now(), **form.cleaned_data
                )
                messages.success(request, f"{made} exists now. Next: a link to their certificate.")
                for sentence in verbs.recognised_by(made):
                    messages.warning(request, sentence)
                return redirect(self.url_of(made))
        return self.page(request, "pki/console_form.html", title="New person", form=form)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        subject = self.get_object(request, object_id) if object_id else None
        shown: dict[str, Any] = {}
        if subject is not None and _may_view_certificates(request):
            shown["certificates"] = _certificates_of(subject)
            shown["all_url"] = list_url(Certificate, q=subject.username)
        if subject is not None and person(request).has_perm("pki.view_invitation"):
            shown["links"] = _open_links_of(subject)
        context = {**shown, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """A form that refuses another e-mail address to who may not choose one."""
        form = super().get_form(request, obj, change, **kwargs)
        form.no_groups = "" if Group.objects.exists() else _no_groups(person(request))
        if obj is None or may_set_email(person(request)):
            return form

        def clean_email(self: forms.ModelForm) -> str:
            if "email" in self.changed_data:
                raise forms.ValidationError(
                    _refused(request, EMAIL_DECIDES, "person.change", obj.username)
                )
            return str(self.cleaned_data["email"])

        return type(form.__name__, (form,), {"clean_email": clean_email})

    def save_model(
        self, request: HttpRequest, obj: models.Model, form: forms.ModelForm, change: bool
    ) -> None:
        assert isinstance(obj, User)
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        verbs.change_person(actor=actor(request), user=obj, changes=changes, at=timezone.now())

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: the verb has written the groups too."""

    @button("Issue certificate", icon="add_card")
    def issue(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(list_url(Certificate, "add", owner=self.managed(request, object_id).pk))

    @button("Invite", icon="link", variant=PRIMARY)
    def invite(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the device, then show the one-time link this once."""
        subject = self.managed(request, object_id)
        if not may_issue(person(request)):
            raise PermissionDenied
        form = LinkForm(posted(request))
        if form.is_valid():
            with refusals_of(form, "device"):
                invitation, token = enrolment.invite(
                    asked_with=certificate_id(request),
                    actor=actor(request),
                    user=subject,
                    device=form.cleaned_data["device"],
                    once=form.cleaned_data["link_once"],
                    at=timezone.now(),
                )
                return self.page(
                    request,
                    "pki/console_link.html",
                    title="One-time link",
                    obj=subject,
                    invitation=invitation,
                    link=addresses.enrolment_link(token),
                )
        return self.page(
            request,
            "pki/console_form.html",
            title=f"Invite {subject}",
            obj=subject,
            form=form,
            button_text="Make the link",
            intro="The link opens a page where the person downloads their certificate with its "
            "key, once. It works for 24 hours.",
        )

    @button("Disable account", icon="person_off")
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(
            request,
            object_id,
            verb=verbs.disable_person,
            title="Disable the account",
            button_text="Disable",
            intro="No certificate of this person signs in any more, and open connections are "
            "closed. The certificates are not revoked: enabling the account is enough to return.",
        )

    @button("Enable account", icon="person_check")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(
            request,
            object_id,
            verb=verbs.enable_person,
            title="Enable the account",
            button_text="Enable",
            intro="Valid certificates of this person sign in again.",
        )

    def _switch(
        self, request: HttpRequest, object_id: str, *, verb: Any, button_text: str, **context: Any
    ) -> HttpResponse:
        subject = self.managed(request, object_id)
        if not self.has_change_permission(request, subject):
            raise PermissionDenied
        if not may_switch(person(request), subject):
            raise PermissionDenied("Nobody disables their own account.")
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                verb(actor=actor(request), user=subject, at=timezone.now())
                messages.success(
                    request, f"Done: the account of {subject} is {button_text.lower()}d."
                )
                return redirect(self.url_of(subject))
        danger = button_text == "Disable"
        return self.page(
            request,
            "pki/console_form.html",
            obj=subject,
            form=form,
            button_text=button_text,
            danger=danger,
            **context,
        )

    @button("Set password", icon="password")
    def set_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For somebody who uses the console and has forgotten, or never chose, a password."""
        subject = self.managed(request, object_id)
        if not may_set_password(person(request), subject):
            raise PermissionDenied
        form = AdminPasswordChangeForm(subject, posted(request))
        form.fields.pop("usable_password", None)
        if form.is_valid():
            with refusals_of(form):
                verbs.set_console_password(
                    actor=actor(request),
                    user=subject,
                    password=form.cleaned_data["password1"],
                    at=timezone.now(),
                )
                messages.success(request, f"The console password of {subject} is set.")
                return redirect(self.url_of(subject))
        return self.page(
            request,
            "pki/console_form.html",
            title=f"Console password of {subject}",
            obj=subject,
            form=form,
            button_text="Set password",
            intro="Tell it to the person in private. It opens the console only together with "
            "their certificate, and locks every console of theirs that is open now.",
        )


def _refused(request: HttpRequest, sentence: str, action: str, username: str) -> str:
    """The sentence, written down as a refusal."""
    error = NotAllowedError(sentence)
    audit.record_refusal(error, actor=actor(request), action=action, target=username)
    return str(error)


def _no_groups(user: User) -> str:
    if not user.has_perm("auth.add_group"):
        return "No groups yet."
    return format_html("No groups yet. {}", link(list_url(Group, "add"), "Make one"))


def _may_view_certificates(request: HttpRequest) -> bool:
    return person(request).has_perm("pki.view_certificate")


def _certificates_of(owner: User) -> list[dict[str, Any]]:
    """The newest of a person's certificates; one more says "more"."""
    now, rows = timezone.now(), Certificate.objects.filter(owner=owner)
    return [
        {
            "row": row,
            "url": admin_url(row),
            "status": status_badge(row, at=now),
            "is_more": number == CERTIFICATES_SHOWN,
        }
        for number, row in enumerate(rows.defer("der")[: CERTIFICATES_SHOWN + 1])
    ]


def _open_links_of(subject: User) -> list[dict[str, Any]]:
    rows = Invitation.objects.open(timezone.now()).filter(user=subject).defer("token_sha256")
    return [{"row": row, "url": admin_url(row)} for row in rows]
