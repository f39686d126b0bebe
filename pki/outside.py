"""CAs that come from elsewhere with their key, and CAs of ours that an outside CA signs.

What always holds here: the certificate belongs to the key that is kept here, is that of a CA in
force that may sign certificates and CRLs, and hangs below the row of the CA that signed it.
"""

from __future__ import annotations

import datetime as dt
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.db import IntegrityError, transaction

from pki import algorithms, audit, authorities, crl, files, keys, profiles, tbs, trustpath
from pki.changes import announce_change
from pki.description import serial_text
from pki.errors import AuthorityError, BadFileError, StateError
from pki.models import (
    AuthorityRequest,
    Certificate,
    CertificateAuthority,
    PrivateKey,
    RevocationList,
    RevocationReason,
)

LONGEST_PATH = 4
LARGEST_CRL_NUMBER = 10**18
ASKED_AGAIN = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.NameConstraints,
    x509.SubjectKeyIdentifier,
)


@audit.refusals("authority.import")
def import_authority(
    *,
    actor: str,
    data: bytes,
    password: str | None,
    at: dt.datetime,
    chain: bytes = b"",
    name: str = "",
    last_crl_number: int = 0,
    last_crl: bytes = b"",
    discard_revocations: bool = False,
) -> CertificateAuthority:
    """Take over a CA that was founded elsewhere, with its key: a PEM or PKCS #12 file.

    `chain` is a file with the certificates of the CAs above it; those not known here get their
    rows. A CA whose certificate is known without its key gets the key. Its CRLs are numbered above
    `last_crl_number`, `last_crl` (a file with the newest CRL of the old system) and any that was
    imported; upkeep publishes the first when it is due. That lists certificates known here alone:
    so without `discard_revocations` a CRL is a must, and one that lists others is refused
    (StateError), since these would be good again.

    Writes audit entries and announces the change. Refuses: a file or password that is wrong
    (BadFileError); a weak key (ProfileError); what is not a CA's, cannot sign certificates and CRLs,
    has expired, is not signed by a CA that is known or in `chain`, or is kept here already, and a
    CRL that is not its own (AuthorityError).
    """
    if last_crl_number < 0:
        raise AuthorityError("The number of a CRL is not negative.")
    with transaction.atomic():
        key, certificates = keys.import_key(data=data, password=password)
        if not certificates:
            raise BadFileError("This file holds a key alone. Add the certificate of the CA to it.")
        certificate, above = certificates[0], certificates[1:] + chain_certificates(chain)
        _require_issuing_certificate(certificate, at=at)
        _lock_known(certificate)
        parent = record_above(certificate, above, actor=actor, at=at)
        authority = authorities.known(certificate.public_bytes(Encoding.DER))
        if authority is None:
            authority = authorities.insert_outside(
                certificate, name=name, parent=parent, key=key, actor=actor, at=at
            )
        else:
            _give_key(authority, certificate, key)
        listed = _former_crl(authority, certificate, last_crl)
        if not discard_revocations:
            _require_nothing_forgotten(authority, listed)
        number = _next_crl_number(authority, listed, last_crl_number)
        CertificateAuthority.objects.filter(pk=authority.pk).update(next_crl_number=number)
        authorities.record(
            *("authority.imported", authority),
            actor=actor,
            next_crl_number=number,
            discarded_revocations=_forgotten(authority, listed) if listed is not None else None,
            at=at,
        )
        announce_change()
    authority.refresh_from_db()
    return authority


@audit.refusals("authority.request")
def request_authority(
    *,
    actor: str,
    name: str,
    at: dt.datetime,
    algorithm: str = "p256",
    backend: str = keys.DATABASE,
    path_length: int = 0,
) -> AuthorityRequest:
    """Make the key of a CA that an outside CA shall sign, and the CSR for it.

    Writes an audit entry. Refuses a name that is taken, too long or not plain text, a path length
    beyond 4 (AuthorityError), and a key that cannot be made (MasterKeyError, KeyBackendError).
    """
    slug = authorities.free_slug(name)
    if path_length not in range(LONGEST_PATH + 1):
        raise AuthorityError(f"The path length of a CA is 0 to {LONGEST_PATH}.")
    with transaction.atomic(), authorities.new_key(algorithm, backend) as key:
        csr = keys.sign_request(_authority_csr(name, path_length), key=key)
        request = AuthorityRequest.objects.create(
            name=name,
            slug=slug,
            key=key,
            csr=csr.public_bytes(Encoding.DER),
            created_at=at,
            created_by=actor,
        )
        _record_request("authority.requested", request, actor=actor, at=at)
    return request


