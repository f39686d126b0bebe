"""RSA keys that others can compute, or hold already."""

from __future__ import annotations

import hashlib
import math
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki import algorithms, weak_keys
from tests.openssl import openssl
from tests.rsa_keys import next_prime, prime, roca_prime


def _key(modulus: int) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(65537, modulus).public_key()


def test_sound_keys_pass() -> None:
    for _ in range(3):
        assert algorithms.weakness(rsa.generate_private_key(65537, 2048).public_key()) is None


def test_product_of_two_random_primes_passes() -> None:
    """The helpers of this file make no weak key of a sound one."""
    assert weak_keys.weakness(prime() * prime()) is None


def test_roca_as_published() -> None:
    modulus = roca_prime(1020) * roca_prime(1030)
    assert "CVE-2017-15361" in str(algorithms.weakness(_key(modulus)))


def test_one_roca_prime_is_not_the_fault() -> None:
    assert weak_keys.weakness(roca_prime(1020) * prime()) is None


def test_close_primes() -> None:
    first = prime()
    assert "close together" in str(algorithms.weakness(_key(first * next_prime(first + 2**200))))


def test_square_of_a_prime() -> None:
    assert "close together" in str(weak_keys.weakness(prime() ** 2))


@pytest.mark.parametrize("factor", [2, 3, 251, 65521])
def test_small_factor(factor: int) -> None:
    assert "small factor" in str(weak_keys.weakness(factor * prime() * prime()))


def test_repeated_byte() -> None:
    modulus = 0xC5 << 2040 | secrets.randbits(1000) | 1
    while math.gcd(modulus, weak_keys._small_primes_product()) != 1:
        modulus += 2
    assert "repeats one byte" in str(weak_keys.weakness(modulus))


# --- Lists ----------------------------------------------------------------------------------


LISTED = rsa.generate_private_key(65537, 2048).public_key()
MODULUS = LISTED.public_numbers().n


def test_fingerprint_is_what_openssl_prints(tmp_path: Path) -> None:
    """The lists are made of `openssl rsa -modulus | sha1sum`, without the first 20 digits."""
    path = tmp_path / "key.pem"
    path.write_bytes(LISTED.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    printed = openssl("rsa", "-pubin", "-in", str(path), "-noout", "-modulus")
    line = hashlib.sha1(printed.encode(), usedforsecurity=False).hexdigest()[20:]
    assert weak_keys.fingerprint(MODULUS) == line


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_listed_key_is_refused(settings, tmp_path: Path, kind: str) -> None:
    assert algorithms.weakness(LISTED) is None  # nothing but the list tells
    path = tmp_path / "blacklist.RSA-2048"
    path.write_text(f"# a comment\n{'0' * 20}\n{weak_keys.fingerprint(MODULUS)}\n")
    settings.SIGNET_WEAK_KEYS = str(path if kind == "file" else tmp_path)
    assert "CVE-2008-0166" in str(algorithms.weakness(LISTED))
    assert algorithms.weakness(rsa.generate_private_key(65537, 2048).public_key()) is None


def test_list_that_changes_is_read_again(settings, tmp_path: Path) -> None:
    settings.SIGNET_WEAK_KEYS = str(tmp_path)
    (tmp_path / "one").write_text(f"{'0' * 20}\n")
    assert weak_keys.weakness(MODULUS) is None
    (tmp_path / "two").write_text(f"{weak_keys.fingerprint(MODULUS)}\n")
    assert weak_keys.weakness(MODULUS)


@pytest.mark.parametrize("content", [None, "not a fingerprint\n", "é" * 20])
def test_list_that_cannot_be_read(settings, tmp_path: Path, content: str | None) -> None:
    """Nothing is certified rather than what the list would have named."""
    settings.SIGNET_WEAK_KEYS = str(tmp_path / "list")
    if content is not None:
        (tmp_path / "list").write_text(content)
    assert "cannot be read" in str(weak_keys.weakness(MODULUS))


def test_empty_directory_is_no_list(settings, tmp_path: Path) -> None:
    settings.SIGNET_WEAK_KEYS = str(tmp_path)
    assert "cannot be read" in str(weak_keys.weakness(MODULUS))


def test_elliptic_curves_are_not_looked_up(settings) -> None:
    settings.SIGNET_WEAK_KEYS = "/nowhere"
    assert algorithms.weakness(algorithms.generate("p256").public_key()) is None
