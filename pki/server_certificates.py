"""Certificates that endpoints serve TLS with: issued here, or brought along from elsewhere.

What always holds here: the key is kept here and belongs to the certificate, no person and no CA has
it, and OpenSSL has taken both, with the CAs above.
"""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.conf import settings
from django.db import transaction

from pki import addresses, audit, authorities, issuance, keys, outside, profiles
from pki.errors import BadFileError, KeyReuseError, RequestError
from pki.holdings import COMPROMISED
from pki.models import LONGEST_DEVICE, Certificate, CertificateAuthority, PrivateKey

PROFILE = profiles.SERVER.name
PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
NOTICE = dt.timedelta(days=30)
PATIENCE = dt.timedelta(hours=1)  # upkeep comes round once a minute


def issue(
    *, actor: str, hosts: Sequence[str], at: dt.datetime, algorithm: str = "p256"
) -> Certificate:
    """Issue a server certificate with a new key that is kept here.

    Writes an audit entry. Refuses (AuthorityError) when no CA issues, and what `issuance.prepare`
    refuses.
    """
    with transaction.atomic():
        return issuance.issue(
            issuance.prepare(
                actor=actor,
                authority=authorities.require_issuing(at=at),
                profile=PROFILE,
                key=keys.create_key(algorithm=algorithm),
                hosts=hosts,
                device=",".join(hosts)[:LONGEST_DEVICE],
                at=at,
            )
        )


def bring_in(
    *, actor: str, data: bytes, password: str | None, at: dt.datetime, chain: bytes = b""
) -> Certificate:
    """Keep a server certificate from elsewhere with its key: a PEM or PKCS #12 file.

    CAs above it, of this file and of `chain`, that are not known here get their rows. A certificate
    that is known is not kept twice; one that was issued here for a request gets its key. Writes an
    audit entry.

    Refuses: a file or password that is wrong (BadFileError); a weak key (ProfileError); one that is
    not a server's, names no host, is revoked or not valid now, that no row of a CA of ours tells
    of, or that OpenSSL does not take (RequestError); one whose CAs are not all there
    (AuthorityError); a key that is somebody else's or was compromised (KeyReuseError).
    """
    with transaction.atomic():
        key, certificates = keys.import_key(data=data, password=password)
        if not certificates:
            raise BadFileError("This file holds a key alone. Add the certificate to it.")
        leaf, above = certificates[0], certificates[1:] + outside.chain_certificates(chain)
        _require_server(leaf, at=at)
        row = _known(leaf, key) or _insert(leaf, above, key, actor=actor, at=at)
        _record(row, actor=actor, at=at)
        # The audit trail is locked from here on: nobody else issues between check and commit.
        _refuse_reused_key(row)
        _require_handshake(row)
    return row


def renews_itself(certificate: Certificate) -> bool:
    """Whether `server_renewal` sees to its successor: a CA here issued it for a key here."""
    authority = certificate.authority
    return (
        not certificate.is_outside
        and certificate.key_id is not None
        and authority is not None
        and authority.certificate.key_id is not None
    )


def renewal_of(certificate: Certificate) -> dt.datetime:
    """When its successor is due: with a third of its life left, or 30 days where that is less."""
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - min(NOTICE, life / 3)


def trouble_of(certificate: Certificate, *, at: dt.datetime) -> str | None:
    """What a person must see to, as the end of a sentence about an endpoint; None if nothing."""
    status = certificate.status_at(at)
    if status is not Certificate.Status.VALID:
        return f"has a certificate that is {status.value}"
    days = (certificate.not_after - at).days
    if renews_itself(certificate):
        if at < renewal_of(certificate) + PATIENCE:
            return None
        return f"has a certificate that expires in {days} days and could not be renewed"
    if certificate.not_after >= at + NOTICE:
        return None
    return (
        f"has a certificate from elsewhere that expires in {days} days; nobody but you can renew it"
    )


def hosts_of(certificate: Certificate) -> list[str]:
    """The host names and addresses that a server certificate is for."""
    return _hosts(x509.load_der_x509_certificate(bytes(certificate.der)))


def unnamed_hosts(certificate: Certificate) -> list[str]:
    """Hosts of this deployment that a server certificate does not name: browsers refuse it there."""
    named = hosts_of(certificate)
    return [host for host in settings.SIGNET_HOSTS if not any(_is_for(n, host) for n in named)]


