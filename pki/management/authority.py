"""What the commands about CAs share."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentTypeError
from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from pki import algorithms
from pki.errors import BadFileError
from pki.models import AuthorityRequest, CertificateAuthority, PrivateKey
from pki.profiles import LONGEST_CA

LONGEST_DAYS = LONGEST_CA // dt.timedelta(days=1)


def add_key_arguments(parser: CommandParser) -> None:
    parser.add_argument("--key", choices=sorted(algorithms.GENERATORS))
    parser.add_argument(
        "--backend",
        choices=PrivateKey.Backend.values,
        default=PrivateKey.Backend.DATABASE.value,
        help="where the key is kept (default: database)",
    )


def authority_line(authority: CertificateAuthority) -> str:
    certificate = authority.certificate
    return f"{authority.slug}: {certificate.subject}, SHA-256 {certificate.fingerprint}"


def find_authority_request(slug: str) -> AuthorityRequest:
    request = AuthorityRequest.objects.filter(slug=slug).first()
    if request is None:
        known = ", ".join(AuthorityRequest.objects.values_list("slug", flat=True)) or "none"
        raise CommandError(f"There is no request for a CA {slug!r}. There are: {known}.")
    return request


def new_file(path: str) -> Path:
    """Where a CSR will be written: looked at before a key is made in vain."""
    out = Path(path)
    if out.exists():
        raise BadFileError(f"{out} exists already; name another file.")
    return out


def days_to_come(text: str) -> int:
    """A number of days from now, for argparse."""
    if not (text.isascii() and text.isdigit() and int(text) <= LONGEST_DAYS):
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to {LONGEST_DAYS} days")
    return int(text)
