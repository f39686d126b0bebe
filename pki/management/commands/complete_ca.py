from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import outside
from pki.management.authority import authority_line, find_authority_request
from pki.management.base import VerbCommand, command_actor, read_file


class Command(VerbCommand):
    help = "Put a CA in force with the certificate that another organisation's CA signed for it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="of the request")
        parser.add_argument("file", help="the certificate, in PEM or DER")
        parser.add_argument("--chain", metavar="FILE", help="certificates of the CAs above it")

    def handle(self, *args: Any, **options: Any) -> None:
        authority = outside.complete_authority(
            actor=command_actor(),
            request=find_authority_request(options["slug"]),
            certificate=read_file(options["file"]),
            chain=read_file(options["chain"]) if options["chain"] else b"",
            at=timezone.now(),
        )
        self.stdout.write(authority_line(authority))
