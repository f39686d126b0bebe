from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import algorithms, endpoints, names, server_certificates
from pki.management.base import VerbCommand, command_actor, find_endpoint


class Command(VerbCommand):
    help = "Issue a server certificate with a new key for an endpoint, and put it in force."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--host", action="append", help="default: those of the certificate before"
        )
        parser.add_argument(
            "--key", choices=algorithms.GENERATORS, default=algorithms.DEFAULT, metavar="KIND"
        )
        parser.add_argument(
            "--beside", action="store_true", help="the certificate that is served now stays, too"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        endpoint = find_endpoint(options["name"])
        before = endpoint.certificate
        certificate = endpoints.renew_certificate(
            actor=command_actor(),
            endpoint=endpoint,
            hosts=options["host"]
            or (server_certificates.hosts_of(before) if before else names.server_hosts()),
            algorithm=options["key"],
            beside=options["beside"],
            at=timezone.now(),
        )
        self.stdout.write(
            f"{endpoint.name}: {certificate.subject}, serial {certificate.serial}, valid until "
            f"{certificate.not_after:%Y-%m-%d}, SHA-256 {certificate.fingerprint}"
        )
        if unserved := server_certificates.unserved(certificate):
            self.stdout.write(unserved)
