"""System checks: an unsafe start is refused, with an id and a sentence that says what to change.

E001 and W004 look at files alone. The others look into the database, so Django runs them where a database
is asked for (`check --database default`, `migrate`, `serve`), and they are silent until it is
migrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from pki import crl, endpoints, keys, masterkey, server_certificates
from pki.errors import MasterKeyError, MasterKeyMissingError
from pki.models import CertificateAuthority, Endpoint, PrivateKey

DatabaseCheck = Callable[[], Iterator[CheckMessage]]


@register()
def master_key_file(**_: Any) -> list[CheckMessage]:
    """E001: the file may be read by others, or does not hold a key."""
    try:
        masterkey.load(settings.SIGNET_MASTER_KEY_FILE)
    except MasterKeyMissingError:
        return []  # before the first bootstrap; E002 speaks once there are keys
    except MasterKeyError as error:
        return [Error(str(error), id="pki.E001")]
    return []


@register()
def master_key_change(**_: Any) -> list[CheckMessage]:
    """W004: the keys are being wrapped under a new master key, and that is not finished."""
    coming = masterkey.following(settings.SIGNET_MASTER_KEY_FILE)
    if not coming.exists():
        return []
    return [
        Warning(
            "A change of the master key was begun and is not finished: both files are needed.",
            hint=f"Keep {coming}, and run: manage.py rewrap_keys",
            id="pki.W004",
        )
    ]


@register(Tags.database)
def database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """E002 and W001 to W003, where the tables exist."""
    if "default" not in (databases or ()) or not is_migrated():
        return []
    return [message for check in DATABASE_CHECKS for message in check()]


def master_key_opens_keys() -> Iterator[CheckMessage]:
    """E002: keys are wrapped under another master key, or there is none."""
    if not PrivateKey.objects.exists():
        return
    try:
        keys.require_master_key()
    except MasterKeyError as error:
        yield Error(str(error), id="pki.E002")


def crls_are_fresh() -> Iterator[CheckMessage]:
    """W001: a CRL has lived its life, so strict clients refuse everybody."""
    now = timezone.now()
    publishing = CertificateAuthority.objects.filter(
        certificate__not_after__gte=now, certificate__key__isnull=False
    )
    for authority in publishing:
        newest = crl.latest(authority)
        if newest is None or newest.is_stale_at(now):
            yield Warning(
                f"The CRL of {authority} is out of date.",
                hint=f"Run: manage.py publish_crl --ca {authority.slug}",
                id="pki.W001",
            )


def truststores_have_anchors() -> Iterator[CheckMessage]:
    """W002: an endpoint asks for certificates and trusts nobody."""
    asking = Endpoint.objects.filter(enabled=True).exclude(client_certificate="none")
    for endpoint in asking.filter(truststore__anchors__isnull=True):
        yield Warning(
            f"Endpoint {endpoint} asks for certificates, and its trust store is empty.",
            hint="Add a trust anchor to the store.",
            id="pki.W002",
        )


def server_certificates_last() -> Iterator[CheckMessage]:
    """W003: an endpoint serves with a certificate that ends soon, and that nobody renews."""
    now = timezone.now()
    for endpoint in Endpoint.objects.filter(enabled=True, tls=True):
        for certificate in endpoints.certificates_of(endpoint):
            if trouble := server_certificates.trouble_of(certificate, at=now):
                yield Warning(
                    f"Endpoint {endpoint} {trouble}: {certificate}.",
                    hint=f"Run: manage.py renew_endpoint {endpoint}, or import a certificate with: "
                    f"manage.py import_server_certificate {endpoint} FILE",
                    id="pki.W003",
                )


DATABASE_CHECKS: tuple[DatabaseCheck, ...] = (
    master_key_opens_keys,
    crls_are_fresh,
    truststores_have_anchors,
    server_certificates_last,
)


def is_migrated() -> bool:
    """Whether every migration of this application has been applied to the database."""
    executor = MigrationExecutor(connections["default"])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes("pki"))
