from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import handout, truststore
from pki.bundles import Bundle, Format
from pki.management.base import VerbCommand, find_truststore, read_password


class Command(VerbCommand):
    help = "Write the anchors of a trust store for other programs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--format", required=True, choices=[one.value for one in Format])
        parser.add_argument(
            "--out", required=True, metavar="PATH", help="a folder for hashed-dir and nss"
        )
        parser.add_argument(
            "--password-file", metavar="FILE", help="for pkcs12 and java; made and shown without"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        store, at = find_truststore(options["name"]), timezone.now()
        format, out = Format(options["format"]), options["out"]
        given = read_password(options["password_file"])
        password = given or (handout.make_password() if format.has_password else None)
        bundle = truststore.export(store, format=format, at=at, password=password)
        _write(Path(out), bundle, format)
        for anchor in truststore.anchors_of(store, at=at):
            subject, digest = anchor.subject.rfc4514_string(), anchor.fingerprint(SHA256()).hex()
            self.stdout.write(f"{out}: {subject}, SHA-256 {digest}")
        if password and not given:
            self.stdout.write(f"{out}: password {password}")


def _write(out: Path, bundle: Bundle, format: Format) -> None:
    try:
        if not format.is_folder:
            out.write_bytes(bundle.content)
            return
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            # What is there already would be trusted along with it.
            raise CommandError(f"{out} is not empty; name a new folder.")
        for name, content in bundle.files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}.") from None
