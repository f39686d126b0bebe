from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import truststore
from pki.description import sha256_digits
from pki.management.base import VerbCommand, command_actor, find_truststore


class Command(VerbCommand):
    help = "Stop trusting a root in a trust store."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sha256", metavar="SHA256", help="the root's fingerprint")
        parser.add_argument("--truststore", required=True, metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        store = find_truststore(options["truststore"])
        anchor = store.anchors.filter(sha256=sha256_digits(options["sha256"])).first()
        if anchor is None:
            raise CommandError(f"Trust store {store.name} has no such root. See: list_truststores")
        truststore.withdraw_anchor(actor=command_actor(), anchor=anchor, at=timezone.now())
        self.stdout.write(f"{store.name}: {anchor.subject} is trusted no more.")
