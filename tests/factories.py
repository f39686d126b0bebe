"""The cast of the tests, and the certificates they hold.

Alice owns, Bob is a member, Charlie is a stranger, Admin runs the console. Mallory has a
certificate from another CA: see tests/certs.py.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.utils import timezone

from pki import authorities, issuance, keys, truststore
from pki.identity import Identity, identify
from pki.models import Certificate, CertificateAuthority, Endpoint, TrustStore, User

ACTOR = "tests"


@dataclass(frozen=True)
class People:
    alice: User
    bob: User
    charlie: User
    admin: User


@dataclass(frozen=True)
class PKI:
    root: CertificateAuthority
    issuing: CertificateAuthority
    truststore: TrustStore


@dataclass(frozen=True)
class Device:
    """A person's certificate with the key that only their device holds."""

    certificate: Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return bytes(self.certificate.der)

    @property
    def chain(self) -> list[bytes]:
        authority = self.certificate.authority
        assert authority is not None
        return [self.der, bytes(authority.certificate.der)]

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    def write_pem(self, path: Path) -> Path:
        """Certificate, chain and key in one file, as TLS clients want it."""
        chain = [x509.load_der_x509_certificate(der) for der in self.chain]
        secret = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(b"".join(link.public_bytes(Encoding.PEM) for link in chain) + secret)
        return path


def make_person(username: str, **fields: Any) -> User:
    defaults: dict[str, Any] = {"name": username.capitalize(), "email": f"{username}@example.org"}
    return User.objects.create_user(username, **(defaults | fields))


def make_people() -> People:
    """Alice, Bob, Charlie and Admin (staff with every right, console password "open sesame")."""
    return People(
        alice=make_person("alice"),
        bob=make_person("bob"),
        charlie=make_person("charlie"),
        admin=make_person("admin", is_staff=True, is_superuser=True, password="open sesame"),
    )


def make_pki(*, algorithm: str = "p256", at: dt.datetime | None = None) -> PKI:
    """Root, issuing CA and the trust store "chat" that trusts the root."""
    at = at or timezone.now()
    root = authorities.create_authority(actor=ACTOR, name="Test Root", algorithm=algorithm, at=at)
    issuing = authorities.create_authority(
        actor=ACTOR, name="Test Issuing", parent=root, algorithm=algorithm, at=at
    )
    store = truststore.create_truststore(actor=ACTOR, name="chat", at=at)
    truststore.add_anchor(actor=ACTOR, truststore=store, authority=root, at=at)
    return PKI(root=root, issuing=issuing, truststore=store)


def make_device(
    owner: User,
    authority: CertificateAuthority,
    *,
    device: str = "laptop",
    at: dt.datetime | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Device:
    """A certificate for a person. With `at` a year and more ago it has expired by now, if the
    authority was made then as well."""
    secret = key or ec.generate_private_key(ec.SECP256R1())
    prepared = issuance.prepare(
        actor=ACTOR,
        authority=authority,
        profile="person",
        public_key=secret.public_key(),
        owner=owner,
        device=device,
        at=at or timezone.now(),
    )
    return Device(certificate=issuance.issue(prepared), key=secret)


def make_server_certificate(
    authority: CertificateAuthority,
    *,
    hosts: tuple[str, ...] = (),
    algorithm: str = "p256",
    at: dt.datetime | None = None,
) -> Certificate:
    """A server certificate whose key is kept wrapped in the database."""
    prepared = issuance.prepare(
        actor=ACTOR,
        authority=authority,
        profile="server",
        key=keys.create_key(algorithm=algorithm),
        hosts=hosts,
        at=at or timezone.now(),
    )
    return issuance.issue(prepared)


def make_endpoint(
    pki: PKI,
    store: TrustStore,
    *,
    name: str = "main",
    port: int = 8443,
    serves: str = "main",
    **fields: Any,
) -> Endpoint:
    """An endpoint that asks for client certificates and judges them by a trust store."""
    return Endpoint.objects.create(
        name=name,
        port=port,
        certificate=make_server_certificate(pki.issuing, hosts=("localhost",)),
        client_certificate=fields.pop("client_certificate", "optional"),
        truststore=store,
        serves=serves,
        **fields,
    )


def make_identity(
    owner: User, authority: CertificateAuthority, *, at: dt.datetime | None = None
) -> Identity:
    """A person at a device, as the endpoints would know them."""
    return identify(chain=make_device(owner, authority).chain, at=at or timezone.now())
