from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pki import revocation
from pki.management.base import VerbCommand, command_actor, find_certificate, find_person
from pki.models import Certificate, RevocationReason


class Command(VerbCommand):
    help = (
        "Revoke a certificate, or all that a person has, now or at a time. Open sockets close "
        "within a second. The reason certificateHold can be taken back: release_certificate."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--serial", metavar="HEX")
        which.add_argument("--sha256", metavar="HEX")
        which.add_argument("--user", metavar="USERNAME", help="every valid certificate of them")
        which.add_argument("--file", metavar="PEM")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--reason", choices=RevocationReason.values)
        what.add_argument("--cancel", action="store_true", help="drop what was planned with --at")
        parser.add_argument(
            "--at", metavar="TIME", help="plan it for then: ISO 8601, UTC where it does not say"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        when = _time(options["at"]) if options["at"] else None
        chosen = _chosen(options)
        if options["user"] and when is None and not options["cancel"]:
            self._revoke_all(chosen, options["reason"])
            return
        for certificate in chosen:
            done = self._carry_out(certificate, options, when)
            self.stdout.write(f"{certificate.serial}: {done}")

    def _carry_out(
        self, certificate: Certificate, options: dict[str, Any], when: dt.datetime | None
    ) -> str:
        now, actor, reason = timezone.now(), command_actor(), options["reason"]
        if options["cancel"]:
            revocation.cancel_plan(actor=actor, certificate=certificate, at=now)
            return "nothing is planned any more"
        if when is not None:
            revocation.plan(
                actor=actor, certificate=certificate, reason=reason, at_time=when, at=now
            )
            return f"to be revoked at {when:%Y-%m-%d %H:%M:%S} UTC ({reason})"
        revocation.revoke(actor=actor, certificate=certificate, reason=reason, at=now)
        return f"revoked ({reason})"

    def _revoke_all(self, certificates: list[Certificate], reason: str) -> None:
        """All of a person at once: one CRL of each CA tells of them."""
        outcome = revocation.revoke_many(
            actor=command_actor(),
            certificates=[one.pk for one in certificates],
            reason=reason,
            at=timezone.now(),
        )
        for certificate in certificates:
            self.stdout.write(f"{certificate.serial}: revoked ({reason})")
        if outcome.left:
            self.stdout.write(f"{outcome.left} of them had been revoked by somebody else already.")


def _time(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a time, such as 2030-01-31T18:00.") from None
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _chosen(options: dict[str, Any]) -> list[Certificate]:
    if options["user"]:
        person = find_person(options["user"])
        found = list(Certificate.objects.filter(owner=person).active(timezone.now()))
        if not found:
            raise CommandError(f"{person.username} has no valid certificate.")
        return found
    return [find_certificate(options)]