def unserved(certificate: Certificate) -> str:
    """Which hosts of a server certificate this deployment does not answer to, as a sentence; empty
    if there are none. A name with a star is in use as soon as one host of ours is below it."""
    ours = addresses.with_loopback(settings.SIGNET_HOSTS)
    hosts = [n for n in hosts_of(certificate) if not any(_is_for(n, host) for host in ours)]
    if not hosts:
        return ""
    are, them = ("is", "it") if len(hosts) == 1 else ("are", "them")
    return f"{', '.join(hosts)} {are} not in SIGNET_HOST, so pages are not served under {them}."


# --- From elsewhere -------------------------------------------------------------------------


def _require_server(leaf: x509.Certificate, *, at: dt.datetime) -> None:
    """Refuse what browsers would: RFC 5280, 4.2.1.12 and 4.2.1.3; RFC 9110, 4.3.4."""
    try:
        found = {type(extension.value): extension.value for extension in leaf.extensions}
    except ValueError as error:
        raise BadFileError(f"This certificate has an extension that is broken: {error}.") from None
    constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
    purposes = found.get(x509.ExtendedKeyUsage)
    faults = {
        "It is the certificate of a CA.": constraints is not None and constraints.ca,
        "It is not for servers: its extended key usage does not say so.": purposes is not None
        and PURPOSES.isdisjoint(purposes),
        "Its key may not sign, which every handshake here needs (key usage).": usage is not None
        and not usage.digital_signature,
        "It names no host: it has no DNS name or address in its SAN.": not _hosts(leaf),
        "It has expired.": at > leaf.not_valid_after_utc,
        "It is not valid yet.": at < leaf.not_valid_before_utc,
    }
    if sentences := [sentence for sentence, broken in faults.items() if broken]:
        raise RequestError("This certificate cannot serve an endpoint. " + " ".join(sentences))


def _known(leaf: x509.Certificate, key: PrivateKey) -> Certificate | None:
    """The row of this very certificate; it gets its key where that was elsewhere so far."""
    rows = Certificate.objects.select_for_update(of=("self",), no_key=True)
    row = rows.filter(sha256=leaf.fingerprint(SHA256()).hex()).first()
    if row is None:
        return None
    if row.revoked_at is not None:
        raise RequestError("This certificate was revoked.")
    if row.key_id is None:
        row.key = key
        row.save(update_fields=["key"])
    return row


def _insert(
    leaf: x509.Certificate,
    above: list[x509.Certificate],
    key: PrivateKey,
    *,
    actor: str,
    at: dt.datetime,
) -> Certificate:
    authority = outside.record_above(leaf, above, actor=actor, at=at)
    _refuse_unrecorded(authority)
    return authorities.outside_certificate(
        leaf, authority=authority, profile=PROFILE, key=key, actor=actor, at=at
    )


def _refuse_unrecorded(authority: CertificateAuthority | None) -> None:
    """A CA that was imported has a past elsewhere; what one founded here signs has a row."""
    own = authority.certificate if authority else None
    if own is not None and own.key_id is not None and not own.is_outside:
        raise RequestError(
            f"This certificate names {authority}, a CA of this organisation, which has no record "
            "of it."
        )


def _refuse_reused_key(certificate: Certificate) -> None:
    """One key, one bearer: the key of a person, a CA or a responder serves no endpoint."""
    same_key = Certificate.objects.filter(spki_sha256=certificate.spki_sha256)
    for other in same_key.only("owner", "profile", "revocation_reason"):
        if other.revocation_reason in COMPROMISED:
            raise KeyReuseError("The key of this certificate was reported lost or stolen.")
        if other.owner_id is not None or other.profile != PROFILE:
            raise KeyReuseError("The key of this certificate already belongs to somebody else.")


def _require_handshake(certificate: Certificate) -> None:
    """What OpenSSL would not take at the next start, it says here."""
    try:
        keys.load_server_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate)
    except ssl.SSLError as error:
        raise RequestError(f"TLS does not take this certificate: {error.reason}.") from None


def _record(row: Certificate, *, actor: str, at: dt.datetime) -> None:
    audit.record(
        actor=actor,
        action="certificate.imported",
        target=f"certificate {row.serial}",
        detail={
            "subject": row.subject,
            "sha256": row.sha256,
            "authority": str(row.authority or "itself"),
        },
        at=at,
    )


def _hosts(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _is_for(name: str, host: str) -> bool:
    """A star stands for the whole first label of a name, and for nothing else (RFC 6125, 6.4.3)."""
    name, host = name.lower(), host.lower()
    is_name = not host[-1].isdigit() and ":" not in host
    is_covered = name.startswith("*.") and name[1:] == host[host.find(".") :]
    return name == host or (is_name and is_covered)
