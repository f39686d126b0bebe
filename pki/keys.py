"""The only module that opens a private key the server holds.

What always holds here:
  1. a key is at rest on a PKCS #11 token, or in the database as AES-256-GCM under a key derived
     from the master key, bound to the public key it belongs to;
  2. a missing or wrong master key is a refusal (MasterKeyError), and a token that is away is one
     (KeyBackendError); neither is ever a new key;
  3. a private key leaves this module in one way: into an `ssl.SSLContext`, through a file that is
     encrypted under a random password, readable by us alone, and removed at once.
The master key file is looked at before every use, so a changed file is noticed at once.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import ssl
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509 import ocsp
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from pki import algorithms, audit, identity_files, masterkey, tokens
from pki.algorithms import SigningKey
from pki.errors import (
    AuditError,
    AuthorityError,
    BadFileError,
    KeyBackendError,
    MasterKeyInvalidError,
    ProfileError,
    StateError,
)
from pki.models import Certificate, PrivateKey
from pki.progress import Progress, unwatched

DATABASE = PrivateKey.Backend.DATABASE.value
PURPOSE = "key wrapping"
NONCE_BYTES = 12
LARGEST = 256 * 1024
PEM_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----\s*", re.S)


def create_key(*, algorithm: str, backend: str = DATABASE) -> PrivateKey:
    """Make a key pair and keep its private half: wrapped in the database, or on the token.

    `algorithm` is one of algorithms.GENERATORS. Refuses another kind (ProfileError), to work
    without the master key that wrapped the keys already here (MasterKeyError), and a token that is
    away, locked, or does not make this kind of key (KeyBackendError). A key on a token is there at
    once; where the caller's transaction fails, `discard_key` removes it.
    """
    algorithms.require_known(algorithm)
    if backend == PrivateKey.Backend.PKCS11:
        handle, public = tokens.create_key(_place(), algorithm=algorithm)
        return PrivateKey.objects.create(
            spki_sha256=algorithms.spki_sha256(public),
            algorithm=algorithm,
            backend=backend,
            handle=handle,
        )
    require_master_key()
    return _keep(algorithms.generate(algorithm), algorithm)


def import_key(*, data: bytes, password: str | None) -> tuple[PrivateKey, list[x509.Certificate]]:
    """Keep the private key of a PEM or PKCS #12 file, wrapped; also returns its certificates.

    The certificate that belongs to the key comes first. A key that is here already is not kept
    twice. Refuses a file without exactly one key, a wrong or missing password, a file whose
    certificates are others' or that takes too much to be opened (BadFileError), a kind of key or a
    weakness that is not admitted (ProfileError), and to work without the master key
    (MasterKeyError).
    """
    require_master_key()
    secret, certificates = _read_identity(data, password.encode() if password else None)
    public = secret.public_key()
    if reason := algorithms.weakness(public):
        raise ProfileError(f"This key cannot be used: {reason}.")
    name = algorithms.spki_sha256(public)
    own = [one for one in certificates if algorithms.spki_sha256(one.public_key()) == name]
    if certificates and not own:
        raise BadFileError("The key in this file belongs to none of its certificates.")
    rest = [one for one in certificates if one not in own]
    known = PrivateKey.objects.filter(spki_sha256=name).first()
    return known or _keep(secret, algorithms.name_of(public)), own + rest


def discard_key(key: PrivateKey) -> None:
    """Remove a key that nothing was made of: its row, and its object on the token."""
    if key.backend == PrivateKey.Backend.PKCS11:
        tokens.destroy_key(_place(), handle=key.handle)
    PrivateKey.objects.filter(pk=key.pk).delete()


def public_key(key: PrivateKey) -> CertificatePublicKeyTypes:
    """The public half of a key that is kept here.

    Refuses to work without the master key that wrapped `key` (MasterKeyError), or without the
    token it is on (KeyBackendError).
    """
    return _open(key).public_key()


def sign_certificate(builder: x509.CertificateBuilder, *, key: PrivateKey) -> x509.Certificate:
    """The certificate, signed as the builder says it; nothing is written.

    Refuses to work without the master key that wrapped `key` (MasterKeyError), or without the
    token it is on (KeyBackendError).
    """
    secret = _open(key)
    return builder.sign(secret, algorithms.signature_hash(secret))


def sign_revocation_list(
    builder: x509.CertificateRevocationListBuilder, *, key: PrivateKey
) -> x509.CertificateRevocationList:
    """The CRL, signed as the builder says it; nothing is written.

    Refuses to work without the master key that wrapped `key` (MasterKeyError), or without the
    token it is on (KeyBackendError).
    """
    secret = _open(key)
    return builder.sign(secret, algorithms.signature_hash(secret))


def sign_ocsp_response(builder: ocsp.OCSPResponseBuilder, *, key: PrivateKey) -> ocsp.OCSPResponse:
    """The OCSP response, signed as the builder says it; nothing is written.

    Refuses to work without the master key that wrapped `key` (MasterKeyError), or without the
    token it is on (KeyBackendError).
    """
    secret = _open(key)
    return builder.sign(secret, algorithms.signature_hash(secret))


def sign_request(
    builder: x509.CertificateSigningRequestBuilder, *, key: PrivateKey
) -> x509.CertificateSigningRequest:
    """The request (PKCS #10), signed as the builder says it; nothing is written.

    Refuses to work without the master key that wrapped `key` (MasterKeyError), or without the
    token it is on (KeyBackendError).
    """
    secret = _open(key)
    return builder.sign(secret, algorithms.signature_hash(secret))


def load_server_chain(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Give a TLS context the certificate, its intermediates (without the root) and its key.

    Refuses a certificate whose key is not here (AuthorityError). The key passes through a file in
    the temporary directory, encrypted under a password that lives for this call alone.
    """
    if certificate.key is None:
        raise AuthorityError(f"The key of {certificate} is not kept here, so it cannot serve TLS.")
    if certificate.key.backend != DATABASE:
        raise AuthorityError(f"The key of {certificate} is on a token, so it cannot serve TLS.")
    password = secrets.token_bytes(24).hex().encode()
    sealed = _open(certificate.key).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    )
    with tempfile.NamedTemporaryFile(prefix="signet-", suffix=".pem") as file:  # mode 0600
        file.write(_chain_pem(certificate) + sealed)
        file.flush()
        context.load_cert_chain(file.name, password=password)