@audit.refusals("authority.request_renewal")
def request_renewal(
    *, actor: str, authority: CertificateAuthority, at: dt.datetime
) -> AuthorityRequest:
    """Make the CSR with which the outside CA that signed this one signs it anew: same name, same
    key, path length and name constraints. `complete_authority` takes what comes back.

    Writes an audit entry. Refuses a CA whose key is not kept here, or whose parent's is: it is
    renewed here, one that is revoked, for good or on hold (AuthorityError), and one that is asked
    for already (StateError).
    """
    before = authority.certificate
    if before.key is None:
        raise AuthorityError(f"{authority} is kept elsewhere, and is renewed there.")
    if not is_signed_elsewhere(authority):
        raise AuthorityError(f"{authority} was signed here, and is renewed here.")
    with transaction.atomic():
        require_unrevoked(authority)
        csr = keys.sign_request(_renewal_csr(_parsed(before)), key=before.key)
        request = _insert_renewal(authority, before.key, csr, actor=actor, at=at)
        _record_request("authority.requested", request, actor=actor, at=at)
    return request


def is_signed_elsewhere(authority: CertificateAuthority) -> bool:
    """Whether the key of the CA above it is elsewhere, so that a renewal is a request."""
    return authority.parent is not None and authority.parent.certificate.key_id is None


def require_unrevoked(authority: CertificateAuthority) -> None:
    """Refuse (AuthorityError) to renew a CA that is revoked, for good or on hold: what it signed is
    judged by its newest certificate. Locks the certificate until the transaction ends."""
    rows = Certificate.objects.select_for_update(no_key=True).filter(pk=authority.certificate_id)
    revoked_at, reason = rows.values_list("revoked_at", "revocation_reason").get()
    if reason == RevocationReason.HOLD:
        raise AuthorityError(f"{authority} is on hold. Release it first, then renew it.")
    if revoked_at is not None:
        raise AuthorityError(
            f"{authority} was revoked, and under a new certificate all that it signed would be good "
            "again. Let a CA that has a new key take its place."
        )


@audit.refusals("authority.complete")
def complete_authority(
    *,
    actor: str,
    request: AuthorityRequest,
    certificate: bytes,
    at: dt.datetime,
    chain: bytes = b"",
) -> CertificateAuthority:
    """Make a CA of a request and the certificate that an outside CA signed for it; where the
    request is a renewal, let that CA go on under the new certificate.

    `certificate` and `chain` are files in PEM or DER; the CAs above that are not known here get
    their rows. Publishes a CRL, writes audit entries and announces the change. Refuses a
    file that is none (BadFileError), a request that was completed or withdrawn (StateError), and a
    certificate for another key, that is not a CA's, cannot sign certificates and CRLs, has expired,
    or is not signed by a CA that is known or in `chain` (AuthorityError); for a renewal, also one
    with another name or key identifier than before, or that is known already, and a CA that was
    revoked meanwhile (AuthorityError).
    """
    found = chain_certificates(certificate)
    with transaction.atomic():
        request = _locked_request(request)
        before = _locked_before(request)
        if before is not None:
            require_unrevoked(before)
        own = [one for one in found if _spki(one) == request.key.spki_sha256]
        if not own:
            raise AuthorityError(
                "This certificate is for another key than that of the request. Have the CSR of "
                f"{request} signed, as it is."
            )
        _require_issuing_certificate(own[0], at=at)
        others = [one for one in found if one not in own] + chain_certificates(chain)
        parent = record_above(own[0], others, actor=actor, at=at)
        if parent is None:
            raise AuthorityError("This certificate is signed by its own key, not by another CA.")
        request.delete()
        if before is None:
            authority = _completed(request, own[0], parent, actor=actor, at=at)
        else:
            authority = _renewed(before, own[0], parent, actor=actor, at=at)
        crl.publish(authority=authority, actor=actor, at=at)
    return authority


@audit.refusals("authority.withdraw_request")
def withdraw_request(*, actor: str, request: AuthorityRequest, at: dt.datetime) -> None:
    """Give up a CA that was never signed: removes the request and its key, with an audit entry.

    The key of a CA that was to be renewed stays.
    """
    with transaction.atomic():
        request = _locked_request(request)
        key = request.key
        _record_request("authority.request_withdrawn", request, actor=actor, at=at)
        request.delete()
        if not key.certificates.exists():
            keys.discard_key(key)


def request_pem(request: AuthorityRequest) -> bytes:
    """The CSR of a CA to be, as it is handed to whoever signs it."""
    return x509.load_der_x509_csr(bytes(request.csr)).public_bytes(Encoding.PEM)


# --- What the old system revoked ------------------------------------------------------------


