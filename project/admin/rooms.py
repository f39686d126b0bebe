"""The console's page of a room, with the button that takes out what was said there."""

from __future__ import annotations

from functools import partial

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from chat.admin import RoomAdmin
from chat.forms import RoomForm
from chat.models import Room
from pki.admin.base import ConsoleAdmin, button, column
from pki.admin.columns import minute, unbroken
from pki.forms import ShownForm
from project import exports
from project.admin.exports import ExportButton, export_page

admin.site.unregister(Room)


class ShownRoomForm(ShownForm, RoomForm):
    """A room's settings; what its owners change meanwhile stays theirs."""


@admin.register(Room)
class KeptRoomAdmin(ExportButton, RoomAdmin, ConsoleAdmin):
    form = ShownRoomForm
    rights = (*RoomAdmin.rights, "export")
    actions_detail = ("export",)
    list_display = ("name", "address", "kind", "everyone", "archived", "last_number")
    readonly_fields = ("address", "kind", "last_number", "created")
    about = readonly_fields

    def audit_words(self, obj: Room) -> str:
        return f"room:{obj.slug}"

    @column("Address", ordering="slug")
    def address(self, obj: Room) -> str:
        return obj.slug

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