def server_chain(certificate: Certificate) -> list[Certificate]:
    """What is sent in handshakes: the certificate and the CAs above it, without the root."""
    chain, authority = [certificate], certificate.authority
    while authority is not None and not authority.is_root:
        chain.append(authority.certificate)
        authority = authority.parent
    return chain


def require_master_key() -> masterkey.MasterKey:
    """The master key, after checking that every key in the database can be opened.

    While everything is wrapped anew, the key to come opens those that are done. Raises
    MasterKeyMissingError or MasterKeyInvalidError with a sentence that says what to do.
    """
    master = masterkey.load(settings.SIGNET_MASTER_KEY_FILE)
    for identifier in _wrapped_here().values_list("wrapped_by", flat=True).distinct():
        _master_of(identifier)
    return master


@audit.refusals("master_key.change")
def change_master_key(
    *, actor: str, at: dt.datetime, source: Path | None = None, progress: Progress = unwatched
) -> int:
    """Wrap every key under a new master key, then put that in force.

    `source` is the file of the new one, made where it is missing; without, what was begun goes on.
    Each key is one transaction, so it can be interrupted at any moment and run again; meanwhile
    keys of both kinds can be opened. The last step goes over to the new key in the audit trail.
    Returns the number of keys wrapped under the new key. Refuses to work without either master
    key, or without one that wrapped a key here (MasterKeyError), and where nothing was begun and
    no file is named (StateError).
    """
    path = settings.SIGNET_MASTER_KEY_FILE
    require_master_key()
    if source is None and not masterkey.following(path).exists():
        raise StateError("No change of the master key was begun. Name the file of the new one.")
    new = masterkey.prepare(path, source)
    rows = _wrapped_here()
    total, done = rows.count(), rows.filter(wrapped_by=new.identifier).count()
    for pk in rows.exclude(wrapped_by=new.identifier).order_by("pk").values_list("pk", flat=True):
        _rewrap_one(pk, new)
        done += 1
        progress(done, total)
    old = masterkey.load(path)
    with transaction.atomic():
        if old.identifier != new.identifier:
            audit.reseal(actor=actor, old=old, new=new, at=at)
        # Keys that were made since: under the lock of the trail, nothing else commits one.
        for pk in rows.exclude(wrapped_by=new.identifier).values_list("pk", flat=True):
            _rewrap_one(pk, new)
    masterkey.promote(path)
    return rows.filter(wrapped_by=new.identifier).count()


