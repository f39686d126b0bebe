from __future__ import annotations

from typing import Any

from django.utils import timezone

from chat import retention
from pki.management.base import VerbCommand, command_actor


class Command(VerbCommand):
    help = (
        "Take the content of messages that are older than their room keeps them. A serving process "
        "does it by itself; this is for a time when none does, or to watch it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with self.progress("Letting messages expire") as progress:
            count = retention.expire_messages(
                at=timezone.now(), actor=command_actor(), progress=progress
            )
        self.stdout.write(f"{count} messages have expired")
