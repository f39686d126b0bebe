"""Endpoints: which sockets the server opens, and whom they ask for a certificate.

What always holds here: a row, its audit entry and the announcement that makes every process look
at it are written in one transaction; what would lock people out (`lockouts`) is refused before.
"""

from __future__ import annotations

import copy
import datetime as dt
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from pki import audit, lockouts, server_certificates
from pki.changes import announce_change
from pki.errors import RequestError
from pki.lockouts import Change, Visitor
from pki.models import Certificate, Endpoint

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
FURTHER = "further_certificates"
COLUMNS = frozenset(
    field.name for field in Endpoint._meta.concrete_fields if field.name not in {"id", "name"}
)
CHANGEABLE = COLUMNS | {FURTHER}
LEAST_CONNECTIONS, LEAST_PER_ADDRESS = 20, 10
SIGNS_IN = frozenset({Endpoint.Serves.MAIN, Endpoint.Serves.CHAT, Endpoint.Serves.CONSOLE})


@audit.refusals("endpoint.create")
def create_endpoint(
    *,
    actor: str,
    endpoint: Endpoint,
    at: dt.datetime,
    further_certificates: Iterable[Certificate] = (),
    probe: bool = True,
) -> Endpoint:
    """Write a new endpoint; the server opens it within half a second.

    Refuses (RequestError) what `objections` finds, and a name, or an address and port, that are
    taken. Without `probe` a port that another program has is left for the server to find out.
    """
    further = list(further_certificates)
    _require_sound(endpoint, Change(None, endpoint, further, at), probe=probe)
    with transaction.atomic():
        _save(endpoint, force_insert=True)
        endpoint.further_certificates.set(further)
        detail = {name: str(getattr(endpoint, name)) for name in sorted(COLUMNS)}
        _record("endpoint.created", endpoint, actor=actor, detail=detail | _named(further), at=at)
    return endpoint


@audit.refusals("endpoint.change")
def change_endpoint(
    *,
    actor: str,
    endpoint: Endpoint,
    changes: Mapping[str, Any],
    at: dt.datetime,
    visitor: Visitor | None = None,
    probe: bool = True,
) -> Endpoint:
    """Change fields of an endpoint, all at once; its name stays. Returns the row as it is now.

    Writes an audit entry and announces the change; does nothing where there is none. Refuses
    (RequestError) what `objections` finds in the outcome, an address and port that are taken, and
    an endpoint that was removed meanwhile. `visitor` is who asks in the console, `probe` as above.
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise RequestError(f"This cannot be changed: {', '.join(sorted(unknown))}.")
    with transaction.atomic():
        # Each of them: of two who switch off one of the last two consoles, the second has to see it.
        list(Endpoint.objects.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        row = _locked(endpoint)
        changes = news(row, changes)
        if not changes:
            return row
        before, columns = copy.copy(row), {n: v for n, v in changes.items() if n != FURTHER}
        for name, value in columns.items():
            setattr(row, name, value)
        further = list(changes.get(FURTHER, ()))
        new = [one for one in further if one not in row.further_certificates.all()]
        _require_sound(row, Change(before, row, new, at), visitor=visitor, probe=probe)
        if columns:
            _save(row, update_fields=list(columns))
        if FURTHER in changes:
            row.further_certificates.set(further)
        detail = {name: str(value) for name, value in columns.items()}
        detail |= _named(further) if FURTHER in changes else {}
        _record("endpoint.changed", row, actor=actor, detail=detail, at=at)
    return row


def news(endpoint: Endpoint, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the changes that are not so already."""
    found = {name: value for name, value in changes.items() if name != FURTHER}
    found = {name: value for name, value in found.items() if getattr(endpoint, name) != value}
    if FURTHER in changes and set(changes[FURTHER]) != set(endpoint.further_certificates.all()):
        found[FURTHER] = changes[FURTHER]
    return found


@audit.refusals("endpoint.renew_certificate")
def renew_certificate(
    *,
    actor: str,
    endpoint: Endpoint,
    hosts: Sequence[str],
    at: dt.datetime,
    algorithm: str = "p256",
    beside: bool = False,
) -> Certificate:
    """Issue a server certificate with a new key for an endpoint, and put it in force.

    It takes the place of the certificate that was served so far or, `beside` it, becomes one of the
    further ones. The one before stays valid. Writes audit entries and announces the change. Refuses
    an endpoint without TLS (RequestError), and what `issuance.prepare` refuses; then nothing is changed.
    """
    with transaction.atomic():
        row = _locked_with_tls(endpoint)
        certificate = server_certificates.issue(
            actor=actor, hosts=hosts, algorithm=algorithm, at=at
        )
        detail = {"hosts": list(hosts)}
        _put_in_force(row, certificate, beside=beside, actor=actor, detail=detail, at=at)
    return certificate


