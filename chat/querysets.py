"""Questions about rooms and events, in the words of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q, TextField
from django.db.models.functions import Cast, Length

if TYPE_CHECKING:
    from chat.models import Event, Room  # noqa: F401 (querysets come before models)


FRAME = 300  # bytes of an event besides its `data`, about


class RoomQuerySet(models.QuerySet["Room"]):
    def of_member(self, user_id: int) -> RoomQuerySet:
        """The person's own rooms: the only ones they may read or write."""
        return self.filter(memberships__user_id=user_id)

    def visible_to(self, user_id: int) -> RoomQuerySet:
        """The rooms whose existence the person may know of."""
        return self.filter(Q(kind="public") | Q(memberships__user_id=user_id)).distinct()


class EventQuerySet(models.QuerySet["Event"]):
    def in_room(self, room_id: int) -> EventQuerySet:
        """With all that the wire form needs."""
        return self.filter(room_id=room_id).select_related("room", "by")

    def after(self, seq: int) -> EventQuerySet:
        return self.filter(seq__gt=seq).order_by("seq")

    def before(self, seq: int) -> EventQuerySet:
        """Newest first."""
        return self.filter(seq__lt=seq).order_by("-seq")

    def weights(self) -> models.QuerySet[Event, int]:
        """About how many bytes of an answer each takes up; the contents are not loaded."""
        return self.values_list(Length(Cast("data", TextField())) + FRAME, flat=True)
