"""Which server certificate goes to which host name (RFC 6066, 3). Pure: opens no socket.

A certificate is for the names in its SAN: exact ones, and `*.` for one label more. Where several
are for a name, one with an RSA key and one with another key stand side by side, and OpenSSL takes
what the client can check, the other one before RSA.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

LoadChain = Callable[[ssl.SSLContext], None]


@dataclass(frozen=True)
class ServerCertificate:
    """`load` gives a context the certificate, the CAs above it and the key."""

    der: bytes
    load: LoadChain

    @cached_property
    def _certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @cached_property
    def names(self) -> tuple[str, ...]:
        try:
            found = self._certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value
        except x509.ExtensionNotFound:
            return ()
        return tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))

    @cached_property
    def is_rsa(self) -> bool:
        return isinstance(self._certificate.public_key(), rsa.RSAPublicKey)


Group = tuple[ServerCertificate, ...]


def arrange(
    default: ServerCertificate, further: Sequence[ServerCertificate]
) -> tuple[Group, dict[str, Group]]:
    """The certificates for clients that ask for no name, or one that is nobody's; and by name.

    For a name of its own a further certificate goes before the default one, and an exact name
    before a star. Beside the default stands what is for all of its names too.
    """
    everything = (*further, default)
    named = {name for one in everything for name in one.names}
    groups = {name: _side_by_side(_for_name(name, everything)) for name in sorted(named)}
    alike = [one for one in further if all(_covers(one, name) for name in default.names)]
    return _side_by_side([default, *(alike if default.names else [])]), groups


def choose(named: Mapping[str, ssl.SSLContext], name: str | None) -> ssl.SSLContext | None:
    """The context for the name that a client asked for; None where it is nobody's."""
    if name is None:
        return None
    name = name.lower()
    return named.get(name) or named.get(f"*.{name.partition('.')[2]}")


def _for_name(name: str, certificates: Iterable[ServerCertificate]) -> Iterator[ServerCertificate]:
    rows = list(certificates)
    yield from (one for one in rows if name in one.names)
    yield from (one for one in rows if name not in one.names and _covers(one, name))


def _covers(certificate: ServerCertificate, name: str) -> bool:
    star = f"*.{name.partition('.')[2]}"
    return name in certificate.names or (not name.startswith("*") and star in certificate.names)


def _side_by_side(certificates: Iterable[ServerCertificate]) -> Group:
    """The first of each kind of key."""
    chosen: dict[bool, ServerCertificate] = {}
    for one in certificates:
        chosen.setdefault(one.is_rsa, one)
    return tuple(chosen.values())
