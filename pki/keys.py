"""The only module that opens a private key the server holds.

What always holds here:
  1. a key is at rest only as AES-256-GCM under a key derived from the master key, bound to the
     public key it belongs to;
  2. a missing or wrong master key is a refusal (MasterKeyError), never a new key;
  3. a private key leaves this module in one way: into an `ssl.SSLContext`, through a file that is
     encrypted under a random password, readable by us alone, and removed at once.
The master key file is read at every use (0.1 ms), so a changed file is noticed at once.
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidTag
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

from pki import algorithms, masterkey
from pki.algorithms import SigningKey
from pki.errors import AuthorityError, MasterKeyInvalidError
from pki.models import Certificate, PrivateKey

PURPOSE = "key wrapping"
NONCE_BYTES = 12


def create_key(*, algorithm: str) -> PrivateKey:
    """Make a key pair and keep its private half, wrapped.

    `algorithm` is one of algorithms.GENERATORS. Refuses another kind (ProfileError) and to work
    without the master key that wrapped the keys already here (MasterKeyError).
    """
    master = require_master_key()
    secret = algorithms.generate(algorithm)
    name = algorithms.spki_sha256(secret.public_key())
    plain = secret.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(master.derive(PURPOSE)).encrypt(nonce, plain, name.encode())
    return PrivateKey.objects.create(
        spki_sha256=name,
        algorithm=algorithm,
        wrapped=nonce + sealed,
        wrapped_by=master.identifier,
    )


def public_key(key: PrivateKey) -> CertificatePublicKeyTypes:
    """The public half of a key that is kept here.

    Refuses (MasterKeyError) without the master key that wrapped `key`.
    """
    return _open(key).public_key()


def sign_certificate(builder: x509.CertificateBuilder, *, key: PrivateKey) -> x509.Certificate:
    """The certificate, signed as the builder says it; nothing is written.

    Refuses (MasterKeyError) without the master key that wrapped `key`.
    """
    secret = _open(key)
    return builder.sign(secret, algorithms.signature_hash(secret))


def sign_revocation_list(
    builder: x509.CertificateRevocationListBuilder, *, key: PrivateKey
) -> x509.CertificateRevocationList:
    """The CRL, signed as the builder says it; nothing is written.

    Refuses (MasterKeyError) without the master key that wrapped `key`.
    """
    secret = _open(key)
    return builder.sign(secret, algorithms.signature_hash(secret))


def sign_ocsp_response(builder: ocsp.OCSPResponseBuilder, *, key: PrivateKey) -> ocsp.OCSPResponse:
    """The OCSP response, signed as the builder says it; nothing is written.

    Refuses (MasterKeyError) without the master key that wrapped `key`.
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
    password = secrets.token_bytes(24).hex().encode()
    sealed = _open(certificate.key).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    )
    with tempfile.NamedTemporaryFile(prefix="signet-", suffix=".pem") as file:  # mode 0600
        file.write(_chain_pem(certificate) + sealed)
        file.flush()
        context.load_cert_chain(file.name, password=password)


def require_master_key() -> masterkey.MasterKey:
    """The master key, after checking that it is the one that wrapped every key in the database.

    Raises MasterKeyMissingError or MasterKeyInvalidError with a sentence that says what to do.
    """
    master = masterkey.load(settings.SIGNET_MASTER_KEY_FILE)
    for identifier in PrivateKey.objects.values_list("wrapped_by", flat=True).distinct():
        _refuse_other(master, identifier)
    return master


def _open(key: PrivateKey) -> SigningKey:
    master = masterkey.load(settings.SIGNET_MASTER_KEY_FILE)
    _refuse_other(master, key.wrapped_by)
    wrapped = bytes(key.wrapped)
    try:
        plain = AESGCM(master.derive(PURPOSE)).decrypt(
            wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key.spki_sha256.encode()
        )
    except InvalidTag:
        raise MasterKeyInvalidError(
            settings.SIGNET_MASTER_KEY_FILE,
            f"does not open key {key.spki_sha256[:16]}: the stored key has been changed; "
            "restore the database from your backup",
        ) from None
    # GCM has just vouched for these bytes; checking RSA primes again would cost 100 ms a signature.
    return cast(SigningKey, load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True))


def _refuse_other(master: masterkey.MasterKey, wrapped_by: str) -> None:
    if master.identifier != wrapped_by:
        raise MasterKeyInvalidError(
            settings.SIGNET_MASTER_KEY_FILE,
            f"is another one ({master.identifier}) than the one that wrapped the keys "
            f"({wrapped_by}); put the right file back from your backup",
        )


def _chain_pem(certificate: Certificate) -> bytes:
    chain, authority = [certificate], certificate.authority
    while authority is not None and not authority.is_root:
        chain.append(authority.certificate)
        authority = authority.parent
    return b"".join(ssl.DER_cert_to_PEM_cert(bytes(link.der)).encode() for link in chain)
