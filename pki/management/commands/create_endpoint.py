from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import endpoints
from pki.management.base import VerbCommand, command_actor
from pki.management.endpoints import add_options, fields_of
from pki.models import Endpoint


class Command(VerbCommand):
    help = "Open another endpoint, such as: create_endpoint robots --serves chat --port 9443 …"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        fields = fields_of(options)
        further = fields.pop(endpoints.FURTHER, [])
        row = endpoints.create_endpoint(
            actor=command_actor(),
            endpoint=Endpoint(name=options["name"], **fields),
            further_certificates=further,
            probe=not options["port_is_ours"],
            at=timezone.now(),
        )
        self.stdout.write(f"{row.name}: serves {row.serves} on {row.address} port {row.port}")
