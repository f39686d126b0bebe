"""Throw-away identities with which an endpoint is tried out.

What always holds here: the private keys are in the memory of this process alone; those that a CA of
ours signs last minutes, and belong to an account that is closed whenever anybody else can see it,
so nobody is ever signed in by one. Each is issued, and revoked, as every certificate is: linted,
audited and listed.
"""

from __future__ import annotations

import datetime as dt
import secrets
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from django.db import transaction

from pki import audit, issuance, profiles, revocation, truststore
from pki.errors import StateError
from pki.models import Certificate, CertificateAuthority, RevocationReason, TrustStore, User
from pki.tbs import BACKDATED

USERNAME = profiles.PROBE.name
LATE = dt.timedelta(seconds=3)
HOST = "endpoint-test.invalid"  # RFC 6761, 6.4: a name that nobody has
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Probe:
    """A client's identity: its chain (DER, leaf first) and the key. `row` where it is one of ours."""

    chain: tuple[bytes, ...]
    key: ec.EllipticCurvePrivateKey
    row: Certificate | None = None

    def load(self, context: ssl.SSLContext) -> None:
        """Let a client's context present it. The key passes through a file, encrypted under a
        password that lives for this call alone."""
        password = secrets.token_bytes(24).hex().encode()
        sealed = self.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
        )
        pems = "".join(map(ssl.DER_cert_to_PEM_cert, self.chain)).encode()
        with tempfile.NamedTemporaryFile(prefix="signet-", suffix=".pem") as file:  # mode 0600
            file.write(pems + sealed)
            file.flush()
            context.load_cert_chain(file.name, password=password)


def authority_in(store: TrustStore, *, at: dt.datetime) -> CertificateAuthority | None:
    """A CA of ours that issues now and that this trust store trusts, if there is one."""
    anchors = set(truststore.snapshot(store, at).anchors)
    for authority in CertificateAuthority.objects.issuing(at):
        root = authority
        while root.parent is not None:
            root = root.parent
        if bytes(root.certificate.der) in anchors:
            return authority
    return None


def issue_good(*, actor: str, authority: CertificateAuthority, at: dt.datetime) -> Probe:
    """A client certificate that lasts ten minutes; writes audit entries.

    Makes the account it belongs to where it is missing. Refuses what `issuance.prepare` refuses,
    and (StateError) a person of that username who was here before.
    """
    return _issue_client(actor, authority, at, profiles.PROBE.validity)


def issue_expiring(*, actor: str, authority: CertificateAuthority, at: dt.datetime) -> Probe:
    """As `issue_good`, but it ends within three seconds: an expired one is got by waiting."""
    return _issue_client(actor, authority, at, BACKDATED + LATE)


def issue_server(*, actor: str, authority: CertificateAuthority, at: dt.datetime) -> Probe:
    """A server's certificate, for a host that nobody has; ten minutes."""
    key = ec.generate_private_key(ec.SECP256R1())
    prepared = issuance.prepare(
        actor=actor,
        authority=authority,
        profile=profiles.PROBE_SERVER.name,
        public_key=key.public_key(),
        hosts=[HOST],
        at=at,
    )
    return _probe(issuance.issue(prepared), key)


def withdraw(*, actor: str, probes: Sequence[Probe], at: dt.datetime) -> None:
    """Revoke those of ours among them; writes audit entries and CRLs, announces the change."""
    rows = [probe.row.pk for probe in probes if probe.row is not None]
    reason = RevocationReason.CESSATION
    revocation.revoke_many(actor=actor, certificates=rows, reason=reason, at=at)


def foreign(*, at: dt.datetime) -> Probe:
    """A client certificate of a CA that nobody knows; nothing is written."""
    above, key = (ec.generate_private_key(ec.SECP256R1()) for _ in "12")
    ca = _sign("Somebody else's CA", above, "Somebody else's CA", above, at=at, is_ca=True)
    leaf = _sign("somebody else", key, "Somebody else's CA", above, at=at, is_ca=False)
    return Probe(tuple(one.public_bytes(Encoding.DER) for one in (leaf, ca)), key)


def _issue_client(
    actor: str, authority: CertificateAuthority, at: dt.datetime, validity: dt.timedelta
) -> Probe:
    key = ec.generate_private_key(ec.SECP256R1())
    with transaction.atomic():
        owner = _owner(actor, at)
        # Certificates are for open accounts alone. Nobody else sees this one open.
        _switch(owner, active=True)
        prepared = issuance.prepare(
            actor=actor,
            authority=authority,
            profile=profiles.PROBE.name,
            public_key=key.public_key(),
            owner=owner,
            validity=validity,
            at=at,
        )
        row = issuance.issue(prepared)
        _switch(owner, active=False)
    return _probe(row, key)


def _owner(actor: str, at: dt.datetime) -> User:
    fields = {"name": "Test of endpoints", "is_active": False}
    owner, is_new = User.objects.select_for_update().get_or_create(
        username=USERNAME, defaults=fields
    )
    if is_new:
        owner.set_unusable_password()
        owner.save(update_fields=["password"])
        audit.record(
            actor=actor, action="person.created", target=USERNAME, detail={"admin": False}, at=at
        )
    others = owner.certificates.exclude(profile=profiles.PROBE.name)
    if owner.is_staff or owner.is_superuser or owner.has_usable_password() or others.exists():
        raise StateError(
            f"There is a person with the username {USERNAME}, which tests of endpoints need for "
            "themselves. Tests with certificates of ours are not possible."
        )
    return owner


def _switch(owner: User, *, active: bool) -> None:
    owner.is_active = active
    owner.save(update_fields=["is_active"])


def _probe(row: Certificate, key: ec.EllipticCurvePrivateKey) -> Probe:
    chain, authority = [bytes(row.der)], row.authority
    while authority is not None and not authority.is_root:
        chain.append(bytes(authority.certificate.der))
        authority = authority.parent
    return Probe(tuple(chain), key, row)


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    at: dt.datetime,
    is_ca: bool,
) -> x509.Certificate:
    subject, above = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - HOUR)
        .not_valid_after(at + HOUR)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, SHA256())
    )
