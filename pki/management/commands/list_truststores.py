from __future__ import annotations

from typing import Any

from django.utils import timezone

from pki import truststore
from pki.management.base import VerbCommand
from pki.models import TrustStore


class Command(VerbCommand):
    help = "List the trust stores and the roots in each, with their fingerprints."

    def handle(self, *args: Any, **options: Any) -> None:
        in_force = set(truststore.in_force(timezone.now()).values_list("pk", flat=True))
        for store in TrustStore.objects.prefetch_related("anchors", "endpoints"):
            asking = ", ".join(endpoint.name for endpoint in store.endpoints.all())
            self.stdout.write(f"{store.name} | used by {asking or 'no endpoint'}")
            for anchor in store.anchors.all():
                state = "" if anchor.pk in in_force else " | not in force now"
                self.stdout.write(
                    f"  {anchor.subject} | SHA-256 {anchor.sha256} | "
                    f"until {anchor.not_after:%Y-%m-%d}{state}"
                )
