"""What a kind of certificate may contain. A profile that contradicts itself cannot be built."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import algorithms
from pki.errors import ProfileError

KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
CA_USAGES = frozenset({"key_cert_sign", "crl_sign"})
LONGEST_CA = dt.timedelta(days=25 * 366)
LONGEST_LEAF = dt.timedelta(days=398)
NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")


@dataclass(frozen=True)
class Profile:
    """A kind of certificate. The constructor raises ProfileError and names the broken limit."""

    name: str
    validity: dt.timedelta
    key_usage: frozenset[str]
    is_ca: bool = False
    path_length: int | None = None
    rsa_key_usage: frozenset[str] = frozenset()
    extended_key_usage: tuple[x509.ObjectIdentifier, ...] = ()

    def __post_init__(self) -> None:
        for limit, broken in self._limits():
            if broken:
                raise ProfileError(f"Profile {self.name!r}: {limit}.")

    def _limits(self) -> list[tuple[str, bool]]:
        usages = self.key_usage | self.rsa_key_usage
        general: list[tuple[str, bool]] = [
            ("its name is not a short word in small letters", not NAME.match(self.name)),
            ("it must be valid for at least a minute", self.validity < dt.timedelta(minutes=1)),
            ("it has an unknown key usage", not usages <= set(KEY_USAGES)),
            ("it has no key usage (RFC 5280, 4.2.1.3)", not self.key_usage),
        ]
        return general + (self._ca_limits(usages) if self.is_ca else self._leaf_limits(usages))

    def _ca_limits(self, usages: frozenset[str]) -> list[tuple[str, bool]]:
        return [
            ("a CA is valid for at most 25 years", self.validity > LONGEST_CA),
            ("a CA signs certificates and CRLs", not usages >= CA_USAGES),
            ("a CA has a path length of 0 to 4", self.path_length not in range(5)),
            ("a CA has no extended key usage", bool(self.extended_key_usage)),
        ]

    def _leaf_limits(self, usages: frozenset[str]) -> list[tuple[str, bool]]:
        purposes = self.extended_key_usage
        return [
            ("a leaf is valid for at most 398 days", self.validity > LONGEST_LEAF),
            ("a leaf signs neither certificates nor CRLs", bool(usages & CA_USAGES)),
            ("a leaf has no path length (RFC 5280, 4.2.1.9)", self.path_length is not None),
            ("a leaf names its purposes", not purposes),
            ("a purpose is named twice", len(set(purposes)) != len(purposes)),
            (
                "any extended key usage is no purpose",
                ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes,
            ),
        ]

    @property
    def is_for_people(self) -> bool:
        """True when its certificates say who somebody is."""
        return ExtendedKeyUsageOID.CLIENT_AUTH in self.extended_key_usage

    @property
    def is_for_servers(self) -> bool:
        return ExtendedKeyUsageOID.SERVER_AUTH in self.extended_key_usage

    def usages_of(self, key: CertificatePublicKeyTypes) -> frozenset[str]:
        """Key usages of a certificate for this key; RSA keys may encrypt besides (TLS 1.2)."""
        return self.key_usage | (self.rsa_key_usage if isinstance(key, rsa.RSAPublicKey) else set())

    def require_public_key(self, key: CertificatePublicKeyTypes) -> None:
        """Refuse (ProfileError) a key other than P-256, P-384, Ed25519 or a sound RSA key."""
        reason = algorithms.weakness(key)
        if reason:
            raise ProfileError(f"This public key cannot be certified: {reason}.")


ROOT = Profile(
    name="root",
    validity=dt.timedelta(days=20 * 365),
    # digitalSignature: the CA itself signs its OCSP responses
    key_usage=CA_USAGES | {"digital_signature"},
    is_ca=True,
    path_length=1,
)
INTERMEDIATE = Profile(
    name="intermediate",
    validity=dt.timedelta(days=10 * 365),
    key_usage=CA_USAGES | {"digital_signature"},
    is_ca=True,
    path_length=0,
)
SERVER = Profile(
    name="server",
    validity=dt.timedelta(days=365),
    key_usage=frozenset({"digital_signature"}),
    rsa_key_usage=frozenset({"key_encipherment"}),
    extended_key_usage=(ExtendedKeyUsageOID.SERVER_AUTH,),
)
PERSON = Profile(
    name="person",
    validity=dt.timedelta(days=365),
    key_usage=frozenset({"digital_signature"}),
    extended_key_usage=(ExtendedKeyUsageOID.CLIENT_AUTH,),
)
PROFILES = {profile.name: profile for profile in (ROOT, INTERMEDIATE, SERVER, PERSON)}


def named(name: str) -> Profile:
    """The profile of that name; ProfileError names those that exist."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise ProfileError(f"There is no profile {name!r}. Choose one of: {known}.") from None
