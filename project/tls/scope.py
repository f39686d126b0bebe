"""Facts of one connection → the ASGI "tls" extension and our own `Connection`. Pure.

Both are made once for each connection; every request on it shares them, so they are read only.
The leaf is all that Python tells of the peer's chain: `pki.identity` rebuilds the path itself.
"""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from project.tls import overheard
from project.tls.note import Note

VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
CIPHER_SUITES = {  # IANA numbers of what `context` admits
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
}


@dataclass(frozen=True)
class TLS:
    """What the handshake settled. `certificate` is the client's, DER; `server_certificate` is the
    one of ours that was sent, where that was overheard."""

    version: str
    cipher: str
    alpn: str | None = None
    resumed: bool = False
    server_name: str | None = None
    certificate: bytes | None = None
    server_certificate: bytes | None = None


@dataclass(frozen=True)
class Connection:
    """scope["extensions"]["signet.connection"]: which endpoint, how, and how far behind the peer is.

    `backlog()` is the number of bytes that this process still holds for the peer; what the kernel
    has taken is no longer counted. `proxy` is how a proxy speaks for the client, and `via` its
    address; where it ended TLS, nothing is known of its handshake. In `note` stands what becomes
    known later, such as who it is.
    """

    endpoint: str
    serves: str
    client_certificate: str
    tls: TLS | None
    backlog: Callable[[], int]
    note: Note = field(default_factory=Note)
    proxy: str = "none"
    via: str | None = None


def facts(tls: ssl.SSLObject) -> TLS:
    """Read a finished handshake."""
    cipher = tls.cipher()
    return TLS(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=tls.selected_alpn_protocol(),
        resumed=bool(tls.session_reused),
        server_name=vars(tls).get("asked_for"),
        certificate=tls.getpeercert(binary_form=True),
        server_certificate=overheard.sent(tls),
    )


def tls_extension(tls: TLS, *, server_certificate: bytes, at: dt.datetime) -> dict[str, Any]:
    """The ASGI TLS extension, 0.2."""
    chain = [tls.certificate] if tls.certificate else []
    leaf = x509.load_der_x509_certificate(tls.certificate) if tls.certificate else None
    sent = tls.server_certificate or server_certificate
    return {
        "server_cert": ssl.DER_cert_to_PEM_cert(sent) if sent else None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der) for der in chain],
        "client_cert_name": leaf.subject.rfc4514_string() if leaf else None,
        "client_cert_error": _out_of_date(leaf, at=at) if leaf else None,
        "tls_version": VERSIONS.get(tls.version),
        "cipher_suite": CIPHER_SUITES.get(tls.cipher),
    }


def _out_of_date(leaf: x509.Certificate, *, at: dt.datetime) -> str | None:
    """In OpenSSL's words, which an `optional` endpoint keeps it from saying itself."""
    if at > leaf.not_valid_after_utc:
        return "certificate has expired"
    if at < leaf.not_valid_before_utc:
        return "certificate is not yet valid"
    return None
