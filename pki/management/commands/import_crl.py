from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import imports
from pki.files import LARGEST_CRL, read_revocation_list
from pki.management.base import VerbCommand, command_actor, read_file


class Command(VerbCommand):
    help = "Keep the CRL of a CA from elsewhere, and revoke here what it lists."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="PEM or DER")

    def handle(self, *args: Any, **options: Any) -> None:
        crl = read_revocation_list(read_file(options["file"], most=LARGEST_CRL))
        imported = imports.import_crl(actor=command_actor(), crl=crl, at=timezone.now())
        kept = imported.crl
        self.stdout.write(
            f"{kept.authority.slug}: CRL {kept.number}, {kept.entries} entries, good until "
            f"{kept.next_update:%Y-%m-%dT%H:%M:%SZ}"
        )
        for certificate in imported.revoked:
            self.stdout.write(f"revoked: {certificate.subject}, serial {certificate.serial}")
