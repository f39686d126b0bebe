from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import endpoints
from pki.management.base import VerbCommand, command_actor, find_endpoint


class Command(VerbCommand):
    help = "Take away an endpoint that is switched off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        endpoint = find_endpoint(options["name"])
        endpoints.remove_endpoint(actor=command_actor(), endpoint=endpoint, at=timezone.now())
        self.stdout.write(f"{options['name']}: removed")
