"""Rows of the chat: rooms, who is in them, the numbered log of each room, and what follows from it.

The log is the truth. `Message`, `Reaction` and `Mention` are what it comes to, kept in the same
transaction so that one need not read a whole log to search it or to count.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from chat import fields, protocol
from chat.querysets import EventQuerySet, MessageQuerySet, RoomQuerySet

SLUG = RegexValidator(
    fields.SLUG,
    "Use 1 to 64 small letters, digits and dashes, beginning with a letter or digit.",
)


class Room(models.Model):
    """A room. `last_seq` is the number of its newest event and rises under a row lock."""

    class Kind(models.TextChoices):
        PUBLIC = "public"
        PRIVATE = "private"
        DIRECT = "direct"

    class Posting(models.TextChoices):
        MEMBERS = "members"
        MODERATORS = "moderators"

    slug = models.CharField(max_length=64, unique=True, validators=[SLUG])
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True, default="")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    last_seq = models.PositiveBigIntegerField(default=0)
    everyone = models.BooleanField(
        default=False, help_text="New people are members from their first connection on."
    )
    among = models.CharField(
        max_length=255,
        unique=True,
        null=True,
        editable=False,
        help_text="The people of a direct room, so that they have one and not more.",
    )
    posting = models.CharField(
        max_length=10,
        choices=Posting.choices,
        default=Posting.MEMBERS,
        help_text="Who may write here.",
    )
    slow_seconds = models.PositiveIntegerField(
        default=0, help_text="How long a member waits between two messages. 0 is not at all."
    )
    retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Messages older than this lose their content. Empty: never.",
    )
    legal_hold = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Why nothing here may be deleted or expire. Empty: there is no hold.",
    )
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = RoomQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        permissions = [("export_room", "Can export what was said in rooms and by people")]

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

    class Notify(models.TextChoices):
        ALL = "all"
        MENTIONS = "mentions"
        NOTHING = "nothing"

    room = models.ForeignKey(Room, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=9, choices=Role.choices, default=Role.MEMBER)
    notify = models.CharField(max_length=8, choices=Notify.choices, default=Notify.ALL)
    read_seq = models.PositiveBigIntegerField(default=0)
    joined_seq = models.PositiveBigIntegerField(default=0, editable=False)
    joined_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["room", "user"]
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}"


class Ban(models.Model):
    """A person who may not come back into a room."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="bans")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="bans")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=200)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["room", "user"]
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="one_ban")]

    def __str__(self) -> str:
        return f"{self.user} banned from {self.room}"


class Event(models.Model):
    """One numbered event of a room's log. Rows are only ever added.

    What a message said leaves the log when it is deleted or expires: then `data` says so instead.
    `by` is empty where no person did it but the server, as when messages expire.
    `about` is the person whose membership changed, `message` the posted event that this one is
    about, where there is one.
    """

    class Type(models.TextChoices):
        MESSAGE_POSTED = "message.posted"
        MESSAGE_EDITED = "message.edited"
        MESSAGE_DELETED = "message.deleted"
        MESSAGE_PINNED = "message.pinned"
        MESSAGE_UNPINNED = "message.unpinned"
        MESSAGES_EXPIRED = "messages.expired"
        REACTION_ADDED = "reaction.added"
        REACTION_REMOVED = "reaction.removed"
        MEMBER_JOINED = "member.joined"
        MEMBER_LEFT = "member.left"
        MEMBER_ROLE = "member.role"
        MEMBER_UNBANNED = "member.unbanned"
        ROOM_CREATED = "room.created"
        ROOM_CHANGED = "room.changed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=32, choices=Type.choices)
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="events"
    )
    about = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    message = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="later")
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
        indexes = [
            models.Index(fields=["certificate_serial", "room", "by"], name="events_of_certificate"),
            models.Index(
                fields=["message", "type", "seq"],
                condition=models.Q(message__isnull=False),
                name="events_about_message",
            ),
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
            by=self._by,
            certificate={"serial": self.certificate_serial},
            data=self.data,
        )

    @property
    def _by(self) -> protocol.Wire:
        if self.by is None:
            return protocol.SERVER
        return protocol.person(self.by.pk, self.by.username, self.by.get_full_name())


