"""The head of the audit trail as a signed statement, to be kept where this machine cannot reach.

Who owns the database and the master key can cut off the end of the trail together with its head,
or write it anew. A head that was exported before tells of it: `compare` finds that the trail is
shorter than it was, or another one. An outsider checks the signature with openssl alone.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import zipfile
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import transaction

from pki import audit, audit_chain, keys
from pki.errors import AuditError, AuthorityError, BadFileError
from pki.models import AuditEntry, Certificate, CertificateAuthority

FORMAT = "signet audit head 1"
NAME = "audit-head.json"
LONGEST = 16 * 1024
NO_HEAD = "This is not an exported head of an audit trail: name the ZIP as it was written."
HOW = """This is the head of an audit trail: how many entries it had, and the hash of the last.
Keep it where the machine it comes from cannot change it.

To check the signature of {authority} with OpenSSL 3:

  {command}

public-key.pem is the key of {authority}; compare it with the one in ca.pem, and ca.pem with the
CA certificate that you trust:

  openssl x509 -in ca.pem -noout -pubkey
  openssl x509 -in ca.pem -noout -fingerprint -sha256

To compare the head with the trail, on the machine it comes from:

  verify_audit --head <this ZIP>
"""


@dataclass(frozen=True)
class SignedHead:
    """A statement about so many entries, and the signature of a CA over its very bytes."""

    entries: int
    statement: bytes
    signature: bytes
    certificate: x509.Certificate
    authority: str

    @property
    def command(self) -> str:
        """What checks the signature."""
        key = self.certificate.public_key()
        digest = (
            "" if isinstance(key, ed25519.Ed25519PublicKey) else f" -digest {_digest(key).name}"
        )
        return (
            f"openssl pkeyutl -verify -pubin -inkey public-key.pem -rawin{digest} "
            f"-in {NAME} -sigfile {NAME}.sig"
        )

    def archive(self) -> bytes:
        """Statement, signature, certificate, key and how to check them, as a ZIP."""
        key = self.certificate.public_key()
        how = HOW.format(authority=self.authority, command=self.command)
        content = {
            NAME: self.statement,
            f"{NAME}.sig": self.signature,
            "ca.pem": self.certificate.public_bytes(Encoding.PEM),
            "public-key.pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "README.txt": how.encode(),
        }
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return packed.getvalue()


@audit.refusals("audit.export_head")
def export(*, actor: str, authority: CertificateAuthority, at: dt.datetime) -> SignedHead:
    """Sign the number and hash of the newest entry with the key of a CA. Writes an audit entry,
    which comes after the head that was signed.

    Refuses an empty trail (AuditError), a CA whose key is not here (AuthorityError), and what
    `pki.keys` refuses.
    """
    key = authority.certificate.key
    if key is None:
        raise AuthorityError(f"{authority} cannot sign the head: its key is not kept here.")
    head = audit_chain.head()
    if not head.sequence:
        raise AuditError("The audit trail has no entry yet.")
    facts = {
        "format": FORMAT,
        "entries": head.sequence,
        "hash": head.hash,
        "at": at.astimezone(dt.UTC).isoformat(timespec="seconds"),
        "authority": authority.name,
        "certificate_sha256": authority.certificate.sha256,
    }
    statement = json.dumps(facts, indent=2, ensure_ascii=True).encode() + b"\n"
    signature = keys.sign_statement(statement, key=key)
    with transaction.atomic():
        audit.record(
            actor=actor,
            action="audit.head_exported",
            target=f"CA {authority.slug}",
            detail={"entries": head.sequence, "hash": head.hash},
            at=at,
        )
    return SignedHead(
        entries=head.sequence,
        statement=statement,
        signature=signature,
        certificate=x509.load_der_x509_certificate(bytes(authority.certificate.der)),
        authority=authority.name,
    )


def signing_authority(at: dt.datetime) -> CertificateAuthority:
    """The CA that signs heads unless another is named: one that issues and has its key here.

    Below a root rather than a root itself; refuses when there is none (AuthorityError).
    """
    able = CertificateAuthority.objects.filter(
        certificate__key__isnull=False,
        certificate__revoked_at__isnull=True,
        certificate__not_after__gte=at,
        retired_at__isnull=True,
    )
    found = able.filter(parent__isnull=False).order_by("pk").first() or able.order_by("pk").first()
    if found is None:
        raise AuthorityError("There is no CA that could sign. Create one, or name one.")
    return found


def compare(archive: bytes) -> int:
    """Check that the trail holds what an exported head tells of; returns the head's number.

    `archive` is what `SignedHead.archive` made. Refuses a file that is none (BadFileError); one
    whose signature is not that of a CA known here, a trail that ends before it, and one that was
    written anew (AuditError). The entries themselves are checked by `audit.verify`.
    """
    statement, signature = _unpack(archive)
    number, last, at, sha256 = _read(statement)
    _check_signature(statement, signature, sha256)
    entry = AuditEntry.objects.filter(sequence=number).first()
    if entry is None:
        end = AuditEntry.objects.order_by("-sequence").values_list("sequence", flat=True).first()
        raise AuditError(
            f"The trail ends at entry {end or 0}, but it had {number} entries on {at}: "
            "its end was cut off."
        )
    if entry.hash != last:
        raise AuditError(
            f"Audit entry {number} is not the one that stood there on {at}: "
            "the trail was cut off and written anew."
        )
    return number


def _unpack(archive: bytes) -> tuple[bytes, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            if any(packed.getinfo(name).file_size > LONGEST for name in (NAME, f"{NAME}.sig")):
                raise ValueError("too long")
            return packed.read(NAME), packed.read(f"{NAME}.sig")
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RuntimeError, NotImplementedError):
        raise BadFileError(NO_HEAD) from None


def _read(statement: bytes) -> tuple[int, str, str, str]:
    try:
        facts = json.loads(statement)
        if facts["format"] != FORMAT:
            raise ValueError(facts["format"])
        return (
            int(facts["entries"]),
            str(facts["hash"]),
            str(facts["at"]),
            str(facts["certificate_sha256"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadFileError(NO_HEAD) from None


def _check_signature(statement: bytes, signature: bytes, sha256: str) -> None:
    row = Certificate.objects.filter(sha256=sha256).first()
    signer = x509.load_der_x509_certificate(bytes(row.der)) if row else None
    if signer is None or not _is_ca(signer):
        raise AuditError("This head is signed by a CA that is not known here.")
    key = signer.public_key()
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, statement)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, statement, ec.ECDSA(_digest(key)))
        else:
            assert isinstance(key, rsa.RSAPublicKey)
            key.verify(signature, statement, padding.PKCS1v15(), _digest(key))
    except InvalidSignature:
        raise AuditError("The signature of this head is not right: the file was changed.") from None


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return constraints.value.ca


def _digest(key: CertificatePublicKeyTypes) -> hashes.SHA256 | hashes.SHA384:
    """As algorithms.signature_hash chooses it for the private half."""
    is_large_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size > 256
    return hashes.SHA384() if is_large_curve else hashes.SHA256()
