"""What our commands share: the actor, and refusals as one sentence."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pki.errors import BadFileError, PKIError
from pki.models import CertificateAuthority, User

FILE_MAXIMUM = 1024 * 1024


class VerbCommand(BaseCommand):
    """Parse, call one verb, print. A PKIError becomes one sentence and exit code 1."""

    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except PKIError as error:
            raise CommandError(str(error)) from None


def command_actor() -> str:
    """Who runs the command, for the audit trail."""
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):
        return "command"


def find_person(username: str, *, hint: str = "Check the name.") -> User:
    person = User.objects.filter(username=username).first()
    if person is None:
        raise CommandError(f"There is no person {username!r}. {hint}")
    return person


def find_authority(slug: str) -> CertificateAuthority:
    authority = CertificateAuthority.objects.filter(slug=slug).first()
    if authority is None:
        known = ", ".join(CertificateAuthority.objects.values_list("slug", flat=True)) or "none"
        raise CommandError(f"There is no CA {slug!r}. There are: {known}.")
    return authority


def read_file(path: str, *, most: int = FILE_MAXIMUM) -> bytes:
    """The content of a file of at most `most` bytes; else BadFileError with the reason."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > most:
        raise BadFileError(f"{path} is larger than {most} bytes.")
    return content


def read_password(path: str | None) -> str | None:
    """The first line of a password file, or None where no file was named."""
    if path is None:
        return None
    lines = read_file(path).decode(errors="replace").splitlines()
    if not lines or not lines[0]:
        raise BadFileError(f"The password file {path} is empty.")
    return lines[0]


def write_private(path: str, content: bytes) -> None:
    """Write a new file that its owner alone may read; refuses to overwrite one."""
    target = Path(path)
    try:
        target.touch(mode=0o600, exist_ok=False)
        target.write_bytes(content)
    except FileExistsError:
        raise BadFileError(f"{path} exists already; name another file.") from None
    except OSError as error:
        raise BadFileError(f"{path} cannot be written: {error.strerror}.") from None