def _former_crl(
    authority: CertificateAuthority, certificate: x509.Certificate, data: bytes
) -> x509.CertificateRevocationList | None:
    """The newest CRL of the old system; None where none was handed in."""
    if not data.strip():
        return None
    found = files.read_revocation_list(data)
    if not trustpath.is_signed_by(found, certificate):
        raise AuthorityError(
            f"{authority} did not sign this CRL. Hand in the newest one of its own."
        )
    if fault := trustpath.fault_of(found, certificate):
        raise AuthorityError(f"This CRL of {authority} {fault}. Hand in its newest full one.")
    newest = _newest_kept(authority)
    if newest is not None and trustpath.crl_number(found) < newest:
        raise StateError(f"CRL {newest} of {authority} is here already. Hand in the newest one.")
    return found


def _require_nothing_forgotten(
    authority: CertificateAuthority, listed: x509.CertificateRevocationList | None
) -> None:
    if listed is None:
        raise StateError(
            "Hand in the newest CRL of this CA too, or say that its revocations may be discarded: "
            "what its old system revoked is good again as soon as a CRL is published here."
        )
    if count := _forgotten(authority, listed):
        raise StateError(
            f"This CRL lists {count} certificates that are not known here, and the CRLs published "
            "here list none but known ones. Leave this CA where it is until they have expired and "
            "let a new CA take over, or say that these revocations may be discarded."
        )


def _forgotten(authority: CertificateAuthority, listed: x509.CertificateRevocationList) -> int:
    """How many entries no CRL of ours would have: no row of that CA here is revoked for them."""
    rows = Certificate.objects.revoked().filter(authority=authority)
    known = set(rows.values_list("serial", flat=True))
    return sum(serial_text(entry.serial_number) not in known for entry in listed)


def _newest_kept(authority: CertificateAuthority) -> int | None:
    numbers = RevocationList.objects.filter(authority=authority).order_by("-number")
    return numbers.values_list("number", flat=True).first()


def _next_crl_number(
    authority: CertificateAuthority,
    listed: x509.CertificateRevocationList | None,
    last_number: int,
) -> int:
    """Above every number that a CRL of this CA is known to have had (RFC 5280, 5.2.3)."""
    former = trustpath.crl_number(listed) if listed is not None else 0
    last = max(last_number, former, _newest_kept(authority) or 0)
    if last >= LARGEST_CRL_NUMBER:
        raise AuthorityError("The number of a CRL has at most 18 digits here.")
    return max(authority.next_crl_number, last + 1)


# --- Requests -------------------------------------------------------------------------------


def _authority_csr(name: str, path_length: int) -> x509.CertificateSigningRequestBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    usage = tbs.key_usage(profiles.CA_USAGES | {"digital_signature"})
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=True)
    )


def _renewal_csr(before: x509.Certificate) -> x509.CertificateSigningRequestBuilder:
    builder = x509.CertificateSigningRequestBuilder().subject_name(before.subject)
    for extension in before.extensions:
        if isinstance(extension.value, ASKED_AGAIN):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder


def _insert_renewal(
    authority: CertificateAuthority,
    key: PrivateKey,
    csr: x509.CertificateSigningRequest,
    *,
    actor: str,
    at: dt.datetime,
) -> AuthorityRequest:
    try:
        with transaction.atomic():
            return AuthorityRequest.objects.create(
                name=authority.name,
                slug=authority.slug,
                key=key,
                csr=csr.public_bytes(Encoding.DER),
                created_at=at,
                created_by=actor,
            )
    except IntegrityError:
        raise StateError(
            f"There is a request for {authority} already. Complete it, or withdraw it."
        ) from None


def _locked_request(request: AuthorityRequest) -> AuthorityRequest:
    rows = AuthorityRequest.objects.select_for_update(of=("self",)).select_related("key")
    row = rows.filter(pk=request.pk).first()
    if row is None:
        raise StateError(f"The request for {request} has been completed or withdrawn already.")
    return row


def _completed(
    request: AuthorityRequest,
    certificate: x509.Certificate,
    parent: CertificateAuthority,
    *,
    actor: str,
    at: dt.datetime,
) -> CertificateAuthority:
    authority = authorities.insert_outside(
        certificate, name=request.name, parent=parent, key=request.key, actor=actor, at=at
    )
    authorities.record("authority.completed", authority, actor=actor, at=at)
    return authority


def _locked_before(request: AuthorityRequest) -> CertificateAuthority | None:
    """The CA that has the key of a request already, locked (before the audit trail, as whoever
    revokes does); None for a CA to be."""
    rows = CertificateAuthority.objects.select_for_update(of=("self",), no_key=True)
    return rows.filter(certificate__key=request.key).first()


