"""RSA keys as weak as a test wants them, with both halves."""

from __future__ import annotations

import math
import secrets

from cryptography.hazmat.primitives.asymmetric import rsa

from pki import weak_keys

SMALL = math.prod(weak_keys._primes(2000))


def is_prime(number: int) -> bool:
    """Miller and Rabin, 20 rounds, after trial division."""
    if math.gcd(number, SMALL) != 1:
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(20):
        power = pow(secrets.randbelow(number - 3) + 2, odd, number)
        chain = [pow(power, 2**exponent, number) for exponent in range(twos)]
        if power != 1 and number - 1 not in chain:
            return False
    return True


def prime() -> int:
    """A random prime of 1024 bits."""
    return rsa.generate_private_key(65537, 2048).private_numbers().p


def next_prime(number: int) -> int:
    number += 1 + number % 2
    while not is_prime(number):
        number += 2
    return number


def roca_prime(bits: int) -> int:
    """k * M + (65537 ** a mod M), as the faulty library makes it; M is of keys of 2048 bits."""
    primorial = math.prod(weak_keys._primes(701))
    room = bits - primorial.bit_length()
    while True:
        k = secrets.randbits(room) | 1 << room - 1
        number = k * primorial + pow(65537, secrets.randbits(256), primorial)
        if is_prime(number):
            return number


def private_key(p: int, q: int, *, exponent: int = 65537) -> rsa.RSAPrivateKey:
    secret = pow(exponent, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=secret,
        dmp1=secret % (p - 1),
        dmq1=secret % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(exponent, p * q),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def roca_key() -> rsa.RSAPrivateKey:
    return private_key(roca_prime(1020), roca_prime(1030))


def close_primes_key() -> rsa.RSAPrivateKey:
    first = prime()
    return private_key(first, next_prime(first + 2**200))
