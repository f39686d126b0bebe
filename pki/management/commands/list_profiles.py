from __future__ import annotations

from typing import Any

from pki.management.base import VerbCommand
from pki.models import CertificateProfile


class Command(VerbCommand):
    help = "List the profiles: what kinds of certificates there are."

    def handle(self, *args: Any, **options: Any) -> None:
        for row in CertificateProfile.objects.all():
            words = [
                f"{row.name}: {row.get_purpose_display()}",
                f"valid for {row.validity_days} days",
                f"keys {', '.join(row.key_types)}",
                f"approvals {row.approvals}",
            ]
            self.stdout.write(", ".join([*words, *([] if row.enabled else ["switched off"])]))
