from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import responder
from pki.management.base import VerbCommand, command_actor, find_authority


class Command(VerbCommand):
    help = "Give one CA, or every valid one with its key here, a new certificate to sign OCSP with."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--ca", metavar="SLUG")

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        chosen = [find_authority(options["ca"])] if options["ca"] else responder.able(at=at)
        for authority in chosen:
            renewed = responder.renew(actor=command_actor(), authority=authority, at=at)
            self.stdout.write(
                f"{authority.slug}: OCSP responder {renewed.serial}, "
                f"valid until {renewed.not_after:%Y-%m-%d %H:%M} UTC"
            )
