from __future__ import annotations

from typing import Any

from pki import audit
from pki.management.base import VerbCommand


class Command(VerbCommand):
    help = "Check the audit trail's chain from its first entry to its head."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{audit.verify()} entries, unbroken")
