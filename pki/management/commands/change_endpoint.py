from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import endpoints
from pki.management.base import VerbCommand, command_actor, find_endpoint
from pki.management.endpoints import add_options, fields_of


class Command(VerbCommand):
    help = "Change an endpoint; servers follow within a second and drop no connection."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        changes = fields_of(options)
        if not changes:
            raise CommandError("Say what to change; see: change_endpoint --help")
        endpoint = find_endpoint(options["name"])
        news = endpoints.news(endpoint, changes)
        row = endpoints.change_endpoint(
            actor=command_actor(),
            endpoint=endpoint,
            changes=changes,
            probe=not options["port_is_ours"],
            at=timezone.now(),
        )
        said = f"changed {', '.join(news)}" if news else "nothing changed: it is so already"
        self.stdout.write(f"{row.name}: {said}")
