from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import algorithms, succession
from pki.management.authority import authority_line, days_to_come
from pki.management.base import VerbCommand, command_actor, find_authority
from pki.models import PrivateKey


class Command(VerbCommand):
    help = "Found the CA that succeeds another, with a new key, and retire the former."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--name", default="", help="default: its name with G2, G3 …")
        parser.add_argument("--key", choices=sorted(algorithms.GENERATORS), default="")
        parser.add_argument("--backend", choices=PrivateKey.Backend.values, default="")
        parser.add_argument(
            "--in-days",
            type=days_to_come,
            default=0,
            metavar="N",
            help="until the former one is retired",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        with self.waiting("Making the key"):
            successor = succession.roll_over_authority(
                actor=command_actor(),
                authority=find_authority(options["slug"]),
                name=options["name"],
                algorithm=options["key"],
                backend=options["backend"],
                retire_at=now + dt.timedelta(days=options["in_days"]),
                at=now,
            )
        self.stdout.write(authority_line(successor))
