from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from pki import keys
from pki.management.base import VerbCommand, command_actor


class Command(VerbCommand):
    help = (
        "Change the master key: wrap all keys anew, one by one. Interrupted, run it again. "
        "Without a file it goes on with what was begun."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--new-master-key", metavar="FILE", help="made where it is missing, mode 0600"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        source = options["new_master_key"]
        with self.progress("Wrapping keys") as progress:
            done = keys.change_master_key(
                actor=command_actor(),
                source=Path(source) if source else None,
                at=timezone.now(),
                progress=progress,
            )
        self.stdout.write(
            f"{done} keys are wrapped under the new master key in {settings.SIGNET_MASTER_KEY_FILE}. "
            "Restart all serving processes, and back the new file up."
        )
