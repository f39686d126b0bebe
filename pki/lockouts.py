"""Changes of endpoints that would lock people out, found before they are made.

Each check looks at the endpoint as it is (`before`, None for a new one) and as it would be
(`after`), and only where the change has to do with it: what was broken before keeps nobody from
changing something else.
"""

from __future__ import annotations

import datetime as dt
import errno
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from cryptography import x509

from pki import truststore
from pki.errors import IdentityError
from pki.models import Certificate, Endpoint

Fault = tuple[str, str]  # the field of the form, and the sentence
WHOLE = "__all__"  # Django's name for the form as a whole
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 (meant)
CONSOLE = frozenset({Endpoint.Serves.MAIN, Endpoint.Serves.CONSOLE})
Required = Endpoint.ClientCertificate.REQUIRED


@dataclass(frozen=True)
class Visitor:
    """Who asks in the console, and how they came: through which endpoint, to which address of this
    machine, with which certificate (DER)."""

    endpoint: str
    address: str
    certificate: bytes


@dataclass(frozen=True)
class Change:
    before: Endpoint | None
    after: Endpoint
    further: Collection[Certificate]
    at: dt.datetime

    def touches(self, *names: str) -> bool:
        """Whether one of these fields changes, or the endpoint is switched on by it."""
        before, after = self.before, self.after
        if before is None or not before.enabled:
            return after.enabled
        return any(getattr(before, name) != getattr(after, name) for name in names)


def found(change: Change, *, visitor: Visitor | None, probe: bool) -> list[Fault]:
    """What speaks against a change: fields and sentences. `probe` tries whether a port is free."""
    after = change.after
    faults = [*_without_console(change)]
    if after.enabled:
        faults += [*_certificates(change), *_nobody_trusted(change), *_port_of_another(change)]
        if probe and not faults:
            faults += _port(change)
    if visitor is not None and change.before and change.before.name == visitor.endpoint:
        faults += [*_visitor(change, visitor)]
    return faults


def _certificates(change: Change) -> Iterator[Fault]:
    after = change.after
    used = after.certificate if after.tls and change.touches("tls", "certificate_id") else None
    if used is not None and (sentence := _invalid(used, at=change.at)):
        yield "certificate", sentence
    for one in change.further:
        if sentence := _invalid(one, at=change.at):
            yield "further_certificates", sentence


def _invalid(certificate: Certificate, *, at: dt.datetime) -> str | None:
    why = {
        Certificate.Status.EXPIRED: "has expired",
        Certificate.Status.REVOKED: "was revoked",
        Certificate.Status.NOT_YET_VALID: "is not valid yet",
    }.get(certificate.status_at(at))
    return why and f"The server certificate {certificate} {why}. Choose another, or make a new one."


def _nobody_trusted(change: Change) -> Iterator[Fault]:
    """`required` refuses everybody where no CA is trusted, or none has a CRL that is current."""
    after = change.after
    store = after.truststore
    if after.client_certificate != Required or store is None:
        return
    if not change.touches("client_certificate", "truststore_id"):
        return
    snapshot = truststore.snapshot(store, change.at)
    if not snapshot.anchors:
        yield (
            "truststore",
            f"Trust store {store} trusts nobody, so everybody would be refused. Add a trust "
            "anchor first, or ask without requiring.",
        )
    elif not _admitting(snapshot, at=change.at):
        yield (
            "truststore",
            f"No CA of trust store {store} has a current CRL, so everybody would be refused. "
            "Publish or import one first.",
        )


def _admitting(snapshot: truststore.Snapshot, *, at: dt.datetime) -> set[x509.Name]:
    """The CAs below which a certificate may pass: they and all above them have a current CRL."""
    current = {
        crl.issuer
        for crl in map(x509.load_der_x509_crl, snapshot.crls)
        if crl.next_update_utc is not None and crl.last_update_utc <= at < crl.next_update_utc
    }
    roots = map(x509.load_der_x509_certificate, snapshot.anchors)
    admitting = {root.subject for root in roots} & current
    between = [x509.load_der_x509_certificate(der) for der in snapshot.intermediates]
    for _ in between:  # a level a turn
        admitting |= {ca.subject for ca in between if ca.issuer in admitting} & current
    issuing = {ca.subject for ca in between}
    return (admitting & issuing) if issuing else admitting


# --- Ports ----------------------------------------------------------------------------------


