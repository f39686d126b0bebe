from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import algorithms, authorities
from pki.management.base import VerbCommand, command_actor, find_authority
from pki.models import CertificateAuthority


class Command(VerbCommand):
    help = "Create a root CA, or with --parent an issuing CA below it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--parent", metavar="SLUG")
        parser.add_argument("--key", choices=sorted(algorithms.GENERATORS), default="p256")

    def handle(self, *args: Any, **options: Any) -> None:
        parent = find_authority(options["parent"]) if options["parent"] else None
        authority: CertificateAuthority = authorities.create_authority(
            actor=command_actor(),
            name=options["name"],
            parent=parent,
            algorithm=options["key"],
            at=timezone.now(),
        )
        self.stdout.write(
            f"{authority.slug}: {authority.certificate.subject}, "
            f"SHA-256 {authority.certificate.fingerprint}"
        )
