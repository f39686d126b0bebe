from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import succession
from pki.management.base import VerbCommand, command_actor, find_authority


class Command(VerbCommand):
    help = "Let a CA issue nothing more; its CRLs and OCSP answers go on. --undo restores it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--undo", action="store_true")
        parser.add_argument("--last", action="store_true", help="even if no other CA issues")

    def handle(self, *args: Any, **options: Any) -> None:
        authority, now = find_authority(options["slug"]), timezone.now()
        if options["undo"]:
            succession.restore_authority(actor=command_actor(), authority=authority, at=now)
            self.stdout.write(f"{authority.slug}: issues again")
            return
        succession.retire_authority(
            actor=command_actor(), authority=authority, is_last_one_too=options["last"], at=now
        )
        self.stdout.write(f"{authority.slug}: retired")