def _rewrap_one(pk: int, new: masterkey.MasterKey) -> None:
    with transaction.atomic():
        row = PrivateKey.objects.select_for_update(no_key=True).filter(pk=pk).first()
        if row is None or row.wrapped_by == new.identifier:
            return
        PrivateKey.objects.filter(pk=pk).update(
            wrapped=_sealed(new, _plain(row), row.spki_sha256), wrapped_by=new.identifier
        )


# --- In the database ------------------------------------------------------------------------


def _wrapped_here() -> QuerySet[PrivateKey]:
    return PrivateKey.objects.filter(backend=DATABASE)


def _keep(secret: SigningKey, algorithm: str) -> PrivateKey:
    master = _newest_master()
    name = algorithms.spki_sha256(secret.public_key())
    plain = secret.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return PrivateKey.objects.create(
        spki_sha256=name,
        algorithm=algorithm,
        wrapped=_sealed(master, plain, name),
        wrapped_by=master.identifier,
    )


def _newest_master() -> masterkey.MasterKey:
    """The master key for new keys: the one to come, as soon as there is one."""
    coming = masterkey.following(settings.SIGNET_MASTER_KEY_FILE)
    return masterkey.load(coming if coming.exists() else settings.SIGNET_MASTER_KEY_FILE)


def _sealed(master: masterkey.MasterKey, plain: bytes, name: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(master.derive(PURPOSE)).encrypt(nonce, plain, name.encode())


def _open(key: PrivateKey) -> SigningKey:
    if key.backend == PrivateKey.Backend.PKCS11:
        return tokens.open_key(_place(), handle=key.handle, name=key.spki_sha256)
    return _parsed(_plain(key))


@lru_cache(maxsize=32)
def _parsed(plain: bytes) -> SigningKey:
    """A key whose wrapping was opened a moment ago: every use opens it, parsing is done once.

    So a missing master key or a changed row is noticed at each use, and a P-256 key takes 0.02 ms.
    GCM has vouched for the bytes; checking RSA primes again would cost 100 ms.
    """
    return cast(SigningKey, load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True))


def _plain(key: PrivateKey) -> bytes:
    master = _master_of(key.wrapped_by)
    wrapped = bytes(key.wrapped)
    try:
        return AESGCM(master.derive(PURPOSE)).decrypt(
            wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key.spki_sha256.encode()
        )
    except InvalidTag:
        raise MasterKeyInvalidError(
            settings.SIGNET_MASTER_KEY_FILE,
            f"does not open key {key.spki_sha256[:16]}: the stored key has been changed; "
            "restore the database from your backup",
        ) from None


def _master_of(identifier: str) -> masterkey.MasterKey:
    path = settings.SIGNET_MASTER_KEY_FILE
    master = masterkey.find(path, identifier)
    if master is None:
        raise _missing(path, identifier)
    return master


