from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management.base import CommandParser
from django.utils import timezone

from pki import adoption, bundles
from pki.management.base import (
    VerbCommand,
    command_actor,
    find_person,
    find_truststore,
    read_file,
    read_password,
)


class Command(VerbCommand):
    help = "Let a person sign in with a certificate of a CA from elsewhere."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("file", help="PEM, DER or PKCS #12; CAs may follow in it")
        parser.add_argument("--truststore", required=True, metavar="NAME")
        parser.add_argument("--password-file", metavar="FILE", help="of a PKCS #12 file")
        parser.add_argument("--device", default="", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        password = read_password(options["password_file"])
        chain = bundles.read(read_file(options["file"]), password=password)
        adopted = adoption.adopt(
            actor=command_actor(),
            chain=[one.public_bytes(Encoding.DER) for one in chain],
            user=find_person(options["username"]),
            truststore=find_truststore(options["truststore"]),
            device=options["device"],
            at=timezone.now(),
        )
        self.stdout.write(
            f"{options['username']} signs in with {adopted.subject}, SHA-256 {adopted.sha256}"
        )
