"""Who signs the OCSP answers of a CA: a certificate made for that alone (RFC 6960, 4.2.2.2).

The CA's own key then rests: it may be on a token, or RSA, while answers are signed with P-256 from
the database. The certificate lives 30 days and is replaced at half its life. Where none can be made
the last one serves until it expires; after that the CA signs itself, where it can.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from django.db import transaction

from pki import audit, compliance, crl, issuance, keys, profiles
from pki.changes import announce_change
from pki.errors import AuthorityError, LintError, PKIError
from pki.models import Certificate, CertificateAuthority, PrivateKey, RevocationReason
from pki.querysets import valid_at

PROFILE = profiles.OCSP.name
ALGORITHM = "p256"
LONGEST_NAME = 64  # RFC 5280, appendix A.1: ub-common-name
SUFFIX = " OCSP responder"
PATIENCE = dt.timedelta(hours=1)  # upkeep comes round once a minute

logger = logging.getLogger("pki")


@dataclass(frozen=True)
class Signer:
    """A certificate and its key; `is_delegated` when it is not the CA's own."""

    certificate: Certificate
    key: PrivateKey
    is_delegated: bool


@dataclass(frozen=True)
class Statement:
    """What an answer says of one serial number. `revoked` is the time and the reason."""

    hash_algorithm: hashes.HashAlgorithm
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    is_known: bool
    revoked: tuple[dt.datetime, str] | None
    this_update: dt.datetime
    next_update: dt.datetime
    nonce: bytes | None = None


@audit.refusals("responder.renew")
def renew(*, actor: str, authority: CertificateAuthority, at: dt.datetime) -> Certificate:
    """Make a new key and certificate, and let it sign the OCSP answers of a CA from now on.

    Key, certificate, audit entries and the change of the CA share one transaction, and the change
    is announced. The certificate before stays valid until it expires: answers under it are about.

    Refuses what `issuance.prepare` refuses, so a CA that is revoked, expired or without its key
    (AuthorityError, KeyBackendError), and a responder whose answers the linter would not pass
    (LintError).
    """
    with transaction.atomic():
        return _renew(crl.lock(authority), actor=actor, at=at)


def renew_due(*, at: dt.datetime, actor: str = "signet") -> list[Certificate]:
    """Renew for every CA whose responder has lived half its life, was revoked, or is missing.

    Several processes may call it at once: who comes second finds nothing due. CAs that have
    expired or whose key is elsewhere are left alone, retired ones are not. One that cannot is
    written to the log and keeps nobody else from it.
    """
    renewed = [_renew_or_log(one, actor=actor, at=at) for one in able(at=at) if is_due(one, at=at)]
    return [certificate for certificate in renewed if certificate is not None]


def able(*, at: dt.datetime) -> list[CertificateAuthority]:
    """The CAs that can have a responder made now: valid, and with their key here."""
    rows = CertificateAuthority.objects.filter(
        valid_at(at, "certificate__"), certificate__key__isnull=False
    )
    return list(rows.select_related("certificate", "responder"))


def is_due(authority: CertificateAuthority, *, at: dt.datetime) -> bool:
    """Whether a CA's responder is missing, revoked or past half its life. Not when it lasts as
    long as the CA itself does: the next one could not live longer."""
    current = authority.responder
    if current is None or current.revoked_at is not None:
        return True
    half = current.not_before + (current.not_after - current.not_before) / 2
    return at >= half and current.not_after < authority.certificate.not_after


def is_overdue(authority: CertificateAuthority, *, at: dt.datetime) -> bool:
    """Whether a responder that a CA has should have been replaced, and a person must look why not."""
    is_able = authority.certificate.key_id is not None and (
        authority.certificate.status_at(at) is Certificate.Status.VALID
    )
    return is_able and authority.responder is not None and is_due(authority, at=at - PATIENCE)


def require(*, authority: CertificateAuthority, at: dt.datetime) -> Signer:
    """Who signs the answers of a CA now: its responder, or else the CA itself.

    Raises AuthorityError where neither can: no valid responder, and a key that is kept elsewhere.
    """
    delegated, own = authority.responder, authority.certificate
    if (
        delegated is not None
        and delegated.key is not None
        and delegated.status_at(at) is Certificate.Status.VALID
    ):
        return Signer(delegated, delegated.key, is_delegated=True)
    if own.key is None:
        raise AuthorityError(
            f"{authority} cannot answer OCSP: it has no valid responder certificate, and its key is "
            "not kept here."
        )
    return Signer(own, own.key, is_delegated=False)


