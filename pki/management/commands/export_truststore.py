from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pki import truststore
from pki.management.base import VerbCommand
from pki.models import TrustStore

EXPORTS = {
    "pem": truststore.export_pem,
    "der": truststore.export_der,
    "p7b": truststore.export_p7b,
}


class Command(VerbCommand):
    help = "Write the anchors of a trust store for other programs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--format", required=True, choices=EXPORTS)
        parser.add_argument("--out", required=True, metavar="PATH")

    def handle(self, *args: Any, **options: Any) -> None:
        store = TrustStore.objects.filter(name=options["name"]).first()
        if store is None:
            raise CommandError(f"There is no trust store {options['name']!r}.")
        content = EXPORTS[options["format"]](store)
        try:
            Path(options["out"]).write_bytes(content)
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written: {error.strerror}.") from None
        for anchor in store.anchors.all():
            self.stdout.write(f"{options['out']}: {anchor.subject}, SHA-256 {anchor.sha256}")
