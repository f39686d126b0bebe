"""Rows of the database → what to listen on. Reads rows, trust stores and server keys."""

from __future__ import annotations

import datetime as dt
import logging
import ssl
from collections.abc import Iterator

from cryptography import x509
from django.utils import timezone

from pki import endpoints, keys, truststore
from pki.errors import PKIError
from pki.models import Certificate, Endpoint
from project.tls import context
from project.tls.endpoint import EndpointSettings
from project.tls.listeners import Wanted
from project.tls.sites import ServerCertificate

logger = logging.getLogger("project.tls")
STALE = (
    "The CRL of %s, which endpoint %s needs, ran out on %s: every certificate below it is refused "
    "there until a new one is published (manage.py publish_crl)."
)
UNUSED = "Endpoint %s does not use its certificate %s, which is %s."


class ConfigurationError(Exception):
    """An endpoint cannot be served as its row says; str() says why."""


def load() -> list[Wanted]:
    """Every enabled endpoint, ready to listen. Raises ConfigurationError for the first that is
    not, MasterKeyError where keys cannot be opened."""
    return [prepare(row) for row in rows()]


def rows() -> list[Endpoint]:
    return list(
        Endpoint.objects.filter(enabled=True)
        .select_related("certificate__key", "truststore")
        .prefetch_related("further_certificates__key")
    )


def prepare(row: Endpoint) -> Wanted:
    settings = EndpointSettings(
        name=row.name,
        address=row.address,
        port=row.port,
        serves=row.serves,
        tls=row.tls,
        client_certificate=row.client_certificate,
        certificate=bytes(row.certificate.der) if row.tls and row.certificate else b"",
        max_connections=row.max_connections,
        max_per_address=row.max_per_address,
        handshake_seconds=row.handshake_seconds,
        proxy=row.proxy,
        proxies=tuple(endpoints.proxy_networks(row.proxy_addresses)),
    )
    return Wanted(settings, _contexts(row) if row.tls else None)


def _contexts(row: Endpoint) -> context.Contexts:
    certificate = row.certificate
    if certificate is None:  # the database forbids it
        raise ConfigurationError(f"Endpoint {row.name} has no certificate.")
    snapshot = truststore.snapshot(row.truststore) if row.truststore else None
    asks = row.client_certificate
    if row.proxy == Endpoint.Proxy.HEADER:  # it is the proxy that asks people
        asks = Endpoint.ClientCertificate.NONE
    if asks == Endpoint.ClientCertificate.NONE:
        snapshot = None
    if asks == Endpoint.ClientCertificate.REQUIRED and snapshot:
        _warn_of_stale_crls(row, snapshot, at=timezone.now())
    try:
        return context.build(
            policy=row.policy,
            client_certificate=asks,
            snapshot=snapshot,
            load_chain=lambda target: keys.load_server_chain(target, certificate),
            certificate=bytes(certificate.der),
            further=[_loading(one) for one in _usable(row, at=timezone.now())],
        )
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"Endpoint {row.name} cannot be served: {error}.") from error


def _usable(row: Endpoint, *, at: dt.datetime) -> Iterator[Certificate]:
    """Further certificates that are valid now: for their names the default one does otherwise."""
    for one in row.further_certificates.all():
        if one.status_at(at) is Certificate.Status.VALID:
            yield one
        else:
            logger.warning(UNUSED, row.name, one, one.status_at(at).value)


def _loading(certificate: Certificate) -> ServerCertificate:
    return ServerCertificate(
        bytes(certificate.der), lambda target: keys.load_server_chain(target, certificate)
    )


def _warn_of_stale_crls(row: Endpoint, snapshot: truststore.Snapshot, *, at: dt.datetime) -> None:
    for der in snapshot.crls:
        crl = x509.load_der_x509_crl(der)
        end = crl.next_update_utc
        if end is not None and end < at:
            logger.error(STALE, crl.issuer.rfc4514_string(), row.name, end.isoformat())


REFUSALS = (ConfigurationError, PKIError)
