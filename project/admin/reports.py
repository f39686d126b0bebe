"""Reported messages in the console: who reported what and why, the message itself, and a verdict."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString

from chat import moderation
from chat.errors import ChatError
from chat.models import Report, Room
from pki.admin.base import ReadOnlyAdmin, column, identity_of, posted
from pki.admin.columns import admin_url, badge, link, list_url, minute, unbroken
from pki.models import AuditEntry

State = Report.State
TONES = {State.OPEN: "warn", State.UPHELD: "bad", State.DISMISSED: ""}
SETTLED = {State.UPHELD: "The report is upheld.", State.DISMISSED: "The report is dismissed."}


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    """The list shows no message. Its page does, to who may settle it, and each look is recorded."""

    rights = ("view", "moderate")
    list_display = ("moment", "state_shown", "room", "by", "author", "reason")
    list_display_links = ("moment",)
    list_filter = ("state",)
    list_select_related = ("by", "message__room", "message__author")
    search_fields = ("by__username", "message__author__username", "message__room__slug")
    search_help_text = "Who reported, who wrote, or address of the room"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        queryset: QuerySet[Report] = super().get_queryset(request).defer("message__body")
        is_open = Case(When(state=State.OPEN, then=Value(0)), default=Value(1))
        return queryset.order_by(is_open, "-at", "-pk")

    def get_urls(self) -> list[URLPattern]:
        settle = self.admin_site.admin_view(self.settle_view)
        delete = self.admin_site.admin_view(self.uphold_and_delete_view)
        return [
            path("<int:pk>/settle/", settle, name="chat_report_settle"),
            path("<int:pk>/uphold-and-delete/", delete, name="chat_report_uphold_and_delete"),
            *super().get_urls(),
        ]

    def audit_words(self, obj: Report) -> str:
        return f"room:{obj.message.room.slug}"

    # --- Who may do what ---

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed: bool = self.may_moderate(request) or super().has_view_permission(request, obj)
        return allowed

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def may_moderate(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.moderate_report")

    # --- Columns ---

    @column("When", ordering="at")
    def moment(self, obj: Report) -> SafeString:
        return unbroken(minute(obj.at))

    @column("State", ordering="state")
    def state_shown(self, obj: Report) -> SafeString:
        return badge(obj.get_state_display().lower(), TONES[State(obj.state)])

    @column("Room", ordering="message__room__slug")
    def room(self, obj: Report) -> str:
        return obj.message.room.slug

    @column("Written by", ordering="message__author")
    def author(self, obj: Report) -> str:
        return str(obj.message.author)

    # --- The page of one ---

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        found = self._to_moderate(request, object_id)
        said = moderation.read_reported(actor=identity_of(request), report=found, at=timezone.now())
        room = found.message.room
        sees_rooms = self.admin_site.get_model_admin(Room).has_view_permission(request)
        return self.page(
            request,
            "project/report.html",
            title=f"Report of {minute(found.at)}",
            obj=found,
            said=said[:1],
            before=said[1:],
            state=self.state_shown(found),
            is_open=found.state == State.OPEN,
            may_delete=moderation.may_delete(found),
            reported=minute(found.at),
            written=minute(found.message.at),
            settled=minute(found.settled_at),
            trail=link(
                list_url(AuditEntry, q=self.audit_words(found)), "What was done in this room"
            ),
            room_link=link(admin_url(room), room) if sees_rooms else str(room),
            back_url=list_url(Report),
        )

    def settle_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        found, verdict = self._to_moderate(request, str(pk)), request.POST.get("state")
        if verdict not in SETTLED:
            raise Http404
        try:
            moderation.settle_report(
                actor=identity_of(request), report=found, state=State(verdict), at=timezone.now()
            )
            messages.success(request, SETTLED[State(verdict)])
        except ChatError as error:
            messages.error(request, str(error))
        return redirect(list_url(Report))

    def uphold_and_delete_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks first: what is deleted is gone for good."""
        found = self._to_moderate(request, str(pk))
        form = forms.Form(posted(request))
        if not form.is_bound:
            return self.page(
                request,
                "pki/console_form.html",
                title="Uphold the report and delete the message?",
                obj=found,
                form=form,
                intro=f"The message of {found.message.author} in {found.message.room} is gone for "
                "good, with its files and earlier versions. Its room sees that it was removed, and "
                "not that it was reported.",
                button_text="Uphold and delete",
                danger=True,
            )
        try:
            moderation.uphold_and_delete(
                actor=identity_of(request), report=found, at=timezone.now()
            )
            messages.success(request, "The report is upheld and the message deleted.")
        except ChatError as error:
            messages.error(request, str(error))
        return redirect(list_url(Report))

    def _to_moderate(self, request: HttpRequest, object_id: str) -> Report:
        found: Report = self.found(request, object_id)
        if not self.may_moderate(request):
            raise PermissionDenied
        return found
