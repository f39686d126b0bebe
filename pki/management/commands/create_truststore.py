from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.validators import validate_slug
from django.forms import ValidationError
from django.utils import timezone

from pki import truststore
from pki.management.base import VerbCommand, command_actor


class Command(VerbCommand):
    help = "Make an empty trust store. import_anchor fills it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--description", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            validate_slug(options["name"])
        except ValidationError:
            raise CommandError("A name consists of letters, digits and dashes.") from None
        made = truststore.create_truststore(
            actor=command_actor(),
            name=options["name"],
            description=options["description"],
            at=timezone.now(),
        )
        self.stdout.write(f"{made.name}: empty. Fill it with import_anchor.")
