"""What falls due by itself: each duty is a verb that may be called at any time, by any process.

A serving process calls `carry_out` once a minute, and `carry_out_punctual` twice a second. Whoever
comes second finds nothing due. One duty that fails is written to the log and keeps no other from
its turn.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable

from pki import (
    audit,
    crl,
    invitations,
    ocsp,
    responder,
    revocation,
    server_renewal,
    truststore,
)

logger = logging.getLogger("pki")

Duty = Callable[[dt.datetime], object]
JUST_NOW = dt.timedelta(seconds=10)


DUTIES: dict[str, Duty] = {
    "carry out planned revocations": lambda at: revocation.carry_out_planned(at=at),
    "announce that the date of an anchor has come": lambda at: truststore.announce_dates(at=at),
    "publish CRLs before they lapse": lambda at: crl.publish_due(at=at),
    "move refusals that waited into the audit trail": lambda at: audit.sweep_backlog(at=at),
    "renew OCSP responders": lambda at: responder.renew_due(at=at),
    "renew server certificates": lambda at: server_renewal.renew_due(at=at),
    "sign OCSP answers ahead": lambda at: ocsp.sign_ahead(at=at),
    "forget lists whose links nobody fetched": lambda at: invitations.prune(at=at),
}


def carry_out(*, at: dt.datetime) -> None:
    """Do all that is due at `at`."""
    for name, duty in DUTIES.items():
        try:
            duty(at)
        except Exception:  # whatever is wrong with one duty, the next one must not wait for it
            logger.exception("Could not %s", name)


def carry_out_punctual(*, at: dt.datetime) -> None:
    """Do what was promised for a second that has just come; one small query where there is nothing.

    What fails, or fell into a pause of the server, is left to `carry_out`.
    """
    revocation.carry_out_planned(at=at, since=at - JUST_NOW)
