from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import revocation
from pki.management.base import VerbCommand, command_actor, find_certificate, find_person
from pki.models import Certificate, RevocationReason


class Command(VerbCommand):
    help = "End the hold of a certificate: it signs its holder in again, and leaves the CRL."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--serial", metavar="HEX")
        which.add_argument("--sha256", metavar="HEX")
        which.add_argument("--user", metavar="USERNAME", help="every one of theirs that is on hold")
        which.add_argument("--file", metavar="PEM")

    def handle(self, *args: Any, **options: Any) -> None:
        for certificate in _chosen(options):
            released = revocation.release(
                actor=command_actor(), certificate=certificate, at=timezone.now()
            )
            self.stdout.write(f"{released.serial}: released")


def _chosen(options: dict[str, Any]) -> list[Certificate]:
    if options["user"]:
        person = find_person(options["user"])
        held = list(person.certificates.filter(revocation_reason=RevocationReason.HOLD))
        if not held:
            raise CommandError(f"No certificate of {person} is on hold.")
        return held
    return [find_certificate(options)]
