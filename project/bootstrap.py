"""The first run: from an empty database to a CA, three endpoints, an admin and a room.

Every step looks for what it would make and makes only what is missing, all of it in one
transaction: a bootstrap that fails leaves the database as it was, and a second one changes nothing.
"""

from __future__ import annotations

import copy
import datetime as dt
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from chat.models import Membership, Room
from pki import (
    addresses,
    authorities,
    endpoints,
    enrolment,
    keys,
    lockouts,
    masterkey,
    people,
    profiles,
    server_certificates,
    truststore,
)
from pki.errors import MasterKeyMissingError
from pki.models import (
    Certificate,
    CertificateAuthority,
    Endpoint,
    PrivateKey,
    TrustStore,
    User,
)

ACTOR, CLOCK = "bootstrap", "signet"
ROOT, ISSUING = "Signet Root", "Signet Issuing"
TRUSTSTORE = "chat"
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 (meant)
RENEW_BEFORE = dt.timedelta(days=30)
PORT_VARIABLES = {
    "main": "SIGNET_PORT",
    "enrol": "SIGNET_ENROL_PORT",
    "public": "SIGNET_HTTP_PORT",
}


@dataclass
class Report:
    """What a bootstrap did, and what a person needs to go on."""

    done: list[str]
    root: Certificate
    root_file: Path
    admin: User
    enrolment_link: str | None


def bootstrap(*, hosts: list[str], admin: str, at: dt.datetime) -> Report:
    """Make what is missing; returns what was made and the admin's one-time enrolment link.

    The link is made anew as long as the admin has no valid certificate. Refuses to go on when CA
    keys exist and the master key is missing or is not theirs (MasterKeyError), and when an endpoint
    would have to listen where another one does (ImproperlyConfigured); then nothing is changed.
    """
    done: list[str] = []
    _refuse_taken_ports()
    done += _master_key()
    with transaction.atomic():
        root = _authorities(done, at=at)
        server = _server_certificate(done, hosts=hosts, at=at)
        store = _truststore(done, root, at=at)
        _endpoints(done, server, store, at=at)
        person = _admin(done, admin, at=at)
        _rooms(done, person)
        link = _enrolment_link(person, at=at)
    return Report(
        done=done,
        root=root.certificate,
        root_file=_root_file(root),
        admin=person,
        enrolment_link=link,
    )


def _refuse_taken_ports() -> None:
    """Two endpoints cannot listen on one port: say which setting to change, before anything is made."""
    rows = {row.name: row for row in Endpoint.objects.all()}
    coming = {name: copy.copy(row) for name, row in rows.items()}
    for name, port in settings.SIGNET_PORTS.items():
        address = LOOPBACK if settings.ON_LOOPBACK else EVERYWHERE
        row = coming.setdefault(name, Endpoint(name=name, address=address))
        if _follows(rows, name):
            row.port = port
    for name, variable in PORT_VARIABLES.items():
        row = coming[name]
        if name in rows and rows[name].port == row.port:
            continue
        for other in coming.values():
            if other.name != name and _is_same_place(row, other):
                raise ImproperlyConfigured(
                    f"Endpoint {name} cannot listen on port {row.port} ({variable}): endpoint "
                    f"{other} has it. Give {variable} a port of its own; where a proxy listens is "
                    "said with SIGNET_PROXY_PORT and SIGNET_PROXY_HTTP_PORT."
                )


def _is_same_place(one: Endpoint, other: Endpoint) -> bool:
    if one.port != other.port:
        return False
    return one.address == other.address or (
        other.enabled and lockouts.overlap(one.address, other.address)
    )


def _follows(rows: Mapping[str, Endpoint], name: str) -> bool:
    """Whether an endpoint is to listen on the port of its setting: a new one, and one that is on
    and has no proxy in front of it where the setting is set."""
    row = rows.get(name)
    return row is None or (_is_ours_to_move(row) and PORT_VARIABLES[name] in os.environ)


def _is_ours_to_move(row: Endpoint) -> bool:
    return row.enabled and row.proxy == Endpoint.Proxy.NONE


def _master_key() -> Iterator[str]:
    path = settings.SIGNET_MASTER_KEY_FILE
    if path.exists():
        keys.require_master_key()
        return
    if PrivateKey.objects.exists():
        raise MasterKeyMissingError(path)
    masterkey.create(path)
    yield f"made master key {path} (keep a copy apart from the database)"


def _authorities(done: list[str], *, at: dt.datetime) -> CertificateAuthority:
    """The root; below it there is a CA that issues."""
    root = CertificateAuthority.objects.filter(parent=None).order_by("pk").first()
    if root is None:
        root = authorities.create_authority(actor=ACTOR, name=ROOT, at=at)
        done.append(f"made root CA {root.name}")
    issuing = CertificateAuthority.objects.issuing(at).first()
    if issuing is None:
        issuing = authorities.create_authority(actor=ACTOR, name=ISSUING, parent=root, at=at)
        done.append(f"made issuing CA {issuing.name}")
    return root


