from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from pki import enrolment, handout, people, profiles
from pki.files import read_csr
from pki.handout import Format
from pki.management.base import (
    VerbCommand,
    command_actor,
    find_person,
    read_file,
    read_password,
    write_private,
)
from pki.models import User


class Command(VerbCommand):
    help = "Issue a certificate to a person: with a key made now, or for the key of a CSR."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--out", required=True, metavar="FILE", help="new file, mode 0600")
        parser.add_argument("--create-user", action="store_true", help="create the person first")
        parser.add_argument("--name", default="", help="display name, with --create-user")
        parser.add_argument("--device", default="", help="default: the name of the file")
        parser.add_argument("--profile", default=profiles.PERSON.name, help="default: person")
        parser.add_argument("--csr", metavar="FILE", help="PKCS #10 request, PEM or DER")
        parser.add_argument("--format", choices=[f.value for f in Format])
        parser.add_argument(
            "--password-file", metavar="FILE", help="its first line protects a .p12"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now, actor, out = timezone.now(), command_actor(), options["out"]
        format = Format(options["format"] or _format_of(out))
        csr = read_csr(read_file(options["csr"])) if options["csr"] else None
        password = read_password(options["password_file"])
        if Path(out).exists():
            raise CommandError(f"{out} exists already; name another file.")
        generated = None
        if format is not Format.PEM and password is None:
            password = generated = handout.make_password()
        with written_aside(out) as write, transaction.atomic():
            if options["create_user"]:
                user = self._person(options["username"], options["name"], actor=actor)
            else:
                user = find_person(
                    options["username"], hint="Add --create-user, or check the name."
                )
            enrolled = enrolment.hand_out(
                actor=actor,
                user=user,
                device=options["device"] or Path(out).stem,
                format=format,
                password=password,
                csr=csr,
                profile=options["profile"],
                at=now,
            )
            write(enrolled.handout.content)
        certificate = enrolled.certificate
        self.stdout.write(
            f"{out}: serial {certificate.serial}, SHA-256 {certificate.fingerprint}, "
            f"issued by {certificate.authority}, valid to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        )
        for sentence in enrolled.differences:
            self.stdout.write(f"note: {sentence}")
        if format is Format.PEM and csr is None:
            self.stdout.write(f"{out} holds an unencrypted private key; hand it over in safety")
        if generated:
            self.stdout.write(f"password of {out}: {generated}")

    def _person(self, username: str, name: str, *, actor: str) -> User:
        existing = User.objects.filter(username=username).first()
        if existing:
            return existing
        made = people.create_person(actor=actor, username=username, name=name, at=timezone.now())
        for sentence in people.recognised_by(made):
            self.stderr.write(f"note: {sentence}")
        return made


@contextmanager
def written_aside(out: str) -> Iterator[Callable[[bytes], None]]:
    """What is written lies beside its place until the commit; without one, nothing is left of it."""
    part = Path(f"{out}.{secrets.token_hex(4)}.part")
    try:
        yield partial(write_private, str(part))
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.rename(out)


def _format_of(out: str) -> str:
    return "p12" if Path(out).suffix.lower() in {".p12", ".pfx"} else "pem"
