"""Exports in the console: asked for at a room or a person, watched, downloaded and removed here."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from chat.file_views import streamed
from pki import audit
from pki.admin.base import ConsoleAdmin, ReadOnlyAdmin, actor, column, identity_of, posted, without
from pki.admin.columns import admin_url, audit_url, badge, link, list_url, minute, unbroken
from pki.admin.operations import OperationAdmin
from pki.errors import StateError
from pki.identity import IdentityError, recheck
from pki.models import Operation, User
from project import exports
from project.models import Export


def may_export(request: HttpRequest) -> bool:
    return request.user.has_perm("chat.export_room")


def _still_may_export(request: HttpRequest) -> bool:
    """By what the database says now, not when the request began."""
    identity = identity_of(request)
    try:
        recheck(identity, at=timezone.now())
    except IdentityError:
        return False
    user = User.objects.get(pk=identity.user_id)
    return user.is_staff and user.has_perm("chat.export_room")


class ExportButton(ModelAdmin):
    """A button "Export" for those who may. All else is as on the page that it is put on: of the
    console's ways nothing is inherited here, as it would go before that page's own."""

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        return without(actions, *([] if may_export(request) else ["export"]))


class Begin(Protocol):
    def __call__(self, *, actor: str, at: Any) -> Operation: ...


def export_page(
    page: ConsoleAdmin, request: HttpRequest, obj: Any, *, begin: Begin, subject: str, what: str
) -> HttpResponse:
    """Ask once more, then begin it and show how far it is."""
    if not may_export(request):
        raise PermissionDenied
    if forms.Form(posted(request)).is_valid():
        return redirect(admin_url(begin(actor=actor(request), at=timezone.now())))
    return page.page(
        request,
        "pki/console_form.html",
        title=f"Export {obj}",
        obj=obj,
        form=forms.Form(),
        button_text="Export",
        intro=format_html(
            "{} into a ZIP file. It is kept on the server for {} days, for the server's own account "
            "and for download by people with this right. All of it is recorded in the audit trail. "
            "{}",
            what,
            exports.KEPT.days,
            link(list_url(Export, q=subject), "Exports that are kept"),
        ),
    )


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    """For who may export such a thing, whoever made it; one that is not whole is not there."""

    rights = ()
    list_display = ("moment", "of", "made_by", "size_shown", "place")
    list_display_links = ("moment",)
    search_fields = ("subject", "made_by")
    search_help_text = "Person, address of the room, or who made it"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Export]:
        """Exports of people of the console are for administrators, as making them is."""
        found = exports.finished()
        if request.user.is_superuser:
            return found
        of_console = User.objects.filter(Q(is_staff=True) | Q(is_superuser=True))
        return found.exclude(subject__in=of_console.values("username"))

    def get_urls(self) -> list[URLPattern]:
        download = self.admin_site.admin_view(self.download_view)
        remove = self.admin_site.admin_view(self.remove_view)
        return [
            path("<uuid:pk>/download/", download, name="project_export_download"),
            path("<uuid:pk>/remove/", remove, name="project_export_remove"),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_export(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_export(request)

    def audit_words(self, obj: Export) -> str:
        return obj.subject

    # --- Columns ---

    @column("Made", ordering="at")
    def moment(self, obj: Export) -> SafeString:
        return unbroken(minute(obj.at))

    @column("Of", ordering="subject")
    def of(self, obj: Export) -> str:
        return f"room {obj.called}" if obj.is_of_room else obj.called

    @column("Size", ordering="size")
    def size_shown(self, obj: Export) -> SafeString:
        return unbroken(filesizeformat(obj.size or 0))

    @column("File")
    def place(self, obj: Export) -> SafeString:
        return badge("here", "good") if exports.is_here(obj) else badge("not here", "warn")

    # --- The page of one ---

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        found: Export = self.found(request, object_id)
        is_here = exports.is_here(found)
        return self.page(
            request,
            "project/export.html",
            title=f"Export of {self.of(found)}",
            obj=found,
            size=self.size_shown(found),
            made=minute(found.at),
            until=minute(found.at + exports.KEPT),
            days=exports.KEPT.days,
            elsewhere="" if is_here else exports.ELSEWHERE,
            trail=link(audit_url(found.subject), f"What was done with {self.of(found)}"),
            list_url=list_url(Export),
        )

    def download_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        found: Export = self.found(request, str(pk))
        try:
            file = exports.read(actor=actor(request), kept=found, at=timezone.now())
        except StateError as error:
            return self._refused(request, found, error)
        still = partial(_still_may_export, request)
        response = streamed(request, file, "application/zip", may_go_on=still)
        named = content_disposition_header(as_attachment=True, filename=found.file_name)
        response["Content-Disposition"] = named or "attachment"
        return response

    def remove_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        found: Export = self.found(request, str(pk))
        try:
            exports.remove(actor=actor(request), kept=found, at=timezone.now())
        except StateError as error:
            return self._refused(request, found, error)
        messages.success(request, "The export is removed from the server.")
        return redirect(list_url(Export))

    def _refused(self, request: HttpRequest, found: Export, error: StateError) -> HttpResponse:
        audit.record_refusal(error)
        messages.error(request, str(error))
        return redirect(list_url(Export))


admin.site.unregister(Operation)


@admin.register(Operation)
class ExportingOperationAdmin(OperationAdmin):
    def leads_to(self, request: HttpRequest, operation: Operation) -> tuple[str, str]:
        made = exports.finished().filter(operation=operation).first()
        if made and may_export(request):
            return admin_url(made), "To the export"
        return super().leads_to(request, operation)