def sign(statement: Statement, *, signer: Signer) -> bytes:
    """The DER of a signed response. The responder is named by the hash of its key.

    Raises MasterKeyError or KeyBackendError where the key cannot be used.
    """
    certificate = _read(bytes(signer.certificate.der))
    builder = _builder(statement).responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
    if signer.is_delegated:
        builder = builder.certificates([certificate])
    if statement.nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(statement.nonce), critical=False)
    return keys.sign_ocsp_response(builder, key=signer.key).public_bytes(Encoding.DER)


# --- Renewal ----------------------------------------------------------------------------------


def _renew_or_log(
    authority: CertificateAuthority, *, actor: str, at: dt.datetime
) -> Certificate | None:
    try:
        with transaction.atomic():
            locked = crl.lock(authority)
            return _renew(locked, actor=actor, at=at) if is_due(locked, at=at) else None
    except PKIError as error:
        logger.error("The OCSP responder of %s cannot be renewed: %s", authority.slug, error)
    except Exception:  # whatever is wrong with one CA, the next one's responder must not run out
        logger.exception("The OCSP responder of %s cannot be renewed", authority.slug)
    return None


def _renew(locked: CertificateAuthority, *, actor: str, at: dt.datetime) -> Certificate:
    prepared = issuance.prepare(
        actor=actor,
        authority=locked,
        profile=PROFILE,
        key=keys.create_key(algorithm=ALGORITHM),
        common_name=locked.name[: LONGEST_NAME - len(SUFFIX)] + SUFFIX,
        at=at,
    )
    certificate = issuance.issue(prepared)
    _refuse_bad_answers(certificate, at=at)
    locked.responder = certificate
    locked.save(update_fields=["responder"])
    _record(locked, certificate, actor=actor, at=at)
    announce_change()
    return certificate


def _record(
    authority: CertificateAuthority, certificate: Certificate, *, actor: str, at: dt.datetime
) -> None:
    audit.record(
        actor=actor,
        action="responder.renewed",
        target=f"CA {authority.slug}",
        detail={
            "serial": certificate.serial,
            "sha256": certificate.sha256,
            "not_after": certificate.not_after.isoformat(),
        },
        at=at,
    )


def _refuse_bad_answers(certificate: Certificate, *, at: dt.datetime) -> None:
    """Lint one answer of each kind before the first real one is given."""
    assert certificate.key is not None
    signer = Signer(certificate, certificate.key, is_delegated=True)
    findings = [
        f"{kind}: {finding}"
        for kind, statement in _samples(at).items()
        for finding in compliance.ocsp_findings(sign(statement, signer=signer))
    ]
    if findings:
        raise LintError(findings)


def _samples(at: dt.datetime) -> dict[str, Statement]:
    now = at.astimezone(dt.UTC).replace(microsecond=0)

    def sample(
        *, is_known: bool = True, reason: str | None = None, nonce: bytes | None = None
    ) -> Statement:
        return Statement(
            hash_algorithm=hashes.SHA256(),
            issuer_name_hash=b"n" * 32,
            issuer_key_hash=b"k" * 32,
            serial=1,
            is_known=is_known,
            revoked=None if reason is None else (now, reason),
            this_update=now,
            next_update=now + dt.timedelta(hours=1),
            nonce=nonce,
        )

    return {
        "good": sample(),
        "good with nonce": sample(nonce=b"n" * 32),
        "unknown": sample(is_known=False),
        "revoked": sample(reason=RevocationReason.UNSPECIFIED),
        "revoked with reason": sample(reason=RevocationReason.HOLD),
    }


# --- Answers ----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _read(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _builder(statement: Statement) -> ocsp.OCSPResponseBuilder:
    status, revoked_at, reason = _status(statement)
    return ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=statement.issuer_name_hash,
        issuer_key_hash=statement.issuer_key_hash,
        serial_number=statement.serial,
        algorithm=statement.hash_algorithm,
        cert_status=status,
        this_update=statement.this_update,
        next_update=statement.next_update,
        revocation_time=revoked_at,
        revocation_reason=reason,
    )


def _status(
    statement: Statement,
) -> tuple[ocsp.OCSPCertStatus, dt.datetime | None, x509.ReasonFlags | None]:
    if not statement.is_known:
        return ocsp.OCSPCertStatus.UNKNOWN, None, None
    if statement.revoked is None:
        return ocsp.OCSPCertStatus.GOOD, None, None
    revoked_at, reason = statement.revoked
    flag = None if reason == RevocationReason.UNSPECIFIED else x509.ReasonFlags(reason)
    return ocsp.OCSPCertStatus.REVOKED, revoked_at, flag