def _renewed(
    authority: CertificateAuthority,
    certificate: x509.Certificate,
    parent: CertificateAuthority,
    *,
    actor: str,
    at: dt.datetime,
) -> CertificateAuthority:
    """The CA under its new certificate."""
    before = authority.certificate
    _require_same_authority(certificate, _parsed(before))
    authority.parent = parent
    authority.certificate = authorities.outside_certificate(
        certificate,
        authority=parent,
        profile=profiles.INTERMEDIATE.name,
        key=before.key,
        actor=actor,
        at=at,
    )
    authority.save(update_fields=["parent", "certificate"])
    authorities.record("authority.renewed", authority, actor=actor, before=before.sha256, at=at)
    return authority


def _require_same_authority(certificate: x509.Certificate, before: x509.Certificate) -> None:
    """What this CA signed names it by its name and key identifier, and must go on finding it."""
    der = certificate.public_bytes(Encoding.DER)
    if Certificate.objects.filter(sha256=sha256(der).hexdigest()).exists():
        raise AuthorityError("This certificate is known here already. Hand in the new one.")
    if certificate.subject != before.subject:
        raise AuthorityError(
            f"This certificate is for {certificate.subject.rfc4514_string()}. A CA is renewed "
            f"under its own name: {before.subject.rfc4514_string()}."
        )
    identifiers = [
        one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        for one in (certificate, before)
    ]
    if identifiers[0] != identifiers[1]:
        raise AuthorityError(
            "This certificate has another key identifier than the one before, and what the CA "
            "signed names that. Have it signed with the same one."
        )


def _record_request(action: str, request: AuthorityRequest, *, actor: str, at: dt.datetime) -> None:
    detail = {"name": request.name, "key": request.key.spki_sha256, "backend": request.key.backend}
    audit.record(actor=actor, action=action, target=f"CA {request.slug}", detail=detail, at=at)


# --- Certificates ---------------------------------------------------------------------------


def chain_certificates(data: bytes) -> list[x509.Certificate]:
    """The certificates of a file; none of one that was left out."""
    return files.read_certificates(data) if data.strip() else []


def _parsed(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(bytes(certificate.der))


def _spki(certificate: x509.Certificate) -> str:
    return algorithms.spki_sha256(certificate.public_key())


def _require_issuing_certificate(certificate: x509.Certificate, *, at: dt.datetime) -> None:
    """Refuse what cannot sign here: certificates and CRLs point back by key identifier."""
    authorities.require_authority_certificate(certificate, at=at)
    named = certificate.subject.rfc4514_string() or "this certificate"
    kinds = {type(extension.value): extension.value for extension in certificate.extensions}
    usage = kinds.get(x509.KeyUsage)
    if not certificate.subject.rdns:
        raise AuthorityError("A CA needs a subject; this certificate has none.")
    if not (isinstance(usage, x509.KeyUsage) and usage.crl_sign):
        raise AuthorityError(f"{named} may not sign CRLs: its key usage does not say so.")
    if x509.SubjectKeyIdentifier not in kinds:
        raise AuthorityError(f"{named} has no subject key identifier (RFC 5280, 4.2.1.2).")
    if at < certificate.not_valid_before_utc:
        raise AuthorityError(f"{named} is not valid yet.")


def record_above(
    certificate: x509.Certificate, above: list[x509.Certificate], *, actor: str, at: dt.datetime
) -> CertificateAuthority | None:
    """The row of the CA that signed a certificate; CAs in `above` get rows, from the root down."""
    if authorities.is_signed_by(certificate, certificate):
        return None
    for candidate in above:
        if candidate != certificate and authorities.is_signed_by(certificate, candidate):
            rest = [one for one in above if one != candidate]
            parent = record_above(candidate, rest, actor=actor, at=at)
            der = candidate.public_bytes(Encoding.DER)
            return authorities.record_outside_authority(
                actor=actor, certificate=der, at=at, parent=parent
            )
    return authorities.parent_of(certificate, None)


def _lock_known(certificate: x509.Certificate) -> None:
    """The CA that has this certificate, and the certificate: before the audit trail, as whoever
    revokes does."""
    authority = authorities.known(certificate.public_bytes(Encoding.DER))
    if authority is not None:
        crl.lock(authority)
        rows = Certificate.objects.select_for_update(no_key=True)
        list(rows.filter(pk=authority.certificate_id).values_list("pk"))


def _give_key(
    authority: CertificateAuthority, certificate: x509.Certificate, key: PrivateKey
) -> None:
    """The key of a CA that was known without it."""
    row = authority.certificate
    is_current = row.sha256 == sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    given = Certificate.objects.filter(pk=row.pk, key__isnull=True, spki_sha256=key.spki_sha256)
    if not is_current or not given.update(key=key):
        raise AuthorityError(f"{authority} is here already, with its key.")