def _server_certificate(done: list[str], *, hosts: list[str], at: dt.datetime) -> Certificate:
    """The newest valid server certificate that names exactly these hosts, or a new one."""
    wanted = set(addresses.with_loopback(hosts))
    for current in Certificate.objects.active(at).filter(
        profile=profiles.SERVER.name,
        key__isnull=False,
        is_outside=False,
        not_after__gt=at + RENEW_BEFORE,
    ):
        if set(server_certificates.hosts_of(current)) == wanted:
            return current
    certificate = server_certificates.issue(
        actor=ACTOR, hosts=addresses.with_loopback(hosts), at=at
    )
    done.append(f"made server certificate for {', '.join(hosts)}")
    return certificate


def _truststore(done: list[str], root: CertificateAuthority, *, at: dt.datetime) -> TrustStore:
    store = TrustStore.objects.filter(name=TRUSTSTORE).first()
    if store is None:
        store = truststore.create_truststore(
            actor=ACTOR, name=TRUSTSTORE, description="Who may sign in to the chat.", at=at
        )
        done.append(f"made trust store {store.name}")
    if not store.anchors.exists():
        truststore.add_anchor(actor=ACTOR, truststore=store, authority=root, at=at)
    return store


def _endpoints(done: list[str], server: Certificate, store: TrustStore, *, at: dt.datetime) -> None:
    for name, wanted in _endpoint_rows(server, store).items():
        row = Endpoint.objects.filter(name=name).first()
        if row is None:
            row = Endpoint(name=name, **wanted)
            endpoints.create_endpoint(actor=ACTOR, endpoint=row, at=at, probe=False)
            done.append(f"made endpoint {name}")
        elif news := _news_for(row, server):
            endpoints.change_endpoint(actor=ACTOR, endpoint=row, changes=news, at=at, probe=False)
            done.append(f"changed {' and '.join(news)} of endpoint {name}")


def _news_for(row: Endpoint, server: Certificate) -> dict[str, object]:
    """What has changed for an endpoint since the last run: its certificate, a port that was set, or
    that this is no longer for this machine alone.

    A certificate of another profile or from elsewhere was chosen by an admin, and stays. So does
    where an endpoint listens behind a proxy, and all of one that is switched off.
    """
    news: dict[str, object] = {}
    if not row.enabled:
        return news
    if row.certificate and row.certificate != server and _came_from_here(row.certificate):
        news["certificate"] = server
    if not _is_ours_to_move(row):
        return news
    if row.address == LOOPBACK and not settings.ON_LOOPBACK:
        news["address"] = EVERYWHERE
    if _follows({row.name: row}, row.name) and row.port != settings.SIGNET_PORTS[row.name]:
        news["port"] = settings.SIGNET_PORTS[row.name]
    return news


def _came_from_here(certificate: Certificate) -> bool:
    """Issued here, or by the clock as the successor of one that was."""
    if certificate.issued_by == ACTOR:
        return True
    first = Certificate.objects.filter(issued_by=ACTOR, profile=profiles.SERVER.name)
    return certificate.issued_by == CLOCK and first.filter(device=certificate.device).exists()


def _endpoint_rows(server: Certificate, store: TrustStore) -> dict[str, dict[str, object]]:
    ports = settings.SIGNET_PORTS
    address = LOOPBACK if settings.ON_LOOPBACK else EVERYWHERE
    rows: dict[str, dict[str, object]] = {
        "main": {
            "port": ports["main"],
            "certificate": server,
            "client_certificate": Endpoint.ClientCertificate.OPTIONAL,
            "truststore": store,
            "serves": Endpoint.Serves.MAIN,
        },
        "enrol": {
            "port": ports["enrol"],
            "certificate": server,
            "serves": Endpoint.Serves.ENROL,
        },
        "public": {"port": ports["public"], "tls": False, "serves": Endpoint.Serves.PUBLIC},
    }
    return {name: {"address": address, **row} for name, row in rows.items()}


def _rooms(done: list[str], admin: User) -> None:
    """The room that everybody comes into; the admin owns it."""
    general, created = Room.objects.get_or_create(
        slug="general", defaults={"name": "General", "kind": Room.Kind.PUBLIC, "everyone": True}
    )
    if created:
        Membership.objects.create(room=general, user=admin, role=Membership.Role.OWNER)
        done.append("made room General")


def _admin(done: list[str], username: str, *, at: dt.datetime) -> User:
    existing = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if existing:
        return existing
    done.append(f"made admin {username}")
    return people.create_person(
        actor=ACTOR, username=username, name="Administrator", admin=True, at=at
    )


def _enrolment_link(admin: User, *, at: dt.datetime) -> str | None:
    """A fresh link while the admin has no valid certificate; the links before it end here."""
    if Certificate.objects.active(at).filter(owner=admin).exists():
        return None
    admin.invitations.open(at).update(expires_at=at)
    _, token = enrolment.invite(actor=ACTOR, user=admin, device="first device", at=at)
    return addresses.enrolment_link(token)


def _root_file(root: CertificateAuthority) -> Path:
    """The root certificate as a file to import into browsers; written anew, it is public."""
    path: Path = settings.SIGNET_HOME / f"{root.slug}.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(bytes(root.certificate.der)))
    return path
