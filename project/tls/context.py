"""Trust snapshot and policy → `ssl.SSLContext`. Opens no socket, reads no database.

What always holds for a context made here:
  1. TLS 1.2 with AEAD and ECDHE, or TLS 1.3; no compression, no renegotiation, no tickets;
  2. a session is never resumed, so no connection comes round the certificate check. OpenSSL keeps
     TLS 1.2 sessions in a cache of the context, which Python cannot switch off; `Contexts.wrap`
     therefore begins every connection on a context of its own, whose cache dies with it;
  3. `required` admits a certificate only with a fresh CRL of every level above it; `optional`
     leaves out dates and CRLs alone, so that the application can tell an expired or revoked
     certificate of ours what it is. A foreign or wrong-purpose one ends the handshake in both.

Key exchange groups are OpenSSL's own list: Python can only narrow it to a single curve. For the
same reason the request names no CAs, and browsers offer every certificate they hold.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
MINIMUM = {"intermediate": ssl.TLSVersion.TLSv1_2, "modern": ssl.TLSVersion.TLSv1_3}
MODES = {
    "none": (ssl.CERT_NONE, ssl.VerifyFlags(0)),
    "optional": (ssl.CERT_OPTIONAL, NO_CHECK_TIME),
    "required": (ssl.CERT_REQUIRED, ssl.VERIFY_CRL_CHECK_CHAIN),
}

LoadChain = Callable[[ssl.SSLContext], None]


class Snapshot(Protocol):
    """What is asked of a trust store (`pki.truststore.Snapshot`); DER throughout."""

    @property
    def anchors(self) -> tuple[bytes, ...]: ...
    @property
    def intermediates(self) -> tuple[bytes, ...]: ...
    @property
    def crls(self) -> tuple[bytes, ...]: ...


@dataclass(frozen=True)
class Contexts:
    """The TLS side of one endpoint until the next change of trust."""

    policy: str
    client_certificate: str
    full: ssl.SSLContext
    trust: Snapshot | None = None

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The server's end of a new connection."""
        if self.policy == "modern":  # TLS 1.3 resumes by tickets alone, and there are none
            return self.full.wrap_bio(incoming, outgoing, server_side=True)
        front = _bare(self.policy, self.client_certificate)
        tls = front.wrap_bio(incoming, outgoing, server_side=True)
        tls.context = self.full  # certificate, trust, CRLs, ALPN; sessions go to `front`
        return tls


def build(
    *, policy: str, client_certificate: str, snapshot: Snapshot | None, load_chain: LoadChain
) -> Contexts:
    """The contexts of an endpoint. Raises ValueError for an unknown or contradictory setting,
    ssl.SSLError for material that OpenSSL does not take, and what `load_chain` raises."""
    if (client_certificate == "none") != (snapshot is None):
        raise ValueError("A trust store belongs to an endpoint that asks for certificates.")
    full = _bare(policy, client_certificate)
    load_chain(full)
    if snapshot is not None:
        _load_trust(full, snapshot, with_crls=client_certificate == "required")
    return Contexts(policy, client_certificate, full, snapshot)


def _bare(policy: str, client_certificate: str) -> ssl.SSLContext:
    """Every rule, no material. Options and verify flags are taken from the context on which a
    connection begins, so both contexts of a connection are made here."""
    if policy not in MINIMUM or client_certificate not in MODES:
        raise ValueError(f"Unknown TLS setting: {policy}, {client_certificate}.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MINIMUM[policy]
    context.set_ciphers(CIPHERS_1_2)
    context.set_alpn_protocols(["http/1.1"])
    context.sni_callback = _keep_server_name
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    mode, flags = MODES[client_certificate]
    context.verify_mode = mode
    context.verify_flags |= ssl.VERIFY_X509_STRICT | flags
    return context


def _keep_server_name(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    """Any name will do, there is one certificate; but `scope` wants to know it."""
    vars(tls)["asked_for"] = name


def _load_trust(context: ssl.SSLContext, snapshot: Snapshot, *, with_crls: bool) -> None:
    """Intermediates too: some clients send their own certificate alone. They are no anchors,
    because partial chains stay forbidden."""
    certificates = (*snapshot.anchors, *snapshot.intermediates)
    if certificates:
        context.load_verify_locations(cadata=b"".join(certificates))
    if with_crls and snapshot.crls:
        with tempfile.NamedTemporaryFile(prefix="signet-", suffix=".crl") as file:
            file.write(b"".join(_crl_pem(der) for der in snapshot.crls))
            file.flush()
            context.load_verify_locations(cafile=file.name)


def _crl_pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "X509 CRL").encode()