@audit.refusals("endpoint.import_certificate")
def import_certificate(
    *,
    actor: str,
    endpoint: Endpoint,
    data: bytes,
    password: str | None,
    at: dt.datetime,
    chain: bytes = b"",
    beside: bool = False,
) -> Certificate:
    """Put a server certificate from elsewhere in force, with its key: a PEM or PKCS #12 file.

    It takes the place of the one before or stands `beside` it, as above. `chain` is a file with the
    CAs above it, where `data` does not have them; all are sent in handshakes, but for the root. The
    certificate before stays valid. Writes audit entries and announces the change. Refuses an
    endpoint without TLS (RequestError), and what `server_certificates.bring_in` refuses; then
    nothing is changed.
    """
    with transaction.atomic():
        row = _locked_with_tls(endpoint)
        certificate = server_certificates.bring_in(
            actor=actor, data=data, password=password, chain=chain, at=at
        )
        detail = {"subject": certificate.subject, "sha256": certificate.sha256}
        _put_in_force(row, certificate, beside=beside, actor=actor, detail=detail, at=at)
    return certificate


def succeed_certificate(
    *,
    actor: str,
    endpoint: Endpoint,
    certificate: Certificate,
    successor: Certificate,
    at: dt.datetime,
) -> None:
    """Serve the successor of a certificate wherever an endpoint serves that one.

    Writes an audit entry and announces the change.
    """
    with transaction.atomic():
        row = _locked(endpoint)
        beside = row.certificate != certificate
        row.further_certificates.remove(certificate)
        detail = {"renewed": certificate.sha256, "sha256": successor.sha256}
        _put_in_force(row, successor, beside=beside, actor=actor, detail=detail, at=at)


@audit.refusals("endpoint.remove")
def remove_endpoint(*, actor: str, endpoint: Endpoint, at: dt.datetime) -> None:
    """Take away an endpoint that is switched off; refuses one that is on, or that was removed
    meanwhile (RequestError)."""
    with transaction.atomic():
        row = _locked(endpoint)
        if row.enabled:
            raise RequestError(f"Endpoint {row} is on. Switch it off first.")
        row.delete()
        _record("endpoint.removed", endpoint, actor=actor, detail={}, at=at)


def certificates_of(endpoint: Endpoint) -> list[Certificate]:
    """All that an endpoint serves TLS with, the one for clients that ask for no name first."""
    first = [endpoint.certificate] if endpoint.certificate else []
    return [*first, *endpoint.further_certificates.all()]


def objections(change: Change, *, visitor: Visitor | None, probe: bool) -> list[tuple[str, str]]:
    """Everything that speaks against a change: what is wrong with the outcome by itself (`faults`)
    and, where nothing is, whom it would lock out."""
    facts = {name: getattr(change.after, name) for name in COLUMNS}
    return faults(facts) or lockouts.found(change, visitor=visitor, probe=probe)


