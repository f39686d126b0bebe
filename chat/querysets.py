"""Questions about rooms and events, in the words of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q, TextField
from django.db.models.functions import Cast, Length

if TYPE_CHECKING:
    from chat.models import Event, Message, Room  # noqa: F401 (querysets come before models)


class Bytes(Length):
    """How long a JSON text is. On SQLite Django writes it in ASCII: there characters are bytes."""

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="OCTET_LENGTH", **context)


FRAME = 300  # bytes of an event besides its `data`, about
WEIGHT = Bytes(Cast("data", TextField())) + FRAME


class RoomQuerySet(models.QuerySet["Room"]):
    def of_member(self, user_id: int) -> RoomQuerySet:
        """The person's own rooms: the only ones they may read or write."""
        return self.filter(memberships__user_id=user_id)

    def visible_to(self, user_id: int) -> RoomQuerySet:
        """The rooms whose existence the person may know of."""
        return self.filter(Q(kind="public") | Q(memberships__user_id=user_id)).distinct()


class EventQuerySet(models.QuerySet["Event"]):
    def in_room(self, room_id: int) -> EventQuerySet:
        return self.filter(room_id=room_id).with_all()

    def with_all(self) -> EventQuerySet:
        """With what the wire form needs. Events that are known by their message or id are asked for
        so and by nothing else: where the room is named too, SQLite walks through all of its log."""
        return self.select_related("room", "by")

    def after(self, seq: int) -> EventQuerySet:
        return self.filter(seq__gt=seq).order_by("seq")

    def before(self, seq: int) -> EventQuerySet:
        """Newest first."""
        return self.filter(seq__lt=seq).order_by("-seq")

    def weights(self) -> models.QuerySet[Event, int]:
        """About how many bytes of an answer each takes up; the contents are not loaded."""
        return self.values_list(WEIGHT, flat=True)


class MessageQuerySet(models.QuerySet["Message"]):
    def there(self) -> MessageQuerySet:
        """Those that still say something."""
        return self.filter(deleted_at=None, expired_at=None)

    def gone(self) -> MessageQuerySet:
        """The others; none of them ever comes back."""
        return self.exclude(deleted_at=None, expired_at=None)

    def in_rooms_of(self, user_id: int) -> MessageQuerySet:
        return self.filter(room__memberships__user_id=user_id)
