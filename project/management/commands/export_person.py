from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from chat import export
from chat.errors import ChatError
from pki.management.base import VerbCommand, command_actor, find_person


class Command(VerbCommand):
    help = (
        "Write into a ZIP file what a person wrote and did in the chat: events as JSON lines, their "
        "rooms, reports, certificates and files. What others wrote stays out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--out", metavar="FILE", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        subject, out = find_person(options["username"]), Path(options["out"])
        try:
            with self.progress("Exporting") as progress:
                done = export.export_person(
                    actor=command_actor(),
                    subject=subject,
                    out=out,
                    at=timezone.now(),
                    progress=progress,
                )
        except ChatError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{out}: {done.sentence}")
