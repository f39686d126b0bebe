from __future__ import annotations

from typing import Any

from django.utils import timezone

from pki import authorities
from pki.management.base import VerbCommand
from pki.models import AuthorityRequest, CertificateAuthority


class Command(VerbCommand):
    help = (
        "List the CAs: subject, serial number, validity, key and where it is trusted; and those that "
        "wait for their certificate from elsewhere."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        rows = CertificateAuthority.objects.select_related("certificate__key", "parent")
        for authority in rows.prefetch_related("anchors__truststore"):
            certificate = authority.certificate
            stores = sorted({anchor.truststore.name for anchor in authority.anchors.all()})
            validity = f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
            facts = [
                authority.slug,
                certificate.subject,
                certificate.serial,
                f"{validity}, {authorities.standing(authority, at=now)}",
                authorities.key_words(authority),
                f"below {authority.parent.slug}" if authority.parent else "root",
                f"trusted in {', '.join(stores)}" if stores else "no anchor",
            ]
            self.stdout.write(" | ".join(facts))
        for request in AuthorityRequest.objects.order_by("slug"):
            asked = (
                f"requested {request.created_at:%Y-%m-%d}, waiting for complete_ca {request.slug}"
            )
            self.stdout.write(f"{request.slug} | {request.name} | {asked}")
