from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from pki import profiles, roster
from pki.errors import BadFileError
from pki.files import read_csr, read_table
from pki.handout import Format
from pki.management.base import (
    VerbCommand,
    command_actor,
    read_file,
    read_password,
    write_private,
)
from pki.models import Certificate
from pki.roster import Checked, Handed, Row

NEEDED = ("username", "device")
KNOWN = (*NEEDED, "name", "email", "profile", "csr")
LARGEST = 16 * 1024 * 1024


class Command(VerbCommand):
    help = (
        "Issue certificates to many people from a list (CSV). Its first line names the columns: "
        "username, device, and as wanted name, email, profile, csr (a file, from where the list is)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("list", metavar="FILE.csv")
        parser.add_argument("--out", required=True, metavar="DIR", help="for the files, mode 0600")
        parser.add_argument(
            "--create-users", action="store_true", help="create people who are not there"
        )
        parser.add_argument(
            "--keep-going", action="store_true", help="leave out rows that are refused"
        )
        parser.add_argument(
            "--profile",
            default=profiles.PERSON.name,
            help="where a row names none; default: person",
        )
        parser.add_argument(
            "--format",
            choices=[f.value for f in Format],
            default=Format.P12.value,
            help="of keys made here; a CSR's certificate is always PEM",
        )
        parser.add_argument(
            "--password-file", metavar="FILE", help="its first line protects every .p12"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now, actor, format = timezone.now(), command_actor(), Format(options["format"])
        password = read_password(options["password_file"])
        rows = _rows(Path(options["list"]), profile=options["profile"])
        self.folder = _folder(options["out"])
        how: dict[str, Any] = {
            "create_people": options["create_users"],
            "keep_going": options["keep_going"],
        }
        with self.progress("Checking") as progress:
            checked = roster.check(actor=actor, rows=rows, **how, at=now, progress=progress)
        self._make_room(checked, format)
        for row, certificate in checked.done:
            self._say_done(row, certificate, format)
        self.issued = 0
        with self.progress("Issuing") as progress:
            roster.issue(
                actor=actor,
                checked=checked,
                keep=partial(self._keep, format=format),
                format=format,
                password=password,
                **how,
                at=now,
                progress=progress,
            )
        self._say_end(checked)

    def _make_room(self, checked: Checked, format: Format) -> None:
        """What a step left that was undone goes; what anybody else wrote stays, and is told."""
        names = {self._file(ready.row, format).name for ready in checked.ready}
        if there := sorted(names & set(os.listdir(self.folder))):
            raise CommandError(
                f"In {self.folder} there are files of rows that have no valid certificate: "
                f"{', '.join(there[:5])}. Move them away, or name another folder."
            )
        for file in self.folder.glob("*.part"):
            if file.name.rsplit(".", 2)[0] in names:
                file.unlink()

    def _keep(self, handed: Handed, *, format: Format) -> None:
        """Written beside its place, and put there after the commit: see `_say_done`."""
        target = self._file(handed.row, format)
        written = _unfinished(target, handed.certificate)
        write_private(str(written), handed.content)
        transaction.on_commit(partial(self._finish, handed, written, target))

    def _finish(self, handed: Handed, written: Path, target: Path) -> None:
        written.rename(target)
        self.issued += 1
        certificate = handed.certificate
        line = f"{target}: {_words(certificate)}"
        if handed.password:
            line += f", password {handed.password}"
        self.stdout.write(" ".join([line, *(f"note: {each}" for each in handed.differences)]))

    def _say_done(self, row: Row, certificate: Certificate, format: Format) -> None:
        target = self._file(row, format)
        written = _unfinished(target, certificate)
        if written.exists():  # the last run ended between its commit and this
            written.rename(target)
        where = "" if target.exists() else "; its file is not there"
        self.stdout.write(f"{target}: done before, {_words(certificate)}{where}")

    def _say_end(self, checked: Checked) -> None:
        refused, done = checked.refused, len(checked.done)
        self.stdout.write(f"{self.issued} issued, {done} done before, {len(refused)} refused")
        if refused:
            lines = [f"{row}: {error}" for row, error in refused]
            raise CommandError("\n".join(["These rows were left out:", *lines]))

    def _file(self, row: Row, format: Format) -> Path:
        is_pem = row.csr is not None or format is Format.PEM
        return self.folder / f"{row.stem}.{'pem' if is_pem else 'p12'}"


def _rows(path: Path, *, profile: str) -> list[Row]:
    data = read_file(str(path), most=LARGEST)
    found = read_table(data, needed=NEEDED, known=KNOWN, most=roster.MOST_ROWS)
    return [_row(fields, path.parent, profile) for fields in found]


def _row(fields: dict[str, str], folder: Path, profile: str) -> Row:
    csr = None
    if fields.get("csr"):
        try:
            csr = read_csr(read_file(str(folder / fields["csr"])))
        except BadFileError as error:
            raise BadFileError(f"Row {fields['row']}, {fields['csr']}: {error}") from None
    return Row(
        number=int(fields["row"]),
        username=fields["username"],
        device=fields["device"],
        name=fields.get("name", ""),
        email=fields.get("email", ""),
        profile=fields.get("profile") or profile,
        csr=csr,
    )


def _folder(out: str) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadFileError(f"The folder {out} cannot be used: {error.strerror}.") from None
    return folder


def _unfinished(target: Path, certificate: Certificate) -> Path:
    return target.with_name(f"{target.name}.{certificate.serial}.part")


def _words(certificate: Certificate) -> str:
    return f"serial {certificate.serial}, valid to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
