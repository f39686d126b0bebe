from __future__ import annotations

import datetime as dt
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from pki import adoption, bundles, identity, truststore
from pki.files import LARGEST_CRL, read_revocation_list
from pki.management.base import VerbCommand, find_truststore, read_file, read_password
from pki.models import Certificate, TrustStore


class Command(VerbCommand):
    help = "Say what an endpoint would say of a client certificate; exit code 1 where refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="PEM, DER or PKCS #12; CAs may follow in it")
        trust = parser.add_mutually_exclusive_group(required=True)
        trust.add_argument("--truststore", metavar="NAME")
        trust.add_argument("--anchor", metavar="FILE", nargs="+")
        parser.add_argument("--chain", metavar="FILE", help="intermediates, PEM")
        parser.add_argument("--crl", metavar="FILE", nargs="+", default=[])
        parser.add_argument("--password-file", metavar="FILE", help="of a PKCS #12 file")
        parser.add_argument("--at", metavar="TIME", help="ISO 8601; now by default")

    def handle(self, *args: Any, **options: Any) -> None:
        chain = _certificates(options["file"], read_password(options["password_file"]))
        if options["chain"]:
            chain += _certificates(options["chain"])
        at = _time(options["at"])
        path = truststore.verify(_snapshot(options, at), chain, at=at)
        # Trusted is not yet ours: with a store, the endpoint also asks whose certificate it is.
        username = _username(options["truststore"], chain, at) if options["truststore"] else None
        names = " ← ".join(certificate.subject.rfc4514_string() for certificate in path)
        self.stdout.write(f"trusted: {names}")
        if username is not None:
            self.stdout.write(f"signs in: {username}")


def _username(name: str, chain: list[bytes], at: dt.datetime) -> str:
    store = find_truststore(name)
    is_known = Certificate.objects.filter(sha256=sha256(chain[0]).hexdigest()).exists()
    if is_known or store.recognises == TrustStore.Recognises.NOBODY:
        return identity.identify(chain=chain, at=at).username
    return adoption.person_of(chain=chain, truststore=store, at=at).username


def _snapshot(options: dict[str, Any], at: dt.datetime) -> truststore.Snapshot:
    crls = tuple(_crl(path) for path in options["crl"])
    if options["anchor"]:
        anchors = tuple(der for path in options["anchor"] for der in _certificates(path))
        return truststore.Snapshot(name="anchors", anchors=anchors, intermediates=(), crls=crls)
    ours = truststore.snapshot(find_truststore(options["truststore"]), at)
    return truststore.Snapshot(
        name=ours.name,
        anchors=ours.anchors,
        intermediates=ours.intermediates,
        crls=ours.crls + crls,
    )


def _certificates(path: str, password: str | None = None) -> list[bytes]:
    found = bundles.read(read_file(path), password=password)
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def _crl(path: str) -> bytes:
    return read_revocation_list(read_file(path, most=LARGEST_CRL)).public_bytes(Encoding.DER)


def _time(text: str | None) -> dt.datetime:
    if text is None:
        return timezone.now()
    moment = parse_datetime(text)
    if moment is None:
        raise CommandError(f"--at {text!r} is no time; write for example 2026-12-31T12:00:00Z.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment, dt.UTC)
