from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from pki.management.base import VerbCommand, command_actor
from pki.models import Endpoint
from project.endpoint_test import NobodyThereError, test_endpoint


class Command(VerbCommand):
    help = "Connect to an endpoint as everybody who might, and say what each sees."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the endpoint, as the console shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        try:
            for result in test_endpoint(actor=command_actor(), endpoint=_find(options["name"])):
                self.stdout.write(result.sentence)
                self.stdout.flush()
                wrong += not result.is_right
        except NobodyThereError as error:
            raise CommandError(str(error)) from None
        if wrong:
            raise CommandError(f"{wrong} of these are wrong; the others are right.")


def _find(name: str) -> Endpoint:
    found = Endpoint.objects.filter(name=name).select_related("truststore").first()
    if found is None:
        known = ", ".join(Endpoint.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no endpoint {name!r}. There are: {known}.")
    return found
