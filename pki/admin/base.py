"""What all pages of the console share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import unfold.decorators
from django import forms
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.enums import ActionVariant

from pki import audit
from pki.admin.columns import admin_url, audit_url, list_url
from pki.changes import announce_change
from pki.description import plain_digits
from pki.errors import PKIError
from pki.forms import ShownForm
from pki.identity import Identity
from pki.models import User

Function = TypeVar("Function", bound=Callable[..., Any])
DANGER, PRIMARY = ActionVariant.DANGER, ActionVariant.PRIMARY


class ConsoleAdmin(ModelAdmin):
    """A page whose changes are verbs: nothing is deleted here, and history is the audit trail."""

    list_per_page = 50
    empty_value_display = "–"
    compressed_fields = True
    form = ShownForm
    rights: tuple[str, ...] = ("view",)  # what a group can be given here

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Fingerprints and serial numbers are found with and without colons."""
        found: tuple[Any, bool] = super().get_search_results(
            request, queryset, plain_digits(search_term)
        )
        return found

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the menu that opens related rows in a window of their own."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {"show_save_and_add_another": False, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect(audit_url(self.audit_words(self.found(request, object_id))))

    def audit_words(self, obj: Any) -> str:
        """What to search the audit trail for, to see the history of a row."""
        return str(obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """Nothing: the audit trail is the only history, a second one would tell less."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """Nothing, as above."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        """Nothing, as above."""

    def save_model(
        self, request: HttpRequest, obj: models.Model, form: forms.ModelForm, change: bool
    ) -> None:
        """Save only what was changed: meanwhile a verb may have changed the rest."""
        if not change:
            obj.save()
            return
        columns = {field.name for field in obj._meta.concrete_fields}
        obj.save(update_fields=[name for name in form.changed_data if name in columns])

    def found(self, request: HttpRequest, object_id: str) -> Any:
        """The row behind a URL, if this person may see it."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        return obj

    def page(
        self, request: HttpRequest, template: str, *, title: str, obj: Any = None, **context: Any
    ) -> HttpResponse:
        """A page of our own in the console's frame; never kept by a browser."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "model_admin": self,
            "original": obj,
            "title": title,
            "back_url": self.url_of(obj),
            **context,
        }
        form = context.get("form")
        status = 400 if form is not None and form.is_bound and form.errors else 200
        response = TemplateResponse(request, template, context, status=status)
        response["Cache-Control"] = "no-store"
        return response

    def url_of(self, obj: Any = None) -> str:
        return admin_url(obj) if obj else list_url(self.model)


class ReadOnlyAdmin(ConsoleAdmin):
    """Rows that only verbs write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# --- Verbs and their refusals ---------------------------------------------------------------


@contextmanager
def refusals_of(form: forms.BaseForm, field: str | None = None) -> Iterator[None]:
    """What a verb refuses becomes an error of the form that asked for it."""
    try:
        yield
    except PKIError as error:
        audit.record_refusal(error)
        form.add_error(field, str(error))


def posted(request: HttpRequest) -> QueryDict | None:
    """What was sent; None for a page that is only looked at."""
    return request.POST if request.method == "POST" else None


def actor(request: HttpRequest) -> str:
    assert isinstance(request.user, User)
    return request.user.username


def certificate_id(request: HttpRequest) -> int:
    """The certificate that this person is known by on this connection."""
    return identity_of(request).certificate_id


def identity_of(request: HttpRequest) -> Identity:
    identity = getattr(request, "identity", None)
    assert isinstance(identity, Identity)
    return identity


def person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@contextmanager
def recorded(
    request: HttpRequest, *, action: str, target: str, detail: dict[str, Any]
) -> Iterator[None]:
    """A change of plain rows: written, recorded and announced in one transaction."""
    with transaction.atomic():
        yield
        audit.record(
            actor=actor(request), action=action, target=target, detail=detail, at=timezone.now()
        )
        announce_change()


# --- Buttons and columns --------------------------------------------------------------------


def button(
    description: str, *, icon: str, variant: ActionVariant | None = None, url_path: str = ""
) -> Callable[[Function], Function]:
    """A button on the page of one row. The view itself asks for the permission."""

    def decorate(function: Function) -> Function:
        decorated = unfold.decorators.action(
            function,
            description=description,
            icon=icon,
            variant=variant or ActionVariant.DEFAULT,
            url_path=url_path or function.__name__.replace("_", "-"),
        )
        return cast(Function, decorated)

    return decorate


def column(
    description: str, *, ordering: Any = None, empty: str | None = None
) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        decorated = unfold.decorators.display(
            function, description=description, ordering=ordering, empty_value=empty
        )
        return cast(Function, decorated)

    return decorate


def without(actions: Sequence[Any], *names: str) -> list[Any]:
    """Buttons except those that make no sense for this row or person."""
    return [a for a in actions if not any(a.action_name.endswith(f"_{n}") for n in names)]