class Message(models.Model):
    """A posted message as it stands now."""

    event = models.OneToOneField(Event, models.CASCADE, primary_key=True, related_name="+")
    room = models.ForeignKey(Room, models.CASCADE, related_name="messages")
    seq = models.PositiveBigIntegerField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="messages")
    at = models.DateTimeField()
    body = models.TextField(blank=True)
    names = models.TextField(
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Of its files, each after a line break. The database writes them.",
    )
    thread = models.ForeignKey(
        "self",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="replies",
        help_text="The message under which this one was written.",
    )
    edited_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True)
    pinned_at = models.DateTimeField(null=True, blank=True)
    has_link = models.BooleanField(default=False)
    has_code = models.BooleanField(default=False)
    has_file = models.BooleanField(default=False)
    has_image = models.BooleanField(default=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["room", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["room", "seq"], name="one_message_per_number")
        ]
        indexes = [
            models.Index(fields=["author", "at"], name="messages_of_author"),
            models.Index(fields=["at", "event"], name="messages_in_time"),
            models.Index(
                fields=["room", "seq"],
                condition=models.Q(pinned_at__isnull=False),
                name="messages_that_are_pinned",
            ),
            models.Index(
                fields=["room", "at"],
                condition=models.Q(deleted_at=None, expired_at=None),
                name="messages_that_say_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.seq}"

    @property
    def is_there(self) -> bool:
        """It has not been deleted, nor has its time run out."""
        return self.deleted_at is None and self.expired_at is None


class Reaction(models.Model):
    """One emoji of one person on one message."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="reactions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    emoji = models.CharField(max_length=32)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "user", "emoji"], name="one_reaction")
        ]

    def __str__(self) -> str:
        return f"{self.emoji} {self.user} {self.message}"


class Mention(models.Model):
    """A message that names a person; `user` is empty where it names everybody in the room."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="mentions")
    room = models.ForeignKey(Room, models.CASCADE, related_name="+")
    seq = models.PositiveBigIntegerField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["room", "seq"], name="mentions_of_room")]
        constraints = [
            models.UniqueConstraint(fields=["message", "user"], name="one_mention"),
            models.UniqueConstraint(
                fields=["message"], condition=models.Q(user=None), name="one_mention_of_all"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or 'everybody'} in {self.message}"


class Attachment(models.Model):
    """A file that came, or is coming, with a message. Its bytes are under SIGNET_HOME/uploads.

    It is `received` up to `size` while it is uploaded, is `complete` then, and belongs to a
    `message` once that is posted; what never gets that far is removed after an hour.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, related_name="attachments")
    uploader = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="attachments"
    )
    message = models.ForeignKey(
        Message, models.CASCADE, null=True, blank=True, related_name="attachments"
    )
    name = models.CharField(max_length=200)
    media_type = models.CharField(max_length=100)
    size = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    complete = models.BooleanField(default=False)
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    has_thumbnail = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["created_at"]
        indexes = [models.Index(fields=["uploader", "complete"], name="attachments_of_person")]

    def __str__(self) -> str:
        return self.name


class Report(models.Model):
    """Somebody asks the moderators to look at a message."""

    class State(models.TextChoices):
        OPEN = "open"
        UPHELD = "upheld"
        DISMISSED = "dismissed"

    message = models.ForeignKey(Message, models.CASCADE, related_name="reports")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)
    at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.UniqueConstraint(fields=["message", "by"], name="one_report_per_person")
        ]
        permissions = [("moderate_report", "Can read reported messages and settle reports")]

    def __str__(self) -> str:
        return f"{self.by} about {self.message}"


class LogEpoch(models.Model):
    """The age of the log. A new value tells clients to forget the numbers they know.

    There is one row; numbers only go backwards when a backup is restored.
    """

    value = models.UUIDField(default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.value)
