"""The chat in the console: a room's settings are changed there, and nothing else is.

Rooms are made and memberships change through the verbs, which write the log.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from chat.models import Event, Membership, Room


class LogAdmin(ModelAdmin):
    """What the log tells of is neither made nor unmade here."""

    rights: tuple[str, ...] = ("view",)  # what a group can be given here

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(LogAdmin):
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Room)
class RoomAdmin(LogAdmin):
    rights = ("view", "change")
    list_display = ("name", "slug", "kind", "everyone", "last_seq")
    list_filter = ("kind", "everyone")
    search_fields = ("name", "slug")
    fields = ("name", "slug", "kind", "everyone", "last_seq", "created_at")
    readonly_fields = ("slug", "kind", "last_seq", "created_at")

    def save_model(
        self, request: HttpRequest, obj: Room, form: ModelForm[Room], change: bool
    ) -> None:
        """Save only what was changed: `last_seq` has risen meanwhile, and must never fall."""
        obj.save(update_fields=form.changed_data if change else None)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "room", "role", "read_seq", "joined_at")
    list_filter = ("role", "room")
    search_fields = ("user__username", "room__slug")
    list_select_related = ("user", "room")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("room", "seq", "type", "by", "at")
    list_filter = ("type", "room")
    search_fields = ("by__username", "room__slug")
    list_select_related = ("room", "by")
    exclude = ("data",)  # private rooms stay private: the console shows who and when, not what
