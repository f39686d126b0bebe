from __future__ import annotations

from typing import Any

from django.utils import timezone

from pki import addresses, endpoints, server_certificates
from pki.management.base import VerbCommand
from pki.models import Endpoint


class Command(VerbCommand):
    help = (
        "List the endpoints: address, what each serves, whom it asks, what is wrong with it, and "
        "below it each certificate it serves with: serial, hosts, end."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        for row in Endpoint.objects.select_related("certificate", "truststore"):
            used = endpoints.certificates_of(row) if row.tls else []
            troubles = (server_certificates.trouble_of(one, at=now) for one in used)
            facts = [
                row.name,
                "on" if row.enabled else "off",
                f"{addresses.origin(row.address, row.port, tls=row.tls)}",
                f"serves {row.serves}",
                f"client certificate {row.client_certificate}",
                f"trusts {row.truststore}" if row.truststore else "",
                row.policy if row.tls else "no TLS",
                *(trouble for trouble in troubles if trouble),
            ]
            self.stdout.write(" | ".join(fact for fact in facts if fact))
            for one in used:
                hosts = ", ".join(server_certificates.hosts_of(one))
                known = [f"  certificate {one.serial}", hosts, f"until {one.not_after:%Y-%m-%d}"]
                if unserved := server_certificates.unserved(one):
                    known.append(unserved)
                self.stdout.write(" | ".join(known))
