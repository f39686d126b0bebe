"""The chat in the console: a room's settings are changed there, and nothing else is.

Rooms are made and memberships change through the verbs, which write the log; so are settings.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from chat import oversight
from chat.errors import ChatError
from chat.forms import RoomForm
from chat.models import Ban, Event, Membership, Room
from pki.identity import Identity

ABOUT = ("slug", "kind", "last_seq", "created_at")
SETTINGS = ("name", "description", "posting", "slow_seconds", "archived")


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
    """Settings alone: who sees this page is no member and reads nothing of a room."""

    form = RoomForm
    rights: tuple[str, ...] = ("view", "change")
    list_display = ("name", "slug", "kind", "everyone", "archived", "last_seq")
    list_filter = ("kind", "everyone")
    search_fields = ("name", "slug")
    readonly_fields = ABOUT
    about = ABOUT  # what stays as it is

    def get_fieldsets(self, request: HttpRequest, obj: Room | None = None) -> Any:
        duties: tuple[str, ...] = ("retention_days", "legal_hold")
        sections: dict[str | None, tuple[str, ...]] = {None: self.about}
        if obj is None or obj.kind != Room.Kind.DIRECT:
            sections["As its owners set it"] = SETTINGS
            duties = ("everyone", *duties)
        sections["As the organisation sets it"] = duties
        if "everyone" in duties and self.has_change_permission(request, obj):
            sections["If all owners are gone"] = ("new_owner",)
        return [(title, {"fields": fields}) for title, fields in sections.items()]

    @admin.display(boolean=True, ordering="archived_at")
    def archived(self, room: Room) -> bool:
        return room.archived_at is not None

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        identity: Identity = request.identity  # type: ignore[attr-defined]
        at = timezone.now()
        oversight.change_room(actor=identity, room=obj.slug, wishes=form.wishes, at=at)
        if username := form.cleaned_data.get("new_owner"):
            try:
                oversight.appoint_owner(actor=identity, room=obj.slug, user=username, at=at)
            except ChatError as error:  # somebody was faster than this form
                self.message_user(request, str(error), messages.ERROR)


@admin.register(Ban)
class BanAdmin(ReadOnlyAdmin):
    list_display = ("user", "room", "by", "when", "reason")
    list_filter = ("room",)
    search_fields = ("user__username", "room__slug")
    search_help_text = "Username, or address of the room"
    list_select_related = ("user", "room", "by")
    fields = ("user", "room", "by", "when", "reason")
    readonly_fields = ("when",)

    @admin.display(description="When", ordering="at")
    def when(self, ban: Ban) -> str:
        return _minute(ban.at)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "room", "role", "read_to", "joined")
    list_filter = ("role", "room")
    search_fields = ("user__username", "room__slug")
    search_help_text = "Username, or address of the room"
    list_select_related = ("user", "room")
    fields = ("user", "room", "role", "notify", "read_to", "joined")
    readonly_fields = ("read_to", "joined")

    @admin.display(description="Has read to number", ordering="read_seq")
    def read_to(self, membership: Membership) -> int:
        return membership.read_seq

    @admin.display(description="Joined", ordering="joined_at")
    def joined(self, membership: Membership) -> str:
        return _minute(membership.joined_at)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("room", "number", "type", "by", "when")
    list_filter = ("type", "room")
    search_fields = ("by__username", "room__slug")
    search_help_text = "Who did it, or address of the room"
    list_select_related = ("room", "by")
    # Private rooms stay private: the console shows who and when, and not `data`, what.
    fields = (
        "room",
        "number",
        "type",
        "when",
        "by",
        "about",
        "message",
        "certificate_serial",
        "client_id",
    )
    readonly_fields = ("number", "when")

    @admin.display(description="Number", ordering="seq")
    def number(self, event: Event) -> int:
        return event.seq

    @admin.display(description="When", ordering="at")
    def when(self, event: Event) -> str:
        return _minute(event.at)


def _minute(moment: dt.datetime) -> str:
    return f"{moment:%d %b %Y, %H:%M} UTC".lstrip("0")
