"""Kinds of key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa

from pki import algorithms
from pki.errors import ProfileError


@pytest.mark.parametrize(
    ("algorithm", "description", "digest"),
    [
        ("p256", "P-256", "sha256"),
        ("p384", "P-384", "sha384"),
        ("ed25519", "Ed25519", None),
        ("rsa3072", "RSA 3072", "sha256"),
    ],
)
def test_generate(algorithm: str, description: str, digest: str | None) -> None:
    key = algorithms.generate(algorithm)
    assert algorithms.describe(key.public_key()) == description
    assert algorithms.weakness(key.public_key()) is None
    found = algorithms.signature_hash(key)
    assert (found.name if found else None) == digest


def test_generate_unknown_kind() -> None:
    with pytest.raises(ProfileError, match="p256, p384"):
        algorithms.generate("rsa1024")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65537, 1024), "2048"),
        (rsa.generate_private_key(3, 2048), "exponent"),
        (ec.generate_private_key(ec.SECP521R1()), "secp521r1"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
        (dsa.generate_private_key(2048), "DSA"),
    ],
    ids=["rsa1024", "e3", "p521", "k1", "ed448", "dsa"],
)
def test_weakness(key: ec.EllipticCurvePrivateKey, reason: str) -> None:
    assert reason in str(algorithms.weakness(key.public_key()))


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        (rsa.generate_private_key(65537, 2048), {"rsa2048"}),
        (rsa.generate_private_key(65537, 4096), {"rsa2048", "rsa3072", "rsa4096"}),
        (ec.generate_private_key(ec.SECP256R1()), {"p256"}),
        (ec.generate_private_key(ec.SECP384R1()), {"p384"}),
        (algorithms.generate("ed25519"), {"ed25519"}),
        (ec.generate_private_key(ec.SECP521R1()), set()),
        (ed448.Ed448PrivateKey.generate(), set()),
    ],
    ids=["rsa2048", "rsa4096", "p256", "p384", "ed25519", "p521", "ed448"],
)
def test_types_of(key: ec.EllipticCurvePrivateKey, kinds: set[str]) -> None:
    found = algorithms.types_of(key.public_key())
    assert found == kinds
    assert found <= set(algorithms.KEY_TYPES)


def test_what_is_made_here_is_of_a_kind_that_profiles_know() -> None:
    assert set(algorithms.GENERATORS) <= set(algorithms.KEY_TYPES)
