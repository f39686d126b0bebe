"""The audit trail in the console: read, searched, verified, and its head taken elsewhere."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from pki import audit, audit_chain, audit_head, operations
from pki.admin.base import ReadOnlyAdmin, actor, button, column, posted
from pki.admin.columns import admin_url, attachment, badge, code, minute, unbroken
from pki.errors import AuditError, StateError
from pki.models import AuditBacklog, AuditEntry, AuditHead, Operation
from pki.progress import Progress, unwatched

TARGET_SHOWN = 32
REFUSED = ".refused"
MANY = 20_000  # entries whose walk takes longer than somebody waits for a page
VERIFYING = "Verify the audit trail"


class ActionFilter(admin.SimpleListFilter):
    """By what was done; the first word of an action names the noun."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        actions = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
        return [(name, name.replace(".", ": ").replace("_", " ")) for name in actions]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("number", "moment", "actor", "what", "about")
    list_display_links = ("what",)
    show_full_result_count = False  # the trail grows for ever
    list_filter = (ActionFilter,)
    search_fields = ("target", "actor")
    search_help_text = "Target or actor"
    ordering = ("-sequence",)
    date_hierarchy = "at"
    actions_list = ("verify", "export_head")
    fieldsets = (
        (None, {"fields": (("sequence", "moment"), ("actor", "what"), "target", "facts")}),
        ("Chain", {"fields": ("previous_hash", "own_hash")}),
    )
    readonly_fields = ("moment", "what", "facts", "previous_hash", "own_hash")

    @column("No.", ordering="sequence")
    def number(self, obj: AuditEntry) -> int:
        return obj.sequence

    @column("When", ordering="at")
    def moment(self, obj: AuditEntry) -> SafeString:
        return unbroken(minute(obj.at))

    @column("What", ordering="action")
    def what(self, obj: AuditEntry) -> SafeString:
        verb = obj.action.removesuffix(REFUSED)
        if verb == obj.action:
            return unbroken(verb)
        return format_html("{} {}", unbroken(verb), badge("refused", "warn"))

    @column("About", ordering="target")
    def about(self, obj: AuditEntry) -> str:
        return Truncator(obj.target).chars(TARGET_SHOWN)

    @column("Detail")
    def facts(self, obj: AuditEntry) -> SafeString | str:
        if not obj.detail:
            return "–"
        rows = [
            (name.replace("_", " "), _words(value)) for name, value in sorted(obj.detail.items())
        ]
        return format_html_join("", '<div class="sg-fact"><b>{}</b><span>{}</span></div>', rows)

    @column("Hash of the entry before")
    def previous_hash(self, obj: AuditEntry) -> SafeString:
        return code(obj.previous)

    @column("Hash of this entry")
    def own_hash(self, obj: AuditEntry) -> SafeString:
        return code(obj.hash)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        waiting = AuditBacklog.objects.count()
        if waiting and request.method == "GET":
            messages.warning(
                request,
                f"{waiting} refused attempts wait to be recorded: the master key was away, or the "
                "clock was wrong. They follow within a minute once that is mended.",
            )
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    @button("Verify the chain", icon="verified")
    def verify(self, request: HttpRequest) -> HttpResponse:
        """Walk the whole chain and say what was found; a long one beside the console."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if posted(request) is None:
            return self._asked(
                request,
                title="Verify the audit trail?",
                button_text="Verify",
                intro="Every entry is read, from the first to the last, and checked against the "
                "one before it.",
            )
        if audit_chain.head().sequence > MANY:
            return redirect(admin_url(self._verify_beside(request)))
        try:
            messages.success(request, _verified(unwatched))
        except AuditError as error:
            messages.error(request, str(error))
        return redirect(self.url_of())

    def _verify_beside(self, request: HttpRequest) -> Operation:
        now = timezone.now()
        with transaction.atomic():
            # Of two who press the button at once, the second waits here and sees the first.
            list(AuditHead.objects.select_for_update())
            running = Operation.objects.filter(title=VERIFYING, state=Operation.State.RUNNING)
            if any(operations.state_at(row, now) is Operation.State.RUNNING for row in running):
                raise StateError("The audit trail is being verified already: see Operations.")
            return operations.start(actor=actor(request), title=VERIFYING, work=_verified, at=now)

    @button("Export the signed head", icon="ink_pen")
    def export_head(self, request: HttpRequest) -> HttpResponse:
        """For whoever keeps it elsewhere: a trail that is cut off later does not fit it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if posted(request) is None:
            return self._asked(
                request,
                title="Export the signed head?",
                is_download=True,
                button_text="Export",
                intro="A CA signs the number and the hash of the newest entry. Keep the file where "
                "this machine cannot change it; the trail records that it was made.",
            )
        now = timezone.now()
        signed = audit_head.export(
            actor=actor(request), authority=audit_head.signing_authority(now), at=now
        )
        filename = f"audit-head-{signed.entries}.zip"
        return attachment(signed.archive(), filename=filename, media_type="application/zip")

    def _asked(self, request: HttpRequest, **context: Any) -> HttpResponse:
        """A page with one button: to look at it does nothing yet."""
        return self.page(request, "pki/console_form.html", form=forms.Form(), **context)


def _words(value: Any) -> str:
    """A fact of an entry, which is JSON, as somebody would write it down."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "–"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value) or "–"


def _verified(progress: Progress) -> str:
    count = audit.verify(progress=progress)
    return f"The chain is whole: {count} entries, none was changed."
