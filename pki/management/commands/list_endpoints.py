from __future__ import annotations

from typing import Any

from django.utils import timezone

from pki import addresses, endpoints, server_certificates
from pki.management.base import VerbCommand
from pki.models import Endpoint


class Command(VerbCommand):
    help = "List the endpoints: address, what each serves, whom it asks, and what is wrong with it."

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        for row in Endpoint.objects.select_related("certificate", "truststore"):
            used = endpoints.certificates_of(row) if row.tls else []
            troubles = (server_certificates.trouble_of(one, at=now) for one in used)
            ends = min((one.not_after for one in used), default=None)
            facts = [
                row.name,
                "on" if row.enabled else "off",
                f"{addresses.origin(row.address, row.port, tls=row.tls)}",
                f"serves {row.serves}",
                f"client certificate {row.client_certificate}",
                f"trusts {row.truststore}" if row.truststore else "",
                f"{row.policy}, certificate until {ends:%Y-%m-%d}" if ends else "no TLS",
                *(trouble for trouble in troubles if trouble),
            ]
            self.stdout.write(" | ".join(fact for fact in facts if fact))
