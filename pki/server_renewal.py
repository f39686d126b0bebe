"""Server certificates of our own that renew themselves, for as long as an endpoint serves with them.

The successor is for the same hosts and has a new key of the same kind; new connections see it at
once, live ones go on. The one before stays valid until it expires.
"""

from __future__ import annotations

import datetime as dt
import logging

from django.db import transaction
from django.db.models import Q, QuerySet

from pki import algorithms, authorities, endpoints, server_certificates
from pki.errors import PKIError
from pki.models import Certificate, Endpoint

logger = logging.getLogger("pki")


def in_use() -> QuerySet[Certificate]:
    """The server certificates of all endpoints that are on, each once."""
    on = Endpoint.objects.filter(enabled=True, tls=True).values("pk")
    rows = Certificate.objects.filter(Q(endpoints__in=on) | Q(further_endpoints__in=on))
    return rows.select_related("key", "authority__certificate").distinct()


def renew_due(*, at: dt.datetime, actor: str = "signet") -> list[Certificate]:
    """Renew what has a third of its life left, or 30 days where that is less; on every endpoint.

    Writes audit entries and announces the changes. Several processes may call it at once: who comes
    second finds nothing due. Left alone are certificates from elsewhere, and one that lasts as long
    as the CA that would sign its successor. What cannot be renewed is written to the log and keeps
    nothing else from it.
    """
    due = [one for one in in_use() if is_due(one, at=at)]
    renewed = [_renew_or_log(certificate, actor=actor, at=at) for certificate in due]
    return [certificate for certificate in renewed if certificate is not None]


def is_due(certificate: Certificate, *, at: dt.datetime) -> bool:
    return (
        server_certificates.renews_itself(certificate)
        and certificate.revoked_at is None
        and server_certificates.renewal_of(certificate) <= at
    )


def _renew_or_log(certificate: Certificate, *, actor: str, at: dt.datetime) -> Certificate | None:
    try:
        with transaction.atomic():
            return _renew(certificate, actor=actor, at=at)
    except PKIError as error:
        logger.error("The server certificate %s cannot be renewed: %s", certificate, error)
    except Exception:  # whatever is wrong with one, the next one must not run out
        logger.exception("The server certificate %s cannot be renewed", certificate)
    return None


def _renew(certificate: Certificate, *, actor: str, at: dt.datetime) -> Certificate | None:
    users = Endpoint.objects.filter(
        Q(certificate=certificate)
        | Q(
            pk__in=Endpoint.further_certificates.through.objects.filter(
                certificate_id=certificate.pk
            ).values("endpoint_id")
        )
    )
    locked = users.order_by("pk").select_for_update(no_key=True)
    # What was found before the lock may be so no more: the tie to a further one is another row.
    rows = [row for row in locked if certificate in endpoints.certificates_of(row)]
    signer = authorities.require_issuing(at=at)
    if not rows or signer.certificate.not_after <= certificate.not_after:
        return None  # another process was here, or there is nothing to gain
    hosts = server_certificates.hosts_of(certificate)
    successor = server_certificates.issue(
        actor=actor, hosts=hosts, algorithm=_algorithm(certificate), at=at
    )
    for row in rows:
        endpoints.succeed_certificate(
            actor=actor, endpoint=row, certificate=certificate, successor=successor, at=at
        )
    return successor


def _algorithm(certificate: Certificate) -> str:
    """The kind of its key; one that came with a key made elsewhere may be of another size."""
    kind = certificate.key.algorithm if certificate.key else ""
    if kind in algorithms.GENERATORS:
        return kind
    return "rsa3072" if kind.startswith("rsa") else algorithms.DEFAULT
