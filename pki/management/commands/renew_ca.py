from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from pki import outside, succession
from pki.management.authority import new_file
from pki.management.base import VerbCommand, command_actor, find_authority
from pki.models import CertificateAuthority


class Command(VerbCommand):
    help = "Renew the certificate of a CA: same name, same key, new validity."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--days", type=int, help="fewer than the profile gives")
        parser.add_argument(
            "--csr", metavar="FILE", help="where an outside CA signs it: the CSR for that, in PEM"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        authority = find_authority(options["slug"])
        if options["csr"]:
            self._request(authority, options["csr"])
            return
        renewed = succession.renew_authority(
            actor=command_actor(),
            authority=authority,
            validity=dt.timedelta(days=options["days"]) if options["days"] is not None else None,
            at=timezone.now(),
        )
        days = (renewed.not_after - renewed.not_before).days + 1  # both ends count
        why = "" if options["days"] is not None else ", as long as its profile gives (see --days)"
        self.stdout.write(
            f"{options['slug']}: valid from {renewed.not_before:%Y-%m-%d} until "
            f"{renewed.not_after:%Y-%m-%d}, {days} days{why}, SHA-256 {renewed.fingerprint}"
        )

    def _request(self, authority: CertificateAuthority, path: str) -> None:
        out = new_file(path)
        request = outside.request_renewal(
            actor=command_actor(), authority=authority, at=timezone.now()
        )
        out.write_bytes(outside.request_pem(request))
        self.stdout.write(f"{request.slug}: the CSR is in {path}; then complete_ca {request.slug}")
