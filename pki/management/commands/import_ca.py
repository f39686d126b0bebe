from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import outside
from pki.files import LARGEST_CRL
from pki.management.authority import authority_line
from pki.management.base import VerbCommand, command_actor, read_file, read_password


class Command(VerbCommand):
    help = "Take over a CA with its key: PEM (key and certificate in one file) or PKCS #12."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--password-file", metavar="FILE", help="its first line is used")
        parser.add_argument("--chain", metavar="FILE", help="certificates of the CAs above it")
        parser.add_argument("--name", default="", help="instead of what the CA calls itself")
        parser.add_argument(
            "--crl-number", type=int, default=0, metavar="N", help="of its newest CRL so far"
        )
        parser.add_argument("--crl", metavar="FILE", help="the newest CRL of the old system")
        parser.add_argument(
            "--discard-revocations",
            action="store_true",
            help="what the old system revoked may be good again",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        authority = outside.import_authority(
            actor=command_actor(),
            data=read_file(options["file"]),
            password=read_password(options["password_file"]),
            chain=read_file(options["chain"]) if options["chain"] else b"",
            name=options["name"],
            last_crl_number=options["crl_number"],
            last_crl=read_file(options["crl"], most=LARGEST_CRL) if options["crl"] else b"",
            discard_revocations=options["discard_revocations"],
            at=timezone.now(),
        )
        self.stdout.write(authority_line(authority))
