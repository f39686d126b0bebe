from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from pki import revocation
from pki.files import read_certificates
from pki.management.base import VerbCommand, command_actor, find_person, read_file
from pki.models import Certificate, RevocationReason


class Command(VerbCommand):
    help = "Revoke a certificate, or all that a person has. Open sockets close within a second."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--serial", metavar="HEX")
        which.add_argument("--sha256", metavar="HEX")
        which.add_argument("--user", metavar="USERNAME", help="every valid certificate of them")
        which.add_argument("--file", metavar="PEM")
        parser.add_argument("--reason", required=True, choices=RevocationReason.values)

    def handle(self, *args: Any, **options: Any) -> None:
        now, actor = timezone.now(), command_actor()
        for certificate in _chosen(options):
            revocation.revoke(
                actor=actor,
                certificate=certificate,
                reason=RevocationReason(options["reason"]),
                at=now,
            )
            self.stdout.write(f"{certificate.serial}: revoked ({options['reason']})")


def _chosen(options: dict[str, Any]) -> list[Certificate]:
    if options["user"]:
        person = find_person(options["user"])
        found = list(Certificate.objects.filter(owner=person).active(timezone.now()))
        if not found:
            raise CommandError(f"{person.username} has no valid certificate.")
        return found
    matching = list(_matching(options))
    if not matching:
        raise CommandError("No such certificate was issued here.")
    if len(matching) > 1:
        raise CommandError("More than one CA used this serial; name the certificate by --sha256.")
    return matching


def _matching(options: dict[str, Any]) -> QuerySet[Certificate]:
    if options["file"]:
        leaf = read_certificates(read_file(options["file"]))[0]
        return Certificate.objects.filter(sha256=leaf.fingerprint(SHA256()).hex())
    if options["sha256"]:
        return Certificate.objects.with_sha256(options["sha256"])
    return Certificate.objects.with_serial(options["serial"])
