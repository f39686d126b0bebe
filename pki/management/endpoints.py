"""The fields of an endpoint as options of a command; each is one field of the row."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pki.management.base import find_truststore
from pki.models import Certificate, Endpoint

PLAIN = ("address", "port", "serves", "policy", "client_certificate", "proxy", "proxy_addresses")
LIMITS = ("max_connections", "max_per_address", "handshake_seconds")


def add_options(parser: CommandParser) -> None:
    parser.add_argument("--serves", choices=Endpoint.Serves.values)
    parser.add_argument("--address", metavar="IP")
    parser.add_argument("--port", type=int)
    parser.add_argument("--tls", action=BooleanOptionalAction, default=None)
    parser.add_argument("--certificate", metavar="SERIAL", help="of a server, with its key here")
    parser.add_argument(
        "--further-certificate",
        metavar="SERIAL",
        action="append",
        help="for other host names; may be given several times, and replaces those there are",
    )
    parser.add_argument("--policy", choices=Endpoint.Policy.values)
    parser.add_argument("--client-certificate", choices=Endpoint.ClientCertificate.values)
    parser.add_argument("--truststore", metavar="NAME", help='"" takes it away')
    for name in LIMITS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N")
    parser.add_argument("--proxy", choices=Endpoint.Proxy.values)
    parser.add_argument("--proxy-addresses", metavar="NETWORKS")
    parser.add_argument("--plain-anyway", action=BooleanOptionalAction, default=None)
    parser.add_argument("--enabled", action=BooleanOptionalAction, default=None)
    parser.add_argument(
        "--port-is-ours", action="store_true", help="do not try whether the port is free"
    )


def fields_of(options: dict[str, Any]) -> dict[str, Any]:
    """What was given: field → value."""
    names = (*PLAIN, *LIMITS, "tls", "plain_anyway", "enabled")
    fields = {name: options[name] for name in names if options.get(name) is not None}
    if options["certificate"] is not None:
        fields["certificate"] = _certificate(options["certificate"])
    if options["further_certificate"] is not None:
        serials = [serial for serial in options["further_certificate"] if serial]
        fields["further_certificates"] = [_certificate(serial) for serial in serials]
    if (store := options["truststore"]) is not None:
        fields["truststore"] = find_truststore(store) if store else None
    return fields


def _certificate(serial: str) -> Certificate:
    rows = Certificate.objects.filter(serial=serial.lower().replace(":", ""), profile="server")
    row = rows.filter(key__isnull=False).first()
    if row is None:
        raise CommandError(f"There is no server certificate {serial!r} with its key here.")
    return row
