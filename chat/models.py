"""Rows of the chat: rooms, who is in them, and the numbered log of each room."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from chat import protocol
from chat.querysets import EventQuerySet, RoomQuerySet

SLUG = RegexValidator(
    protocol.SLUG,
    "Use 1 to 64 small letters, digits and dashes, beginning with a letter or digit.",
)


class Room(models.Model):
    """A room. `last_seq` is the number of its newest event and rises under a row lock."""

    class Kind(models.TextChoices):
        PUBLIC = "public"
        PRIVATE = "private"
        DIRECT = "direct"

    slug = models.CharField(max_length=64, unique=True, validators=[SLUG])
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    last_seq = models.PositiveBigIntegerField(default=0)
    everyone = models.BooleanField(
        default=False, help_text="New people are members from their first connection on."
    )
    pair = models.CharField(
        max_length=41,
        unique=True,
        null=True,
        editable=False,
        help_text="The two people of a direct room, so that they have one and not more.",
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = RoomQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person in a room; `read_seq` is the last event they have seen.

    `joined_seq` is the event that brought them in, 0 where no event did (the room is older).
    """

    class Role(models.TextChoices):
        OWNER = "owner"
        MODERATOR = "moderator"
        MEMBER = "member"

    room = models.ForeignKey(Room, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=9, choices=Role.choices, default=Role.MEMBER)
    read_seq = models.PositiveBigIntegerField(default=0)
    joined_seq = models.PositiveBigIntegerField(default=0, editable=False)
    joined_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["room", "user"]
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}"


class Event(models.Model):
    """One numbered event of a room's log. Rows are only ever added.

    `about` is the person whose membership changed, where one did.
    """

    class Type(models.TextChoices):
        MESSAGE_POSTED = "message.posted"
        MEMBER_JOINED = "member.joined"
        MEMBER_LEFT = "member.left"
        ROOM_CREATED = "room.created"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=32, choices=Type.choices)
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="events")
    about = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    certificate_serial = models.CharField(max_length=40)
    client_id = models.CharField(max_length=64, null=True, blank=True)
    data = models.JSONField(default=dict)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["room", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["room", "seq"], name="one_event_per_number"),
            models.UniqueConstraint(fields=["by", "client_id"], name="one_event_per_client_id"),
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.seq} {self.type}"

    @property
    def wire(self) -> protocol.Wire:
        """The numbered event as clients get it."""
        return protocol.push(
            "event",
            room=self.room.slug,
            seq=self.seq,
            id=str(self.id),
            type=str(self.type),
            at=protocol.moment(self.at),
            by=protocol.person(self.by.pk, self.by.username, self.by.get_full_name()),
            certificate={"serial": self.certificate_serial},
            data=self.data,
        )


class LogEpoch(models.Model):
    """The age of the log. A new value tells clients to forget the numbers they know.

    There is one row; numbers only go backwards when a backup is restored.
    """

    value = models.UUIDField(default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.value)
