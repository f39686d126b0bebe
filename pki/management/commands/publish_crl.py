from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import crl
from pki.management.base import VerbCommand, command_actor, find_authority
from pki.models import CertificateAuthority, RevocationList


class Command(VerbCommand):
    help = (
        "Publish a fresh CRL of one CA, or of all whose key is here, with its delta and partitions; "
        "--out also writes it (.pem as PEM, else DER)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--ca", metavar="SLUG")
        parser.add_argument("--out", metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["out"] and not options["ca"]:
            raise CommandError("--out writes one CRL: name its CA with --ca.")
        chosen = (
            [find_authority(options["ca"])]
            if options["ca"]
            else list(CertificateAuthority.objects.filter(certificate__key__isnull=False))
        )
        for authority in chosen:
            published = crl.publish(authority=authority, actor=command_actor(), at=timezone.now())
            self.stdout.write(
                f"{authority.slug}: CRL {published.number}, {published.entries} revoked, "
                f"next update {published.next_update:%Y-%m-%d %H:%M} UTC"
            )
            if options["out"]:
                _write(options["out"], published)


def _write(path: str, published: RevocationList) -> None:
    content = crl.crl_pem(published) if path.endswith(".pem") else bytes(published.der)
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
