from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import endpoints, server_certificates
from pki.management.base import (
    VerbCommand,
    command_actor,
    find_endpoint,
    read_file,
    read_password,
)


class Command(VerbCommand):
    help = (
        "Serve an endpoint with a certificate from elsewhere: PEM (certificate, CAs above it and "
        "key in one file) or PKCS #12."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("endpoint")
        parser.add_argument("file")
        parser.add_argument(
            "--beside", action="store_true", help="the certificate that is served now stays, too"
        )
        parser.add_argument("--chain", metavar="FILE", help="certificates of the CAs above it")
        parser.add_argument("--password-file", metavar="FILE", help="its first line is used")

    def handle(self, *args: Any, **options: Any) -> None:
        certificate = endpoints.import_certificate(
            actor=command_actor(),
            endpoint=find_endpoint(options["endpoint"]),
            data=read_file(options["file"]),
            password=read_password(options["password_file"]),
            chain=read_file(options["chain"]) if options["chain"] else b"",
            beside=options["beside"],
            at=timezone.now(),
        )
        self.stdout.write(
            f"{options['endpoint']}: {certificate.subject}, valid until "
            f"{certificate.not_after:%Y-%m-%d}, SHA-256 {certificate.fingerprint}"
        )
        if unnamed := server_certificates.unnamed_hosts(certificate):
            self.stderr.write(f"It does not name {', '.join(unnamed)}: browsers refuse it there.")
        if unserved := server_certificates.unserved(certificate):
            self.stderr.write(unserved)
