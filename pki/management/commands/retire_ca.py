from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import succession
from pki.management.authority import days_to_come
from pki.management.base import VerbCommand, command_actor, find_authority


class Command(VerbCommand):
    help = "Let a CA issue nothing more; its CRLs and OCSP answers go on. --undo restores it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument(
            "--in-days",
            type=days_to_come,
            metavar="N",
            help="until then it issues; brings a planned retirement forward, or postpones it",
        )
        parser.add_argument("--undo", action="store_true", help="of a planned one too")
        parser.add_argument("--last", action="store_true", help="even if no other CA issues")

    def handle(self, *args: Any, **options: Any) -> None:
        authority, now, days = find_authority(options["slug"]), timezone.now(), options["in_days"]
        if options["undo"] and days is not None:
            raise CommandError("--undo restores the CA, so it goes without --in-days.")
        if options["undo"]:
            succession.restore_authority(actor=command_actor(), authority=authority, at=now)
            self.stdout.write(f"{authority.slug}: issues again")
            return
        retired = succession.retire_authority(
            actor=command_actor(),
            authority=authority,
            on=now + dt.timedelta(days=days or 0),
            is_last_one_too=options["last"],
            at=now,
        )
        self.stdout.write(
            f"{authority.slug}: retires on {retired.retired_at:%Y-%m-%d}"
            if days
            else f"{authority.slug}: retired"
        )
