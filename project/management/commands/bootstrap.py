from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import addresses
from pki.management.base import VerbCommand
from project import environment
from project.bootstrap import Report, bootstrap


class Command(VerbCommand):
    help = "Make the CAs, endpoints, admin and first room where they are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", action="append", metavar="NAME", help="default: SIGNET_HOST")
        parser.add_argument("--admin", default="admin", metavar="USERNAME")

    def handle(self, *args: Any, **options: Any) -> None:
        hosts = options["host"] or settings.SIGNET_HOSTS
        for host in hosts:
            if not (environment.HOST_NAME.match(host) or environment.is_address(host)):
                raise CommandError(f"--host {host!r} is neither a host name nor an IP address.")
        try:
            report = bootstrap(hosts=hosts, admin=options["admin"], at=timezone.now())
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        for line in report.done:
            self.stdout.write(line)
        self.stdout.write(box(_lines(report)))


def _lines(report: Report) -> list[str]:
    lines = [
        f"Chat and console   {addresses.url('main')}  (console under /console/)",
        f"Enrolment          {addresses.url('enrol')}",
        f"CRLs and OCSP      {addresses.url('public')}",
        "",
        f"Trust this root    {report.root_file}",
        f"  SHA-256          {report.root.fingerprint[:47]}",
        f"                   {report.root.fingerprint[48:]}",
        "",
    ]
    if report.enrolment_link:
        lines += [
            f"Enrol as {report.admin.username} (once, within 24 hours):",
            report.enrolment_link,
        ]
    else:
        lines += [f"{report.admin.username} is enrolled; further links come from the console."]
    return lines


def box(lines: list[str]) -> str:
    """The lines in a frame."""
    width = max(map(len, lines))
    body = [f"│ {line:<{width}} │" for line in lines]
    return "\n".join([f"┌─{'─' * width}─┐", *body, f"└─{'─' * width}─┘"])
