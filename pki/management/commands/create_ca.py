from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import algorithms, authorities
from pki.management.authority import add_key_arguments, authority_line
from pki.management.base import VerbCommand, command_actor, find_authority


class Command(VerbCommand):
    help = "Create a root CA, or with --parent a CA below it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--parent", metavar="SLUG")
        add_key_arguments(parser)
        parser.add_argument("--path-length", type=int, metavar="N", help="levels of CAs below it")
        parser.add_argument("--days", type=int, help="fewer than the profile gives")
        for way, what in (("permit", "the only names"), ("exclude", "names that are not")):
            parser.add_argument(
                f"--{way}",
                action="append",
                default=[],
                metavar="NAME",
                help=f"{what} for its certificates: example.org, @example.org or 10.0.0.0/8",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        with self.waiting("Making the key"):
            authority = authorities.create_authority(
                actor=command_actor(),
                name=options["name"],
                parent=find_authority(options["parent"]) if options["parent"] else None,
                algorithm=options["key"] or algorithms.DEFAULT,
                backend=options["backend"],
                path_length=options["path_length"],
                validity=dt.timedelta(days=options["days"])
                if options["days"] is not None
                else None,
                name_constraints=authorities.name_constraints(
                    permit=options["permit"], exclude=options["exclude"]
                ),
                at=timezone.now(),
            )
        self.stdout.write(authority_line(authority))
