"""The console's page of a room, with the button that takes out what was said there."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from chat.admin import RoomAdmin
from chat.forms import RoomForm
from chat.models import Room
from pki.admin.base import ConsoleAdmin, button, column
from pki.admin.columns import badge, minute, unbroken
from pki.forms import ShownForm
from project import exports
from project.admin.exports import ExportButton, export_page

admin.site.unregister(Room)


class ShownRoomForm(ShownForm, RoomForm):
    """A room's settings; what its owners change meanwhile stays theirs."""


class HoldFilter(admin.SimpleListFilter):
    title = "legal hold"
    parameter_name = "hold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "On hold"), ("no", "Not on hold")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Room]) -> QuerySet[Room]:
        if self.value() == "yes":
            return queryset.exclude(legal_hold="")
        return queryset.filter(legal_hold="") if self.value() == "no" else queryset


class RetentionFilter(admin.SimpleListFilter):
    title = "retention"
    parameter_name = "retention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Messages expire"), ("no", "Kept for good")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Room]) -> QuerySet[Room]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(retention_days__isnull=self.value() == "no")


@admin.register(Room)
class KeptRoomAdmin(ExportButton, RoomAdmin, ConsoleAdmin):
    form = ShownRoomForm
    rights = (*RoomAdmin.rights, "export")
    actions_detail = ("export",)
    list_display = (  # type: ignore[assignment]
        "name",
        "address",
        "kind",
        "everyone",
        "archived",
        "retention",
        "hold",
        "last_number",
    )
    list_filter = (*RoomAdmin.list_filter, HoldFilter, RetentionFilter)  # type: ignore[assignment]
    readonly_fields = ("address", "kind", "last_number", "created")
    about = readonly_fields

    def audit_words(self, obj: Room) -> str:
        return f"room:{obj.slug}"

    @column("Address", ordering="slug")
    def address(self, obj: Room) -> str:
        return obj.slug

    @column("Messages kept", ordering="retention_days")
    def retention(self, obj: Room) -> str:
        days = obj.retention_days
        return "for good" if days is None else "1 day" if days == 1 else f"{days} days"

    @column("Legal hold", ordering="legal_hold")
    def hold(self, obj: Room) -> SafeString | str:
        return badge("on hold", "warn") if obj.legal_hold else "–"

    @column("Last number", ordering="last_seq")
    def last_number(self, obj: Room) -> int:
        return obj.last_seq

    @column("Created", ordering="created_at")
    def created(self, obj: Room) -> SafeString:
        return unbroken(minute(obj.created_at))

    @button("Export", icon="archive")
    def export(self, request: HttpRequest, object_id: str) -> HttpResponse:
        room: Room = self.found(request, object_id)
        return export_page(
            self,
            request,
            room,
            begin=partial(exports.begin_room, room=room),
            subject=self.audit_words(room),
            what="Everything that was said in this room goes with its members, certificates and "
            "files",
        )
