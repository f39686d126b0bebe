from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import algorithms, outside
from pki.management.authority import add_key_arguments, new_file
from pki.management.base import VerbCommand, command_actor


class Command(VerbCommand):
    help = "Make the key of a CA and the CSR with which another organisation's CA signs it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--out", required=True, metavar="FILE", help="the CSR, in PEM")
        parser.add_argument("--path-length", type=int, default=0, metavar="N")
        add_key_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        out = new_file(options["out"])
        with self.waiting("Making the key"):
            request = outside.request_authority(
                actor=command_actor(),
                name=options["name"],
                algorithm=options["key"] or algorithms.DEFAULT,
                backend=options["backend"],
                path_length=options["path_length"],
                at=timezone.now(),
            )
        out.write_bytes(outside.request_pem(request))
        self.stdout.write(f"{request.slug}: the CSR is in {out}")
