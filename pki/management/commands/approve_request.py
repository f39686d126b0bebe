from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import certification, handout
from pki.management.base import VerbCommand, command_actor, find_person, find_request, write_private


class Command(VerbCommand):
    help = "Approve a waiting request in the name of a person who may; the last yes issues it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("request", type=int, metavar="NUMBER", help="see list_requests")
        parser.add_argument("--by", required=True, metavar="USERNAME", help="who approves")
        parser.add_argument("--out", metavar="FILE", help="new file for the PEM chain, if issued")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["out"] and Path(options["out"]).exists():
            raise CommandError(f"{options['out']} exists already; name another file.")
        asked = certification.approve(
            actor=command_actor(),
            approver=find_person(options["by"]),
            request=find_request(options["request"]),
            at=timezone.now(),
        )
        if asked.certificate is None:
            self.stdout.write(f"request {asked.pk}: approved, and needs somebody else too")
            return
        self.stdout.write(f"request {asked.pk}: issued, serial {asked.certificate.serial}")
        if options["out"]:
            chain = handout.pem_file(asked.certificate)
            write_private(options["out"], chain.encode())
