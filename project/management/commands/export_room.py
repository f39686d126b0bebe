from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from chat import export
from chat.errors import ChatError
from chat.models import Room
from pki.management.base import VerbCommand, command_actor


class Command(VerbCommand):
    help = "Write a room into a ZIP file: its log as JSON lines, members, certificates and files."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="of the room, as in its address")
        parser.add_argument("--out", metavar="FILE", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        room, out = _find(options["slug"]), Path(options["out"])
        try:
            with self.progress("Exporting") as progress:
                done = export.export_room(
                    actor=command_actor(), room=room, out=out, at=timezone.now(), progress=progress
                )
        except ChatError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{out}: {done.sentence}")


def _find(slug: str) -> Room:
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        raise CommandError(f"There is no room {slug!r}. The console lists them all.")
    return room