def faults(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with an endpoint of these fields: field and sentence."""
    tls, serves, proxy = facts.get("tls"), facts.get("serves"), facts.get("proxy") or "none"
    asks = facts.get("client_certificate") != Endpoint.ClientCertificate.NONE
    is_told = proxy == Endpoint.Proxy.HEADER
    is_line = serves == Endpoint.Serves.LINE
    networks, unreadable = _read_networks(str(facts.get("proxy_addresses") or ""))
    is_private = (
        serves == Endpoint.Serves.PUBLIC
        or is_loopback(str(facts.get("address") or ""))
        or (proxy != Endpoint.Proxy.NONE and bool(networks))
    )
    found = [
        (
            "certificate",
            "TLS needs a server certificate with its key.",
            tls and not facts.get("certificate"),
        ),
        (
            "tls",
            "Client certificates exist on TLS alone. Switch TLS on, never ask, or name the proxy "
            "that ends TLS and sends the certificate.",
            asks and not tls and not is_told,
        ),
        (
            "client_certificate",
            "Nobody could sign in here: an endpoint that serves the chat or the console asks for "
            "certificates.",
            serves in SIGNS_IN and not asks,
        ),
        (
            "truststore",
            "To ask for client certificates, name the trust store that judges them.",
            asks and not facts.get("truststore"),
        ),
        (
            "tls",
            "Without TLS everybody on the way reads and changes what is sent. Only public data, a "
            "loopback address, or an endpoint behind named proxies may go without.",
            not tls and not is_private and not facts.get("plain_anyway"),
        ),
        (
            "client_certificate",
            "Lines are for people with certificates, over TLS of our own: switch TLS on and ask.",
            is_line and not (asks and tls and not is_told),
        ),
        ("proxy_addresses", unreadable, unreadable),
        (
            "proxy_addresses",
            "Name the addresses or networks of the proxies: what others say of a client is not "
            "believed.",
            proxy != Endpoint.Proxy.NONE and not networks and not unreadable,
        ),
        (
            "proxy_addresses",
            "This network holds everybody, so everybody could claim to be anybody. Name the "
            "proxies alone.",
            any(network.prefixlen == 0 for network in networks),
        ),
        (
            "proxy",
            "Say what the proxies do, or take their addresses away.",
            proxy == Endpoint.Proxy.NONE and networks,
        ),
        (
            "max_connections",
            f"Admit at least {LEAST_CONNECTIONS} connections at once: with fewer, a single idle "
            "visitor keeps everybody out.",
            _is_below(facts.get("max_connections"), LEAST_CONNECTIONS),
        ),
        (
            "max_per_address",
            f"Admit at least {LEAST_PER_ADDRESS} connections at once from one address: a browser "
            "alone opens six.",
            _is_below(facts.get("max_per_address"), LEAST_PER_ADDRESS),
        ),
    ]
    return [(field, sentence) for field, sentence, broken in found if broken]


def proxy_networks(text: str) -> list[IPNetwork]:
    """The addresses and networks that a text names, separated by spaces, commas or lines.

    Refuses (RequestError) whatever is neither.
    """
    networks = []
    for word in text.replace(",", " ").split():
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            raise RequestError(
                f"{word[:50]} is neither an address nor a network. Write 192.0.2.7 or "
                "192.0.2.0/24, with no bit set behind the network's length."
            ) from None
    return networks


def _read_networks(text: str) -> tuple[list[IPNetwork], str]:
    try:
        return proxy_networks(text), ""
    except RequestError as error:
        return [], str(error)


def _is_below(number: int | None, least: int) -> bool:
    return number is not None and number < least


def is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _locked(endpoint: Endpoint) -> Endpoint:
    row = Endpoint.objects.select_for_update(no_key=True).filter(pk=endpoint.pk).first()
    if row is None:
        raise RequestError(f"Endpoint {endpoint} was removed meanwhile.")
    return row


def _locked_with_tls(endpoint: Endpoint) -> Endpoint:
    row = _locked(endpoint)
    if not row.tls:
        raise RequestError(f"Endpoint {row} has no TLS, so it needs no certificate.")
    return row


def _require_sound(
    endpoint: Endpoint, change: Change, *, visitor: Visitor | None = None, probe: bool
) -> None:
    sentences = []
    try:
        endpoint.clean_fields()
    except ValidationError as error:
        sentences += error.messages
    if not sentences:
        sentences += [s for _, s in objections(change, visitor=visitor, probe=probe)]
    for one in change.further:
        if one.profile != server_certificates.PROFILE or one.key_id is None:
            sentences.append(f"{one} is no server certificate with its key here.")
    if sentences:
        raise RequestError(" ".join(sentences))


def _save(endpoint: Endpoint, **how: Any) -> None:
    try:
        with transaction.atomic():
            endpoint.save(**how)
    except IntegrityError:
        raise RequestError(
            f"Another endpoint is called {endpoint.name}, or has {endpoint.address} port "
            f"{endpoint.port}."
        ) from None


def _put_in_force(
    row: Endpoint,
    certificate: Certificate,
    *,
    beside: bool,
    actor: str,
    detail: dict[str, Any],
    at: dt.datetime,
) -> None:
    if beside and certificate != row.certificate:
        row.further_certificates.add(certificate)
    else:
        row.certificate = certificate
        row.save(update_fields=["certificate"])
        row.further_certificates.remove(certificate)
    _record("endpoint.changed", row, actor=actor, detail=detail, at=at)


def _named(further: Iterable[Certificate]) -> dict[str, Any]:
    return {FURTHER: [one.sha256 for one in further]}


def _record(
    action: str, endpoint: Endpoint, *, actor: str, detail: dict[str, Any], at: dt.datetime
) -> None:
    audit.record(actor=actor, action=action, target=endpoint.name, detail=detail, at=at)
    announce_change()
