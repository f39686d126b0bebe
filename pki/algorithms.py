"""Kinds of key: how one is made, what it signs with, how it is named and recognised."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki import weak_keys
from pki.errors import ProfileError

SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

DEFAULT = "p256"
RSA_EXPONENT = 65537
RSA_MINIMUM, RSA_MAXIMUM = 2048, 8192

GENERATORS: dict[str, Callable[[], SigningKey]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa3072": lambda: rsa.generate_private_key(RSA_EXPONENT, 3072),
    "rsa4096": lambda: rsa.generate_private_key(RSA_EXPONENT, 4096),
}

# Kinds of public key that a profile may admit, in a person's words. RSA is named by its least size.
KEY_TYPES = {
    "p256": "P-256",
    "p384": "P-384",
    "ed25519": "Ed25519",
    "rsa2048": "RSA from 2048 bits",
    "rsa3072": "RSA from 3072 bits",
    "rsa4096": "RSA from 4096 bits",
}
CURVES = {"secp256r1": "p256", "secp384r1": "p384"}


def generate(algorithm: str) -> SigningKey:
    """A new private key; refuses a kind that is not in GENERATORS (ProfileError)."""
    require_known(algorithm)
    return GENERATORS[algorithm]()


def require_known(algorithm: str) -> None:
    """Refuse (ProfileError) a kind of key that is not in GENERATORS."""
    if algorithm not in GENERATORS:
        known = ", ".join(GENERATORS)
        raise ProfileError(f"{algorithm!r} is not a kind of key. Choose one of: {known}.")


def name_of(key: CertificatePublicKeyTypes) -> str:
    """A public key's kind in the words of GENERATORS; an RSA key is named by its own size."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa{key.key_size}"
    return describe(key).replace("-", "").lower()


def signature_hash(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash that belongs to the key; Ed25519 brings its own."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def describe(key: CertificatePublicKeyTypes) -> str:
    """A public key's kind in a person's words: "P-256", "RSA 3072"."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384"}.get(key.curve.name, key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").strip("_")


def types_of(key: CertificatePublicKeyTypes) -> frozenset[str]:
    """The kinds in KEY_TYPES that a public key is of."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return frozenset({"ed25519"})
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset(filter(None, [CURVES.get(key.curve.name)]))
    if isinstance(key, rsa.RSAPublicKey):
        return frozenset(f"rsa{bits}" for bits in (2048, 3072, 4096) if key.key_size >= bits)
    return frozenset()


def weakness(key: CertificatePublicKeyTypes) -> str | None:
    """Why a public key is not good enough for a certificate of ours; None when it is."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        good = isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
        return None if good else f"its curve {key.curve.name} is neither P-256 nor P-384"
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_weakness(key)
    return f"{describe(key)} keys are not accepted"


def _rsa_weakness(key: rsa.RSAPublicKey) -> str | None:
    if not RSA_MINIMUM <= key.key_size <= RSA_MAXIMUM:
        return f"RSA keys need {RSA_MINIMUM} to {RSA_MAXIMUM} bits; this one has {key.key_size}"
    if key.public_numbers().e != RSA_EXPONENT:
        return f"RSA keys need the public exponent {RSA_EXPONENT}"
    return weak_keys.weakness(key.public_numbers().n)


def spki_sha256(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in hexadecimal: the name of a key pair in every row."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).hexdigest()
