"""What our commands share: the actor, refusals as one sentence, progress, and Ctrl-C."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from pki import audit
from pki.checks import is_migrated
from pki.errors import AuditError, BadFileError, NotFoundError, PKIError
from pki.files import read_certificates
from pki.models import (
    Certificate,
    CertificateAuthority,
    CertificationRequest,
    Endpoint,
    TrustStore,
    User,
)
from pki.progress import ProgressLine, waiting_line

FILE_MAXIMUM = 1024 * 1024
OLDER = "The database is empty, or older than this Signet. Run: manage.py migrate"
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class VerbCommand(BaseCommand):
    """Parse, call one verb, print. A PKIError becomes one sentence and exit code 1.

    Ctrl-C becomes one sentence and exit code 130. Where nobody reads the output any more, the
    command ends without a word.
    """

    requires_system_checks: list[str] = []
    watched: ProgressLine | None = None

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            said = super().execute(*args, **options)
            sys.stdout.flush()
            return said
        except BrokenPipeError:
            self._unheard()
            sys.exit(1)
        except (PKIError, DatabaseError) as error:
            if not is_migrated():
                raise CommandError(OLDER) from None
            if isinstance(error, DatabaseError):
                raise
            self._record(error)
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError(self._interrupted(), returncode=INTERRUPTED) from None

    def progress(self, title: str) -> ProgressLine:
        """For a verb that takes `progress`, as `with self.progress("Revoking") as progress`."""
        self.watched = ProgressLine(title, sys.stderr)
        return self.watched

    def waiting(self, title: str) -> AbstractContextManager[None]:
        """For what takes seconds and cannot say how far it is: `with self.waiting("Making …")`."""
        return waiting_line(title, sys.stderr)

    def _unheard(self) -> None:
        """Whoever read what we print has had enough, as in `| head`: there is nobody to complain to."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for what Python still flushes at its end
        os.close(nowhere)

    def _record(self, error: PKIError) -> None:
        """A slip of whoever typed the command is no refusal of the CA."""
        name = type(self).__module__.rsplit(".", 1)[-1]
        slip = isinstance(error, AuditError | BadFileError | NotFoundError)
        audit.record_refusal(error, actor=command_actor(), action="" if slip else f"command.{name}")

    def _interrupted(self) -> str:
        if self.watched is None or not self.watched.total:
            return "Stopped."
        return f"Stopped after {self.watched.done} of {self.watched.total}. Run it again to go on."


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


def find_certificate(options: dict[str, Any]) -> Certificate:
    """The one that `file`, `sha256` or `serial` names."""
    if options["file"]:
        leaf = read_certificates(read_file(options["file"]))[0]
        found = Certificate.objects.filter(sha256=leaf.fingerprint(SHA256()).hex())
    elif options["sha256"]:
        found = Certificate.objects.with_sha256(options["sha256"])
    else:
        found = Certificate.objects.with_serial(options["serial"])
    if not found:
        raise CommandError("No such certificate was issued here.")
    if len(found) > 1:
        raise CommandError("More than one CA used this serial; name the certificate by --sha256.")
    return found[0]


def find_authority(slug: str) -> CertificateAuthority:
    authority = CertificateAuthority.objects.filter(slug=slug).first()
    if authority is None:
        known = ", ".join(CertificateAuthority.objects.values_list("slug", flat=True)) or "none"
        raise CommandError(f"There is no CA {slug!r}. There are: {known}.")
    return authority


def find_request(number: int) -> CertificationRequest:
    asked = CertificationRequest.objects.filter(pk=number).first()
    if asked is None:
        raise CommandError(f"There is no request {number}. See: list_requests --all")
    return asked


def find_truststore(name: str) -> TrustStore:
    store = TrustStore.objects.filter(name=name).first()
    if store is None:
        known = ", ".join(TrustStore.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no trust store {name!r}. There are: {known}.")
    return store


def find_endpoint(name: str) -> Endpoint:
    endpoint = Endpoint.objects.filter(name=name).first()
    if endpoint is None:
        known = ", ".join(Endpoint.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no endpoint {name!r}. There are: {known}.")
    return endpoint


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
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # the same file, whatever has become of the name
            file.write(content)
    except FileExistsError:
        raise BadFileError(f"{path} exists already; name another file.") from None
    except OSError as error:
        raise BadFileError(f"{path} cannot be written: {error.strerror}.") from None
