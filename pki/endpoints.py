"""Endpoints: which sockets the server opens, and whom they ask for a certificate.

What always holds here: a row, its audit entry and the announcement that makes every process look
at it are written in one transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.forms.models import model_to_dict

from pki import audit, server_certificates
from pki.changes import announce_change
from pki.errors import RequestError
from pki.models import Certificate, Endpoint

CHANGEABLE = frozenset(
    field.name for field in Endpoint._meta.concrete_fields if field.name not in {"id", "name"}
)


@audit.refusals("endpoint.create")
def create_endpoint(*, actor: str, endpoint: Endpoint, at: dt.datetime) -> Endpoint:
    """Write a new endpoint; the server opens it within half a second.

    Refuses (RequestError) what `faults` finds, and a name, or an address and port, that are taken.
    """
    _require_sound(endpoint)
    with transaction.atomic():
        _save(endpoint, force_insert=True)
        detail = {name: str(getattr(endpoint, name)) for name in sorted(CHANGEABLE)}
        _record("endpoint.created", endpoint, actor=actor, detail=detail, at=at)
    return endpoint


@audit.refusals("endpoint.change")
def change_endpoint(
    *, actor: str, endpoint: Endpoint, changes: Mapping[str, Any], at: dt.datetime
) -> Endpoint:
    """Change fields of an endpoint, all at once; its name stays. Returns the row as it is now.

    Writes an audit entry and announces the change; does nothing where there is none. Refuses
    (RequestError) what `faults` finds in the outcome, an address and port that are taken, and an
    endpoint that was removed meanwhile.
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise RequestError(f"This cannot be changed: {', '.join(sorted(unknown))}.")
    with transaction.atomic():
        row = _locked(endpoint)
        if not changes:
            return row
        for name, value in changes.items():
            setattr(row, name, value)
        _require_sound(row)
        _save(row, update_fields=list(changes))
        detail = {name: str(value) for name, value in changes.items()}
        _record("endpoint.changed", row, actor=actor, detail=detail, at=at)
    return row


@audit.refusals("endpoint.renew_certificate")
def renew_certificate(
    *, actor: str, endpoint: Endpoint, hosts: Sequence[str], at: dt.datetime
) -> Certificate:
    """Issue a server certificate with a new key for an endpoint, and put it in force.

    The one before stays valid. Writes audit entries and announces the change. Refuses an endpoint
    without TLS (RequestError), and what `issuance.prepare` refuses; then nothing is changed.
    """
    with transaction.atomic():
        row = _locked_with_tls(endpoint)
        certificate = server_certificates.issue(actor=actor, hosts=hosts, at=at)
        _put_in_force(row, certificate, actor=actor, detail={"hosts": list(hosts)}, at=at)
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
) -> Certificate:
    """Put a server certificate from elsewhere in force, with its key: a PEM or PKCS #12 file.

    `chain` is a file with the CAs above it, where `data` does not have them; all of them are sent
    in handshakes, but for the root. The certificate before stays valid. Writes audit entries and
    announces the change. Refuses an endpoint without TLS (RequestError), and what
    `server_certificates.bring_in` refuses; then nothing is changed.
    """
    with transaction.atomic():
        row = _locked_with_tls(endpoint)
        certificate = server_certificates.bring_in(
            actor=actor, data=data, password=password, chain=chain, at=at
        )
        detail = {"subject": certificate.subject, "sha256": certificate.sha256}
        _put_in_force(row, certificate, actor=actor, detail=detail, at=at)
    return certificate


def remove_endpoint(*, actor: str, endpoint: Endpoint, at: dt.datetime) -> None:
    """Take away an endpoint that is switched off; refuses one that is on (RequestError)."""
    with transaction.atomic():
        deleted, _ = Endpoint.objects.filter(pk=endpoint.pk, enabled=False).delete()
        if not deleted:
            raise RequestError(f"Endpoint {endpoint} is on. Switch it off first.")
        _record("endpoint.removed", endpoint, actor=actor, detail={}, at=at)


def faults(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with an endpoint of these fields: field and sentence."""
    tls, serves = facts.get("tls"), facts.get("serves")
    asks = facts.get("client_certificate") != Endpoint.ClientCertificate.NONE
    found = [
        (
            "certificate",
            "TLS needs a server certificate with its key.",
            tls and not facts.get("certificate"),
        ),
        (
            "tls",
            "Client certificates exist on TLS alone. Switch TLS on, or never ask.",
            asks and not tls,
        ),
        (
            "client_certificate",
            "Nobody could sign in here: an endpoint that serves the chat asks for certificates.",
            serves == Endpoint.Serves.MAIN and not asks,
        ),
        (
            "truststore",
            "To ask for client certificates, name the trust store that judges them.",
            asks and not facts.get("truststore"),
        ),
        (
            "tls",
            "Without TLS everybody on the way reads and changes what is sent. "
            "Only public data, or a loopback address, may go without.",
            not tls
            and serves != Endpoint.Serves.PUBLIC
            and not is_loopback(str(facts.get("address") or "")),
        ),
    ]
    return [(field, sentence) for field, sentence, broken in found if broken]


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


def _require_sound(endpoint: Endpoint) -> None:
    sentences = [sentence for _, sentence in faults(model_to_dict(endpoint))]
    try:
        endpoint.clean_fields()
    except ValidationError as error:
        sentences += error.messages
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
    actor: str,
    detail: dict[str, Any],
    at: dt.datetime,
) -> None:
    row.certificate = certificate
    row.save(update_fields=["certificate"])
    _record("endpoint.changed", row, actor=actor, detail=detail, at=at)


def _record(
    action: str, endpoint: Endpoint, *, actor: str, detail: dict[str, Any], at: dt.datetime
) -> None:
    audit.record(actor=actor, action=action, target=endpoint.name, detail=detail, at=at)
    announce_change()
