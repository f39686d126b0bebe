"""RSA keys that anybody could compute the private half of.

Found from the modulus alone:
  1. small prime factors (M. Hastings, J. Fried, N. Heninger, "Weak Keys Remain Widespread in
     Network Devices", IMC 2016);
  2. two primes close together: Fermat's factorisation (CVE-2022-26320);
  3. ROCA (CVE-2017-15361): the primes of one smart card library are k * M + (65537 ** a mod M),
     M a product of the first primes, so modulo each of these the modulus is a power of 65537
     (M. Nemec, M. Sys, P. Svenda, D. Klinec, V. Matyas, "The Return of Coppersmith's Attack",
     CCS 2017, section 3);
  4. one byte repeated, as in keys from a generator that stood still.
Found in lists: the keys of Debian's OpenSSL of 2006 to 2008 (CVE-2008-0166), and any other, in the
files that SIGNET_WEAK_KEYS names. They have the format of openssl-vulnkey(1): a line for each
modulus, the last 20 hexadecimal digits of the SHA-1 of "Modulus=" + its digits in capitals + "\\n".
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import cache, lru_cache
from pathlib import Path

from django.conf import settings

LARGEST_SMALL_PRIME = 2**16
LARGEST_ROCA_PRIME = 167  # M of the shortest keys ends there, those of longer ones go on
FERMAT_ROUNDS = 100
REPEATED = re.compile(rb"(.)\1{15}", re.DOTALL)
SUFFIX_DIGITS = 20
SUFFIX = re.compile(rf"[0-9a-f]{{{SUFFIX_DIGITS}}}\Z")

Version = tuple[tuple[Path, int], ...]


def weakness(modulus: int) -> str | None:
    """Why an RSA modulus is known to be weak; None when nothing is known against it."""
    return _structure(modulus) or _listed(modulus)


def fingerprint(modulus: int) -> str:
    """How lists of weak keys name a modulus."""
    digits = f"Modulus={modulus:X}\n".encode()
    return hashlib.sha1(digits, usedforsecurity=False).hexdigest()[-SUFFIX_DIGITS:]


# --- Structure ------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _structure(modulus: int) -> str | None:
    if math.gcd(_small_primes_product() % modulus, modulus) != 1:
        return "its modulus has a small factor"
    if _has_close_primes(modulus):
        return "its two primes are so close together that they are found at once"
    if _is_roca(modulus):
        return "it comes from a smart card library whose keys can be broken (CVE-2017-15361, ROCA)"
    if REPEATED.search(modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")):
        return "its modulus repeats one byte, as no random number does"
    return None


def _has_close_primes(modulus: int) -> bool:
    root = math.isqrt(modulus)
    start = root if root * root == modulus else root + 1
    for middle in range(start, start + FERMAT_ROUNDS):
        rest = middle * middle - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
    return False


def _is_roca(modulus: int) -> bool:
    """A random modulus passes by chance once in 2**27 keys."""
    return all(modulus % prime in powers for prime, powers in _roca_powers())


@cache
def _roca_powers() -> tuple[tuple[int, frozenset[int]], ...]:
    return tuple(
        (prime, frozenset(pow(65537, exponent, prime) for exponent in range(prime - 1)))
        for prime in _primes(LARGEST_ROCA_PRIME)
    )


@cache
def _small_primes_product() -> int:
    return math.prod(_primes(LARGEST_SMALL_PRIME))


def _primes(largest: int) -> list[int]:
    sieve = bytearray([1]) * (largest + 1)
    for number in range(2, math.isqrt(largest) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(
                len(range(number * number, largest + 1, number))
            )
    return [number for number in range(2, largest + 1) if sieve[number]]


# --- Lists ----------------------------------------------------------------------------------


def _listed(modulus: int) -> str | None:
    if not settings.SIGNET_WEAK_KEYS:
        return None
    try:
        known = _read(_version(Path(settings.SIGNET_WEAK_KEYS)))
    except (OSError, ValueError):
        return (
            "the lists of weak keys (SIGNET_WEAK_KEYS) cannot be read, so nobody knows if it is one"
        )
    if fingerprint(modulus) in known:
        return "it is on a list of keys that others hold as well (such as CVE-2008-0166, Debian)"
    return None


def _version(path: Path) -> Version:
    """The files of the lists and when each was written: what is read again after a change."""
    if not path.is_dir():
        return ((path, path.stat().st_mtime_ns),)
    files = sorted(file for file in path.iterdir() if file.is_file())
    if not files:
        raise FileNotFoundError(path)
    return tuple((file, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=1)
def _read(version: Version) -> frozenset[str]:
    found: set[str] = set()
    for path, _ in version:
        for line in path.read_text("ascii").splitlines():
            words = line.split("#")[0].strip()
            if words and not SUFFIX.match(words):
                raise ValueError(f"{path} is no list of weak keys")
            found.update({words} - {""})
    return frozenset(found)
