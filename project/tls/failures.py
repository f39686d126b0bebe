"""Every handshake that failed: said once, with OpenSSL's reason and one sentence on what to do.

Receivers of `handshake_failed` get endpoint, peer, reason and advice (all str); it is sent for
what is logged, so a flood of bad handshakes reaches neither the log nor a receiver unbounded.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass, field

from django.dispatch import Signal

logger = logging.getLogger("project.tls")
handshake_failed = Signal()

PER_SECOND, BURST = 5.0, 30.0

CLIENT_DISTRUSTS = (
    "The client does not trust our server certificate: install the root certificate on it, from "
    "the start page of the enrolment endpoint."
)
CRL = "Publish a new one with: manage.py publish_crl. Until then nobody can connect here."
OTHER_VERSION = "The client is too old for this endpoint's TLS policy, or does not speak TLS."
ADVICE = {
    "certificate revoked": "Its holder needs a new certificate.",
    "certificate has expired": "Its holder needs a new certificate.",
    "certificate is not yet valid": "Compare the clocks of client and server.",
    "unable to get local issuer certificate": "It was issued by a CA that this endpoint does not trust.",
    "unable to get issuer certificate": "It was issued by a CA that this endpoint does not trust.",
    "self-signed certificate": "Only certificates issued here are accepted.",
    "self-signed certificate in certificate chain": "Its CA is not among this endpoint's anchors.",
    "unsuitable certificate purpose": "The certificate is not meant for clients; use a person's one.",
    "CRL has expired": CRL,
    "unable to get certificate CRL": CRL,
    "CRL is not yet valid": "The clock of this server went back, or that of the CA runs ahead.",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "The client has to choose a certificate; enrol it first.",
    "HTTP_REQUEST": "The client spoke plain HTTP to a TLS port: use https:// in the address.",
    "HTTPS_PROXY_REQUEST": "The client takes this port for a proxy.",
    "NO_SHARED_CIPHER": OTHER_VERSION,
    "UNSUPPORTED_PROTOCOL": OTHER_VERSION,
    "WRONG_VERSION_NUMBER": OTHER_VERSION,
    "TLSV1_ALERT_UNKNOWN_CA": CLIENT_DISTRUSTS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": CLIENT_DISTRUSTS,
    "SSLV3_ALERT_BAD_CERTIFICATE": CLIENT_DISTRUSTS,
}
HUNG_UP = "the client hung up in the middle"
OTHERWISE = "If it goes on, look at the client's own log."


@dataclass
class FailureLog:
    """Writes failures to the log, at most a burst and then a few per second."""

    tokens: float = BURST
    last: float = field(default_factory=time.monotonic)
    silenced: int = 0

    def record(self, *, endpoint: str, peer: str, reason: str, advice: str | None = None) -> None:
        if not self._admit():
            self.silenced += 1
            return
        said = advice or ADVICE.get(reason, OTHERWISE)
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
