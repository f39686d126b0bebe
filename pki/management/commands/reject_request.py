from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import certification
from pki.management.base import VerbCommand, command_actor, find_person, find_request


class Command(VerbCommand):
    help = "Reject a waiting request in the name of a person who may; its requester reads why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("request", type=int, metavar="NUMBER", help="see list_requests")
        parser.add_argument("--by", required=True, metavar="USERNAME", help="who rejects")
        parser.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        asked = certification.reject(
            actor=command_actor(),
            approver=find_person(options["by"]),
            request=find_request(options["request"]),
            reason=options["reason"],
            at=timezone.now(),
        )
        self.stdout.write(f"request {asked.pk}: rejected")
