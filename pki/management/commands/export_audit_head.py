from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import audit_head
from pki.management.base import VerbCommand, command_actor, find_authority


class Command(VerbCommand):
    help = (
        "Sign the head of the audit trail with a CA's key, to be kept outside this machine: a ZIP "
        "of the statement, its signature, and how to check it with openssl."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", metavar="FILE", required=True)
        parser.add_argument(
            "--ca",
            metavar="SLUG",
            help="whose key signs; any CA will do that stays longest, such as the root. Left out: "
            "the one that issues",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        authority = (
            find_authority(options["ca"]) if options["ca"] else audit_head.signing_authority(now)
        )
        signed = audit_head.export(actor=command_actor(), authority=authority, at=now)
        try:
            Path(options["out"]).write_bytes(signed.archive())
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written: {error.strerror}.") from None
        self.stdout.write(f"{options['out']}: {signed.entries} entries, signed by {authority}")
