"""The chat in the console. The log is read there, and written nowhere but through the verbs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from chat.models import Event, Membership, Room


@admin.register(Room)
class RoomAdmin(ModelAdmin):
    list_display = ("name", "slug", "kind", "everyone", "last_seq")
    list_filter = ("kind", "everyone")
    search_fields = ("name", "slug")
    readonly_fields = ("last_seq", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # the log is kept


class ReadOnlyAdmin(ModelAdmin):
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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
