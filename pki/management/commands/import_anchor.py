from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import bundles, imports
from pki.description import sha256_digits
from pki.management.base import (
    VerbCommand,
    command_actor,
    find_truststore,
    read_file,
    read_password,
)


class Command(VerbCommand):
    help = "Trust the roots in a file of any program, and know the CAs below them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            help="PEM, DER, PKCS #7, PKCS #12, Java key store, .mobileconfig, or a folder: hashed "
            "names or an NSS database",
        )
        parser.add_argument("--truststore", required=True, metavar="NAME")
        parser.add_argument("--password-file", metavar="FILE")
        parser.add_argument(
            "--sha256", metavar="HEX", nargs="+", help="these of the file alone; all by default"
        )
        parser.add_argument("--list", action="store_true", help="show them and trust nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        store, at = find_truststore(options["truststore"]), timezone.now()
        certificates = _chosen(_read(options), options["sha256"])
        if options["list"]:
            for found in imports.look_through(certificates, store=store, at=at):
                words = " ".join(filter(None, (found.fate.value, found.reason)))
                self.stdout.write(f"{found.subject}, SHA-256 {found.sha256}: {words}")
            return
        imported = imports.import_anchors(
            actor=command_actor(), truststore=store, certificates=certificates, at=at
        )
        for anchor in imported.anchors:
            self.stdout.write(f"{store.name}: {anchor.subject}, SHA-256 {anchor.sha256}")
        for authority in imported.intermediates:
            row = authority.certificate
            self.stdout.write(f"known as a CA below: {row.subject}, SHA-256 {row.sha256}")
        for known in imported.known:
            self.stdout.write(f"here already: {known.subject}, SHA-256 {known.sha256}")


def _read(options: dict[str, Any]) -> list[x509.Certificate]:
    path = Path(options["file"])
    if path.is_dir():
        return bundles.read_folder(path)
    password = read_password(options["password_file"])
    return bundles.read(read_file(options["file"]), password=password)


def _chosen(
    certificates: list[x509.Certificate], digests: list[str] | None
) -> list[x509.Certificate]:
    if digests is None:
        return certificates
    by_digest = {one.fingerprint(SHA256()).hex(): one for one in certificates}
    wanted = [sha256_digits(digest) for digest in digests]
    if missing := [digest for digest in wanted if digest not in by_digest]:
        raise CommandError(f"There is no certificate {missing[0]} in this file.")
    return [by_digest[digest] for digest in wanted]
