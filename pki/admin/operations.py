"""Long operations in the console: how far each is, how it ended, and a way to stop it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pki import audit, invitations, operations
from pki.admin.base import ReadOnlyAdmin, actor, column
from pki.admin.columns import badge, list_url, minute, unbroken
from pki.errors import StateError
from pki.models import InvitationList, Operation

State = Operation.State
TONES = {State.RUNNING: "info", State.DONE: "good", State.FAILED: "bad", State.STOPPED: "warn"}


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    list_display = ("title", "state_shown", "bar", "outcome_shown", "actor", "started")
    list_display_links = ("title",)
    search_fields = ("title", "actor")
    search_help_text = "Title or actor"
    ordering = ("-started_at",)

    def get_urls(self) -> list[URLPattern]:
        state = self.admin_site.admin_view(self.state_view)
        stop = self.admin_site.admin_view(self.stop_view)
        return [
            path("<int:pk>/state/", state, name="pki_operation_state"),
            path("<int:pk>/stop/", stop, name="pki_operation_stop"),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Operation | None = None) -> bool:
        """Whoever started one may watch it; the list needs the right."""
        is_own = obj is not None and obj.actor == actor(request)
        allowed: bool = is_own or super().has_view_permission(request, obj)
        return allowed

    @column("State", ordering="state")
    def state_shown(self, obj: Operation) -> SafeString:
        state = operations.state_at(obj, timezone.now())
        return badge(state.label.lower(), TONES[state])

    @column("Progress")
    def bar(self, obj: Operation) -> SafeString:
        percent = operations.percent(obj)
        return format_html(
            '<progress class="sg-progress" max="100" value="{}">{} %</progress> '
            '<span class="sg-quiet sg-nowrap">{}</span>',
            percent,
            percent,
            operations.amount(obj),
        )

    @column("Outcome")
    def outcome_shown(self, obj: Operation) -> str:
        return operations.outcome_at(obj, timezone.now()) or "–"

    @column("Started", ordering="started_at")
    def started(self, obj: Operation) -> SafeString:
        return unbroken(minute(obj.started_at))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if self.get_object(request, object_id) is None:
            away: HttpResponse = self._get_obj_does_not_exist_redirect(
                request, self.opts, object_id
            )
            return away
        found: Operation = self.found(request, object_id)
        return self.page(
            request,
            "pki/console_operation.html",
            title=found.title,
            obj=found,
            facts=self._facts(request, found),
            started=minute(found.started_at),
            may_stop=self._may_stop(request, found),
            list_url=list_url(Operation),
            may_list=self.has_view_permission(request),
        )

    def state_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How it stands, for the page that shows it."""
        return JsonResponse(self._facts(request, self.found(request, str(pk))))

    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        found: Operation = self.found(request, str(pk))
        if not self._may_stop(request, found):
            raise PermissionDenied
        try:
            operations.stop(actor=actor(request), operation=found, at=timezone.now())
            messages.success(request, "It stops after the piece it is at.")
        except StateError as error:  # it ended while somebody reached for the button
            audit.record_refusal(
                error, actor=actor(request), action="operation.stop", target=found.title
            )
            messages.warning(request, str(error))
        return redirect(self.url_of(found))

    def leads_to(self, request: HttpRequest, operation: Operation) -> tuple[str, str]:
        """Where what it has made is, and what a button there says; empty for who may not go there."""
        now = timezone.now()
        state = operations.state_at(operation, now)
        rows = InvitationList.objects.filter(operation=operation, actor=actor(request))
        found = None if state is State.RUNNING else rows.first()
        if found is None:
            return "", ""
        label = "Go on or fetch what is there"
        if state is State.DONE:
            number = invitations.number_open(found, at=now)
            label = f"Fetch the {number} links" if number > 1 else "Fetch the link"
            label = label if number else "See what became of the list"
        return reverse("admin:pki_user_many_links", args=[found.pk]), label

    def _facts(self, request: HttpRequest, operation: Operation) -> dict[str, Any]:
        url, label = self.leads_to(request, operation)
        return {**_facts(operation), "leads_to": url, "leads_label": label}

    def _may_stop(self, request: HttpRequest, obj: Operation) -> bool:
        allowed: bool = obj.actor == actor(request) or request.user.has_perm("pki.change_operation")
        return allowed


def _facts(operation: Operation) -> dict[str, Any]:
    now = timezone.now()
    state = operations.state_at(operation, now)
    return {
        "state": state.value,
        "label": state.label.lower(),
        "tone": TONES[state],
        "percent": operations.percent(operation),
        "amount": operations.amount(operation),
        "left": operations.time_left(operation, now),
        "outcome": operations.outcome_at(operation, now),
        "is_to_stop": operation.is_to_stop,
        "is_running": state is State.RUNNING,
    }
