from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import certification, handout
from pki.files import read_csr
from pki.management.base import VerbCommand, command_actor, find_person, read_file, write_private


class Command(VerbCommand):
    help = "Ask for a certificate for the key of a CSR; it waits where its profile needs approval."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("csr", metavar="FILE", help="PKCS #10 request, PEM or DER")
        parser.add_argument("--profile", required=True)
        parser.add_argument("--user", metavar="USERNAME", help="the person it is for")
        parser.add_argument("--device", default="", help="of the person")
        parser.add_argument("--host", action="append", default=[], help="of a server; repeatable")
        parser.add_argument("--out", metavar="FILE", help="new file for the PEM chain")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["user"]) == bool(options["host"]):
            raise CommandError("Name the person with --user, or the server with --host.")
        if options["out"] and Path(options["out"]).exists():
            raise CommandError(f"{options['out']} exists already; name another file.")
        asked = certification.submit(
            actor=command_actor(),
            requester=None,
            profile=options["profile"],
            csr=read_csr(read_file(options["csr"])),
            owner=find_person(options["user"]) if options["user"] else None,
            device=options["device"],
            hosts=options["host"],
            at=timezone.now(),
        )
        for sentence in asked.differences:
            self.stdout.write(sentence)
        if asked.certificate is None:
            self.stdout.write(f"request {asked.pk} waits for approval")
            return
        self.stdout.write(f"request {asked.pk}: issued, serial {asked.certificate.serial}")
        chain = handout.pem_file(asked.certificate)
        if options["out"]:
            write_private(options["out"], chain.encode())
        else:
            self.stdout.write(chain)
