from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from pki.management.base import VerbCommand
from pki.models import CertificationRequest


class Command(VerbCommand):
    help = "List certification requests, those that wait unless --all is given; oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="decided ones too")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = CertificationRequest.objects.select_related("profile", "owner").order_by("pk")
        if not options["all"]:
            rows = rows.filter(state=CertificationRequest.State.WAITING)
        for asked in rows.defer("csr"):
            bearer = f"{asked.owner.username} on {asked.device}" if asked.owner else asked.hosts
            self.stdout.write(
                f"{asked.pk}: {asked.profile.name} for {_words(bearer)}, {asked.state}, asked by "
                f"{asked.requested_by} {asked.requested_at:%Y-%m-%d %H:%M} UTC, "
                f"key {asked.spki_sha256}"
            )
            for sentence in asked.differences:
                self.stdout.write(f"   {sentence}")


def _words(bearer: str | list[str]) -> str:
    return bearer if isinstance(bearer, str) else ", ".join(bearer)
