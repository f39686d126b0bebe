"""Groups: what people may do in the console who are no administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from pki.admin.base import ConsoleAdmin, recorded
from pki.admin.forms import GroupForm

FRAMEWORK = ("admin", "auth", "contenttypes", "sessions")  # rights over these are for admins
RIGHTS_IN_WORDS = {"add_revocationlist": "publish"}

if admin.site.is_registered(Group):
    admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(ConsoleAdmin):
    """What people may do who use the console without being administrators."""

    form = GroupForm
    search_fields = ("name",)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs["queryset"] = _rights_there_are(self.admin_site)
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "permissions" and field is not None:
            field.label_from_instance = _right_in_words
            field.help_text = ""
        return field

    def save_related(
        self, request: HttpRequest, form: forms.ModelForm, formsets: Any, change: bool
    ) -> None:
        group, detail = form.instance, dict[str, Any]()
        with recorded(request, action="group.changed", target=group.name, detail=detail):
            if "permissions" in form.changed_data:
                super().save_related(request, form, formsets, change)
            names = group.permissions.values_list("codename", flat=True)
            detail["permissions"] = sorted(names)


def _rights_there_are(site: Any) -> QuerySet[Permission]:
    """The permissions that mean something on a page of the console."""
    known = Q(pk__in=[])
    for model, page in site._registry.items():
        if model._meta.app_label not in FRAMEWORK:
            rights = getattr(page, "rights", ("view", "add", "change", "delete"))
            names = [f"{right}_{model._meta.model_name}" for right in rights]
            known |= Q(content_type__app_label=model._meta.app_label, codename__in=names)
    return Permission.objects.filter(known).select_related("content_type")


def _right_in_words(permission: Permission) -> str:
    right = permission.codename.split("_")[0]
    model = permission.content_type.model_class()
    noun = model._meta.verbose_name_plural if model else permission.content_type.name
    return f"{noun}: {RIGHTS_IN_WORDS.get(permission.codename, right)}"
