"""Trust snapshot and policy → `ssl.SSLContext`. Opens no socket, reads no database.

What always holds for a context made here:
  1. TLS 1.2 with AEAD and ECDHE, or TLS 1.3; no compression, no renegotiation, no tickets;
  2. a session is never resumed, so no connection comes round the certificate check. OpenSSL keeps
     TLS 1.2 sessions in a cache of the context, which Python cannot switch off; `Contexts.wrap`
     therefore begins every connection on a context of its own, whose cache dies with it;
  3. `required` admits a certificate only with a fresh CRL of every level above it (`crls`); `optional`
     leaves out dates and CRLs alone, so that the application can tell an expired or revoked
     certificate of ours what it is. A foreign or wrong-purpose one ends the handshake in both.

Key exchange groups are those of `openssl`, or OpenSSL's own list where that is out of reach. The
request names no CAs, so browsers offer every certificate they hold.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from project.tls import crls, openssl, overheard, sites
from project.tls.crls import Snapshot
from project.tls.sites import Group, LoadChain, ServerCertificate

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
MINIMUM = {"intermediate": ssl.TLSVersion.TLSv1_2, "modern": ssl.TLSVersion.TLSv1_3}
BITS = {0: 0, 1: 80, 2: 112, 3: 128, 4: 192, 5: 256}  # OpenSSL, SSL_CTX_set_security_level(3)
MODES = {
    "none": (ssl.CERT_NONE, ssl.VerifyFlags(0)),
    "optional": (ssl.CERT_OPTIONAL, NO_CHECK_TIME),
    "required": (
        ssl.CERT_REQUIRED,
        ssl.VerifyFlags(0) if crls.SCREENS else ssl.VERIFY_CRL_CHECK_CHAIN,
    ),
}


@dataclass(frozen=True)
class Contexts:
    """The TLS side of one endpoint until the next change of trust."""

    policy: str
    client_certificate: str
    full: ssl.SSLContext
    trust: Snapshot | None = None
    named: Mapping[str, ssl.SSLContext] = field(default_factory=dict)  # by host name, SNI

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The server's end of a new connection."""
        if self.policy == "modern":  # TLS 1.3 resumes by tickets alone, and there are none
            return self.full.wrap_bio(incoming, outgoing, server_side=True)
        front = _bare(self.policy, self.client_certificate)
        tls = front.wrap_bio(incoming, outgoing, server_side=True)
        tls.context = self.full  # certificate, trust, CRLs, ALPN; sessions go to `front`
        return tls

    def choose(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """OpenSSL asks once it has read the ClientHello: go on with the context for that name."""
        _keep_server_name(tls, name, _)
        chosen = sites.choose(self.named, name)
        if chosen is not None:
            tls.context = chosen


@dataclass(frozen=True)
class Admitted:
    """What a policy admits, read off a context that follows it."""

    versions: tuple[str, ...]
    suites: tuple[str, ...]
    groups: tuple[str, ...]  # empty where they are OpenSSL's own
    bits: int  # of security, the least of every key and signature


def admitted(policy: str) -> Admitted:
    context = _bare(policy, "none")
    names = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}
    versions = [name for version, name in names.items() if version >= context.minimum_version]
    suites = [one["name"] for one in context.get_ciphers() if one["protocol"] in versions]
    return Admitted(
        versions=tuple(version.replace("v", " ") for version in reversed(versions)),
        suites=tuple(suites),
        groups=tuple(openssl.GROUPS.split(":")) if openssl.IS_IN_REACH else (),
        bits=BITS[context.security_level],
    )


def build(
    *,
    policy: str,
    client_certificate: str,
    snapshot: Snapshot | None,
    load_chain: LoadChain,
    certificate: bytes = b"",
    further: Sequence[ServerCertificate] = (),
) -> Contexts:
    """The contexts of an endpoint: one for its certificate (DER, given by `load_chain`), and where
    there are `further` ones, one for each set of names that is served alike.

    Raises ValueError for an unknown or contradictory setting, ssl.SSLError for material that
    OpenSSL does not take, and what loading raises.
    """
    if (client_certificate == "none") != (snapshot is None):
        raise ValueError("A trust store belongs to an endpoint that asks for certificates.")
    default = ServerCertificate(certificate, load_chain)
    if not further:
        full = _full(policy, client_certificate, snapshot, (default,))
        return Contexts(policy, client_certificate, full, snapshot)
    first, by_name = sites.arrange(default, further)
    made = {
        group: _full(policy, client_certificate, snapshot, group)
        for group in dict.fromkeys((first, *by_name.values()))
    }
    contexts = Contexts(
        policy,
        client_certificate,
        made[first],
        snapshot,
        named={name: made[group] for name, group in by_name.items()},
    )
    for context in made.values():
        context.sni_callback = contexts.choose
    return contexts


def _full(
    policy: str, client_certificate: str, snapshot: Snapshot | None, group: Group
) -> ssl.SSLContext:
    """Every rule, and the material: a client with a name meets the same trust as one without."""
    context = _bare(policy, client_certificate)
    for certificate in group:
        certificate.load(context)
    if snapshot is not None:
        _load_trust(context, snapshot, client_certificate)
    return context


def _bare(policy: str, client_certificate: str) -> ssl.SSLContext:
    """Every rule, no material. Options and verify flags are taken from the context on which a
    connection begins, so both contexts of a connection are made here."""
    if policy not in MINIMUM or client_certificate not in MODES:
        raise ValueError(f"Unknown TLS setting: {policy}, {client_certificate}.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MINIMUM[policy]
    context.set_ciphers(CIPHERS_1_2)
    if openssl.IS_IN_REACH:
        openssl.limit_groups(context)
    context.set_alpn_protocols(["http/1.1"])
    context.sni_callback = _keep_server_name
    overheard.listen(context)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    mode, flags = MODES[client_certificate]
    context.verify_mode = mode
    context.verify_flags |= ssl.VERIFY_X509_STRICT | flags
    return context


def _keep_server_name(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    """Where there is one certificate any name will do; but `scope` wants to know it."""
    vars(tls)["asked_for"] = name


def _load_trust(context: ssl.SSLContext, snapshot: Snapshot, client_certificate: str) -> None:
    if client_certificate == "required" and crls.SCREENS:
        crls.screen(snapshot).watch(context)
        return
    crls.trust(context, snapshot)
    if client_certificate == "required":
        crls.load(context, snapshot)
