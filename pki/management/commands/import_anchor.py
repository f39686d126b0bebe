from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import truststore
from pki.files import read_certificates
from pki.management.base import VerbCommand, command_actor, read_file
from pki.models import TrustStore


class Command(VerbCommand):
    help = "Add the CA certificates in a file to a trust store."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="PEM or DER")
        parser.add_argument("--truststore", required=True, metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        store = TrustStore.objects.filter(name=options["truststore"]).first()
        if store is None:
            raise CommandError(f"There is no trust store {options['truststore']!r}.")
        for certificate in read_certificates(read_file(options["file"])):
            anchor = truststore.add_anchor(
                actor=command_actor(),
                truststore=store,
                certificate=certificate.public_bytes(Encoding.DER),
                at=timezone.now(),
            )
            self.stdout.write(f"{store.name}: {anchor.subject}, SHA-256 {anchor.sha256}")
