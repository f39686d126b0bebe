from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import audit, audit_head
from pki.management.base import VerbCommand, command_actor, read_file


class Command(VerbCommand):
    help = "Check the audit trail's chain from its first entry to its head."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            metavar="FILE",
            help="also compare with a head that was exported before, which finds an end cut off",
        )
        parser.add_argument(
            "--accept-clock",
            action="store_true",
            help="believe this machine's clock again, after it was ahead when entries were written",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        exported = read_file(options["head"]) if options["head"] else None
        if options["accept_clock"]:
            audit.accept_clock(actor=command_actor(), at=timezone.now())
        audit.sweep_backlog(at=timezone.now())
        with self.progress("Verifying") as progress:
            count = audit.verify(progress=progress)
        self.stdout.write(f"{count} entries, unbroken")
        if exported is not None:
            number = audit_head.compare(exported)
            self.stdout.write(f"entry {number} is the one the exported head tells of")
