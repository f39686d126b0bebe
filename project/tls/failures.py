"""Every handshake, reported: each failure with OpenSSL's reason and what to do, each success.

`handshake_failed` has endpoint, peer, reason and advice (all str); it is sent for what is logged,
so a flood of bad handshakes reaches neither the log nor a receiver unbounded. What is kept for the
console is `sample`.

`handshake_completed` is sent for each handshake that came to pass: endpoint and peer (str), and
tls (`scope.TLS`: version, cipher, server name, the client's certificate). An endpoint in mode
`optional` may still refuse whoever it is.

Receivers run on the event loop, between two connections: they are plain functions, must not wait
for anything (a database, a lock, another server), and what they raise is put in the log.
"""

from __future__ import annotations

import datetime as dt
import logging
import ssl
import time
from dataclasses import dataclass, field

from django.dispatch import Signal

from project.tls import advice as advices
from project.tls.advice import HUNG_UP
from project.tls.overheard import NOTHING, Overheard
from project.tls.sample import Sample
from project.tls.scope import TLS

logger = logging.getLogger("project.tls")
handshake_failed = Signal()
handshake_completed = Signal()
sample = Sample()

PER_SECOND, BURST = 5.0, 30.0


@dataclass
class FailureLog:
    """Writes failures to the log, at most a burst and then a few per second, and samples them."""

    tokens: float = BURST
    last: float = field(default_factory=time.monotonic)
    silenced: int = 0

    def record(
        self,
        *,
        endpoint: str,
        peer: str,
        reason: str,
        advice: str | None = None,
        heard: Overheard = NOTHING,
    ) -> None:
        said = advice or advices.advice(reason)
        now = dt.datetime.now(dt.UTC)
        sample.add(endpoint=endpoint, peer=peer, reason=reason, advice=said, heard=heard, at=now)
        if not self._admit():
            self.silenced += 1
            return
        more = f" ({self.silenced} more were not written down)" if self.silenced else ""
        self.silenced = 0
        # Browsers open connections they then do not need; that is no reason to worry anybody.
        level = logging.INFO if reason == HUNG_UP else logging.WARNING
        text = "%s: handshake with %s failed: %s. %s%s"
        logger.log(level, text, endpoint, peer, reason, said, more)
        handshake_failed.send_robust(
            sender=None, endpoint=endpoint, peer=peer, reason=reason, advice=said
        )

    def _admit(self) -> bool:
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + (now - self.last) * PER_SECOND)
        self.last = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's own words; the verdict on the peer's certificate where there is one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return error.reason or str(error)


def completed(*, endpoint: str, peer: str, tls: TLS) -> None:
    """Send `handshake_completed`; next to nothing where nobody listens."""
    handshake_completed.send_robust(sender=None, endpoint=endpoint, peer=peer, tls=tls)