def _port_of_another(change: Change) -> Iterator[Fault]:
    after = change.after
    if not change.touches("address", "port"):
        return
    others = Endpoint.objects.filter(enabled=True, port=after.port).exclude(pk=after.pk)
    for other in others:
        if overlap(other.address, after.address):
            yield "port", f"Endpoint {other} has {other.address} port {other.port}."


def overlap(one: str, other: str) -> bool:
    if "::" in (one, other) or one == other:
        return True
    return bool({one, other} & EVERYWHERE) and (":" in one) == (":" in other)


def _port(change: Change) -> Iterator[Fault]:
    before, after = change.before, change.after
    if before is not None and before.enabled and before.port == after.port:
        return  # we listen there ourselves, and make way first
    if not change.touches("address", "port"):
        return
    family = socket.AF_INET6 if ":" in after.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((after.address, after.port))
    except OSError as error:
        sentences = {
            errno.EADDRINUSE: f"Port {after.port} on {after.address} is taken by another program. "
            "Stop that one, or choose another port.",
            errno.EACCES: f"Port {after.port} needs special rights. Choose one above 1023.",
            errno.EADDRNOTAVAIL: f"This machine has no address {after.address}.",
        }
        field = "address" if error.errno == errno.EADDRNOTAVAIL else "port"
        yield field, sentences.get(error.errno or 0, f"This port cannot be had: {error.strerror}.")


# --- The console ----------------------------------------------------------------------------


def _without_console(change: Change) -> Iterator[Fault]:
    before, after, at = change.before, change.after, change.at
    if before is None or not admits_console(before, at=at) or admits_console(after, at=at):
        return
    others = Endpoint.objects.filter(enabled=True).exclude(pk=before.pk)
    rows = others.select_related("certificate", "truststore")
    if not any(admits_console(other, at=at) for other in rows):
        yield (
            WHOLE,
            "Nobody could reach the console any more: this is the last endpoint that serves it "
            "to people with certificates. Open another one first.",
        )


def admits_console(endpoint: Endpoint, *, at: dt.datetime) -> bool:
    """Whether people can sign in to the console there, as far as rows can tell."""
    if not endpoint.enabled or endpoint.serves not in CONSOLE or endpoint.truststore is None:
        return False
    if endpoint.client_certificate == Endpoint.ClientCertificate.NONE:
        return False
    if endpoint.tls:
        certificate = endpoint.certificate
        if certificate is None or certificate.status_at(at) is not Certificate.Status.VALID:
            return False
    elif endpoint.proxy != Endpoint.Proxy.HEADER:
        return False
    return truststore.in_force(at).filter(truststore=endpoint.truststore).exists()


def _visitor(change: Change, visitor: Visitor) -> Iterator[Fault]:
    """Nobody saws off the branch that they sit on."""
    before, after = change.before, change.after
    if not admits_console(after, at=change.at):
        yield (
            WHOLE,
            "You are using this endpoint right now. It must stay on, with TLS, serve the console "
            "and ask for certificates. Change it from another endpoint.",
        )
        return
    if change.touches("proxy", "proxy_addresses"):
        yield (
            "proxy",
            "You are using this endpoint right now, and might not come through any more. Change "
            "its proxies from another endpoint, or with manage.py change_endpoint.",
        )
    if change.touches("address") and after.address not in {*EVERYWHERE, visitor.address}:
        yield (
            "address",
            f"You are using this endpoint right now, on {visitor.address}, where it would no "
            "longer listen. Change it from another endpoint.",
        )
    if change.touches("port"):
        yield (
            "port",
            f"You are using this endpoint right now, on port {before.port if before else 0}, where "
            "it would no longer listen. Add an endpoint on the new port, open the console there, and "
            "switch this one off; or use manage.py change_endpoint.",
        )
    if change.touches("client_certificate", "truststore_id") and visitor.certificate:
        yield from _own_certificate(after, visitor, before=before, at=change.at)


def _own_certificate(
    after: Endpoint, visitor: Visitor, *, before: Endpoint | None, at: dt.datetime
) -> Iterator[Fault]:
    assert after.truststore is not None
    snapshot = truststore.snapshot(after.truststore, at)
    if after.client_certificate != Required:  # then CRLs are not looked at in the handshake
        snapshot = replace(snapshot, crls=())
    try:
        truststore.verify(snapshot, [visitor.certificate], at=at)
    except IdentityError as error:
        moved = before is not None and before.truststore_id != after.truststore_id
        yield (
            "truststore" if moved else "client_certificate",
            f"Your own certificate would be refused here: {error} Trust its CA in {snapshot.name} "
            "first, or change this endpoint from another one.",
        )
