"""What the serving processes tell of themselves: who is connected, and whose handshake failed; and
what they have made for whoever runs the console."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from project.tls.advice import plainly


class HandshakeFailure(models.Model):
    """A TLS handshake that did not come to pass, or several of the same kind that were counted."""

    at = models.DateTimeField(db_index=True)
    endpoint = models.CharField(max_length=32)
    peer = models.CharField(max_length=64)
    server_name = models.CharField(max_length=255, blank=True)
    protocol = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=128)
    advice = models.CharField(max_length=500)
    subject = models.CharField(max_length=500, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    certificate = models.BinaryField(null=True)
    count = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name = "failed handshake"

    def __str__(self) -> str:
        return f"{self.endpoint}: {plainly(self.reason)} ({self.peer})"


class Process(models.Model):
    """A serving process; one that has not been seen for a while is dead, and so is what it held."""

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    counters = models.JSONField(default=dict, help_text="What it counted since its start.")
    held = models.JSONField(default=dict, help_text="Endpoint → kind → connections it holds.")

    class Meta:
        ordering = ["started_at"]
        verbose_name_plural = "processes"

    def __str__(self) -> str:
        return f"{self.host} ({self.pid})"


class PastCounters(models.Model):
    """What processes that are gone had counted, all in one. There is one row."""

    counters = models.JSONField(default=dict)


class LiveConnection(models.Model):
    """A connection that a process holds open."""

    class Kind(models.TextChoices):
        WEB = "web", "web"
        SOCKET = "socket", "socket"
        LINE = "line", "lines"

    process = models.ForeignKey(Process, models.CASCADE, related_name="connections")
    number = models.PositiveBigIntegerField()
    endpoint = models.CharField(max_length=32)
    peer = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="live_connections"
    )
    sha256 = models.CharField(max_length=64, blank=True)
    tls_version = models.CharField(max_length=16, blank=True)
    cipher = models.CharField(max_length=64, blank=True)
    opened_at = models.DateTimeField()
    active_at = models.DateTimeField()
    received = models.PositiveBigIntegerField(default=0)
    sent = models.PositiveBigIntegerField(default=0)
    is_to_end = models.BooleanField(default=False)

    class Meta:
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(fields=["process", "number"], name="one_number_per_process")
        ]
        indexes = [
            models.Index(
                fields=["process"], condition=models.Q(is_to_end=True), name="connections_to_end"
            )
        ]

    def __str__(self) -> str:
        return f"{self.peer} on {self.endpoint}"


class SignOut(models.Model):
    """Every connection that a person had opened by then is to end. Kept for a minute: it is for
    those that are too young to have a row."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    at = models.DateTimeField(db_index=True)


class Export(models.Model):
    """What was taken out of the chat for somebody of the console; its file is on one machine."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject = models.CharField(
        max_length=255, help_text="Whose or of which room, as the audit trail names it."
    )
    made_by = models.CharField(max_length=150)
    at = models.DateTimeField(db_index=True)
    size = models.PositiveBigIntegerField(null=True, help_text="Bytes; none before it is whole.")
    operation = models.OneToOneField(
        "pki.Operation", models.SET_NULL, null=True, related_name="+", help_text="That made it."
    )

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.called}, {self.at:%Y-%m-%d %H:%M}"

    @property
    def is_of_room(self) -> bool:
        return self.subject.startswith("room:")

    @property
    def called(self) -> str:
        return self.subject.removeprefix("room:")

    @property
    def file_name(self) -> str:
        return f"{self.called}-{self.at:%Y%m%d-%H%M%S}.zip"
