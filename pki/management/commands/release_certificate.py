from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import revocation
from pki.management.base import VerbCommand, command_actor
from pki.models import Certificate


class Command(VerbCommand):
    help = "End the hold of a certificate: it signs its holder in again, and leaves the CRL."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--serial", metavar="HEX")
        which.add_argument("--sha256", metavar="HEX")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Certificate.objects
        found = (
            rows.with_sha256(options["sha256"])
            if options["sha256"]
            else rows.with_serial(options["serial"])
        )
        if len(found) != 1:
            raise CommandError("There is not exactly one such certificate; name it by --sha256.")
        released = revocation.release(
            actor=command_actor(), certificate=found[0], at=timezone.now()
        )
        self.stdout.write(f"{released.serial}: released")
