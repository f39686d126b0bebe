from __future__ import annotations

import datetime as dt
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from pki import identity, truststore
from pki.files import LARGEST_CRL, read_certificates, read_revocation_list
from pki.management.base import VerbCommand, read_file
from pki.models import TrustStore


class Command(VerbCommand):
    help = "Say what an endpoint would say of a client certificate; exit code 1 where refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="PEM or DER")
        trust = parser.add_mutually_exclusive_group(required=True)
        trust.add_argument("--truststore", metavar="NAME")
        trust.add_argument("--anchor", metavar="FILE", nargs="+")
        parser.add_argument("--chain", metavar="FILE", help="intermediates, PEM")
        parser.add_argument("--crl", metavar="FILE", nargs="+", default=[])
        parser.add_argument("--at", metavar="TIME", help="ISO 8601; now by default")

    def handle(self, *args: Any, **options: Any) -> None:
        chain = _certificates(options["file"])
        if options["chain"]:
            chain += _certificates(options["chain"])
        at = _time(options["at"])
        path = truststore.verify(_snapshot(options), chain, at=at)
        # Trusted is not yet ours: with a store, the endpoint also asks whose certificate it is.
        found = identity.identify(chain=chain, at=at) if options["truststore"] else None
        names = " ← ".join(certificate.subject.rfc4514_string() for certificate in path)
        self.stdout.write(f"trusted: {names}")
        if found is not None:
            self.stdout.write(f"signs in: {found.username}")


def _snapshot(options: dict[str, Any]) -> truststore.Snapshot:
    crls = tuple(_crl(path) for path in options["crl"])
    if options["anchor"]:
        anchors = tuple(der for path in options["anchor"] for der in _certificates(path))
        return truststore.Snapshot(name="anchors", anchors=anchors, intermediates=(), crls=crls)
    store = TrustStore.objects.filter(name=options["truststore"]).first()
    if store is None:
        raise CommandError(f"There is no trust store {options['truststore']!r}.")
    ours = truststore.snapshot(store)
    return truststore.Snapshot(
        name=ours.name,
        anchors=ours.anchors,
        intermediates=ours.intermediates,
        crls=ours.crls + crls,
    )


def _certificates(path: str) -> list[bytes]:
    return [c.public_bytes(Encoding.DER) for c in read_certificates(read_file(path))]


def _crl(path: str) -> bytes:
    return read_revocation_list(read_file(path, most=LARGEST_CRL)).public_bytes(Encoding.DER)


def _time(text: str | None) -> dt.datetime:
    if text is None:
        return timezone.now()
    moment = parse_datetime(text)
    if moment is None:
        raise CommandError(f"--at {text!r} is no time; write for example 2026-12-31T12:00:00Z.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment, dt.UTC)