def _missing(path: Path, identifier: str) -> MasterKeyInvalidError:
    coming, current = masterkey.following(path), masterkey.load(path).identifier
    if _wrapped_here().filter(wrapped_by=current).exists():
        return MasterKeyInvalidError(
            path,
            f"opens a part of the keys alone: they were being wrapped anew, and the new master key "
            f"({identifier}) is not in {coming.name} beside it; put that file back, which is a copy "
            "of the one named with --new-master-key, and run rewrap_keys again",
        )
    return MasterKeyInvalidError(
        path,
        f"is another one ({current}) than the one that wrapped the keys ({identifier}); put the "
        f"right file back from your backup, as {coming.name} where rewrap_keys was interrupted",
    )


# --- On a token -----------------------------------------------------------------------------


def _place() -> tokens.Place:
    module, pin_file = settings.SIGNET_PKCS11_MODULE, settings.SIGNET_PKCS11_PIN_FILE
    if not (module and settings.SIGNET_PKCS11_TOKEN and pin_file):
        raise KeyBackendError(
            "No token is set up. Set SIGNET_PKCS11_MODULE, SIGNET_PKCS11_TOKEN and "
            "SIGNET_PKCS11_PIN_FILE (docs/settings.md)."
        )
    return tokens.Place(module, settings.SIGNET_PKCS11_TOKEN, pin_file)


# --- In a file ------------------------------------------------------------------------------


def _read_identity(
    data: bytes, password: bytes | None
) -> tuple[SigningKey, list[x509.Certificate]]:
    if len(data) > LARGEST:
        raise BadFileError(f"This file is larger than {LARGEST // 1024} KiB.")
    try:
        if b"-----BEGIN" in data:
            secret, certificates = _read_pem(data, password)
        else:
            secret, certificates = _read_pkcs12(data, password)
    except TypeError:
        raise BadFileError(
            "The password is missing, or one was given for a key that has none."
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadFileError(
            f"The key cannot be read: the password is wrong, or the file is damaged ({error})."
        ) from None
    if not isinstance(secret, SigningKey):
        raise ProfileError("Only EC, RSA and Ed25519 keys can be used.")
    return secret, certificates


def _read_pem(data: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    if len(re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", data)) != 1:
        raise BadFileError("A PEM file to import holds one private key, and its certificate.")
    has_certificates = b"-----BEGIN CERTIFICATE-----" in data
    certificates = x509.load_pem_x509_certificates(data) if has_certificates else []
    block = PEM_KEY.search(data)
    if block is None:
        raise BadFileError("The private key in this file has no end.")
    return _checked(identity_files.open_pem_key(block[0], password)), certificates


def _read_pkcs12(data: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    opened = identity_files.open_pkcs12(data, password)
    if opened.key is None:
        raise BadFileError("This PKCS #12 file holds no private key.")
    return _checked(opened), opened.certificates


def _checked(opened: identity_files.Opened) -> object:
    """RSA primes were checked where the file was opened; large ones would hold up everybody here."""
    assert opened.key is not None
    return load_der_private_key(opened.key, None, unsafe_skip_rsa_key_validation=True)


# --- For TLS --------------------------------------------------------------------------------


def _chain_pem(certificate: Certificate) -> bytes:
    chain = server_chain(certificate)
    return b"".join(ssl.DER_cert_to_PEM_cert(bytes(link.der)).encode() for link in chain)


def sign_statement(data: bytes, *, key: PrivateKey) -> bytes:
    """A signature over `data` as it is, for openssl: ECDSA in DER, RSA PKCS #1 v1.5, or Ed25519.

    `data` is a JSON object, so that no signature over it is one over a certificate, a CRL or an
    OCSP answer; anything else is refused (AuditError). Refuses without the key (PKIError).
    """
    if not data.startswith(b"{"):
        raise AuditError("Only a JSON object may be signed as a statement.")
    secret = _open(key)
    if isinstance(secret, ed25519.Ed25519PrivateKey):
        return secret.sign(data)
    digest = algorithms.signature_hash(secret)
    assert digest is not None
    if isinstance(secret, ec.EllipticCurvePrivateKey):
        return secret.sign(data, ec.ECDSA(digest))
    return secret.sign(data, padding.PKCS1v15(), digest)
