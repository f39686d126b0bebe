"""What a kind of certificate may contain. A profile that contradicts itself cannot be built.

Rows of CertificateProfile become a `Profile` in `pki.catalogue`; those that come with the product
are at the end.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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
# RFC 3279, 2.3.1 and RFC 8813, 3: what a kind of key cannot do is left out of its certificates.
NOT_FOR_RSA = frozenset({"key_agreement", "encipher_only", "decipher_only"})
NOT_FOR_EC = frozenset({"key_encipherment", "data_encipherment"})
SIGNING = frozenset({"digital_signature", "content_commitment"})

EXTENDED_KEY_USAGES = {
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "emailProtection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "OCSPSigning": ExtendedKeyUsageOID.OCSP_SIGNING,
}

DAY = dt.timedelta(days=1)
LONGEST_CA = 25 * 366 * DAY
LONGEST_LEAF = 398 * DAY
LONGEST_RESPONDER = 90 * DAY  # nobody asks whether it was revoked (RFC 6960, 4.2.2.2.1)
MOST_APPROVALS = 2
NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")


class Purpose(StrEnum):
    """What a certificate is for. It decides what else its profile may say."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"
    OCSP = "ocsp"
    SERVER = "server"
    PERSON = "person"
    MAIL = "mail"
    CODE = "code"


class Names(StrEnum):
    """What the subjectAltName is taken from."""

    NONE = "none"
    PERSON = "person"
    EMAIL = "email"
    HOSTS = "hosts"


class Excess(StrEnum):
    """What becomes of that in a CSR which the profile does not give."""

    DROP = "drop"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Bounds:
    """What the profiles of a purpose have in common."""

    who: str
    longest: dt.timedelta = LONGEST_LEAF
    needs: str | None = None  # the extended key usage without which it were something else
    admits: frozenset[str] = frozenset()  # others beside it
    names: frozenset[Names] = frozenset({Names.NONE})
    is_ca: bool = False


OWNER_NAMES = frozenset({Names.PERSON, Names.EMAIL})
BOUNDS = {
    Purpose.ROOT: Bounds("a CA", longest=LONGEST_CA, is_ca=True),
    Purpose.INTERMEDIATE: Bounds("a CA", longest=LONGEST_CA, is_ca=True),
    Purpose.OCSP: Bounds("an OCSP responder", longest=LONGEST_RESPONDER, needs="OCSPSigning"),
    Purpose.SERVER: Bounds("a server", needs="serverAuth", names=frozenset({Names.HOSTS})),
    Purpose.PERSON: Bounds(
        "a person who signs in",
        needs="clientAuth",
        admits=frozenset({"emailProtection"}),
        names=OWNER_NAMES,
    ),
    Purpose.MAIL: Bounds("e-mail", needs="emailProtection", names=frozenset({Names.EMAIL})),
    Purpose.CODE: Bounds("code signing", needs="codeSigning", names=OWNER_NAMES | {Names.NONE}),
}
OWNED = frozenset({Purpose.PERSON, Purpose.MAIL, Purpose.CODE})


@dataclass(frozen=True)
class Profile:
    """A kind of certificate. The constructor raises ProfileError and names the broken limit."""

    name: str
    purpose: Purpose
    validity: dt.timedelta
    key_usage: frozenset[str]
    extended_key_usage: tuple[str, ...] = ()
    path_length: int | None = None
    key_types: tuple[str, ...] = ("p256", "p384", "ed25519", "rsa2048")
    names: Names = Names.NONE
    excess: Excess = Excess.DROP
    approvals: int = 0
    per_person: int | None = None

    def __post_init__(self) -> None:
        for limit, broken in self._limits():
            if broken:
                raise ProfileError(f"Profile {self.name!r}: {limit}.")

    # --- What it refuses ---

    def _limits(self) -> list[tuple[str, bool]]:
        bounds = self.bounds
        specific = self._ca_limits() if bounds.is_ca else self._leaf_limits()
        return [
            ("its name is not a short word in small letters", not NAME.match(self.name)),
            ("it must be valid for at least a minute", self.validity < dt.timedelta(minutes=1)),
            (
                f"{bounds.who} is valid for at most {bounds.longest // DAY} days",
                self.validity > bounds.longest,
            ),
            *self._key_limits(),
            *specific,
            *self._request_limits(),
            (f"these alternative names are not for {bounds.who}", self.names not in bounds.names),
        ]

    def _key_limits(self) -> list[tuple[str, bool]]:
        unknown = set(self.key_types) - set(algorithms.KEY_TYPES)
        narrowing = self.key_usage & {"encipher_only", "decipher_only"}
        return [
            ("it admits no kind of key", not self.key_types),
            (f"{', '.join(sorted(unknown))} is no kind of key", bool(unknown)),
            ("a kind of key is named twice", len(set(self.key_types)) != len(self.key_types)),
            ("it has no key usage (RFC 5280, 4.2.1.3)", not self.key_usage),
            ("it has an unknown key usage", not self.key_usage <= set(KEY_USAGES)),
            (
                "encipher only and decipher only exclude each other and need key agreement",
                bool(narrowing) and (len(narrowing) > 1 or "key_agreement" not in self.key_usage),
            ),
            (
                "its key usage leaves nothing to some kind of key that it admits",
                any(not self.key_usage - _beyond(kind) for kind in self.key_types),
            ),
        ]

    def _ca_limits(self) -> list[tuple[str, bool]]:
        return [
            ("a CA signs certificates and CRLs", not self.key_usage >= CA_USAGES),
            (
                "a CA signs, and nothing else (RFC 5280, 4.2.1.3)",
                not self.key_usage <= CA_USAGES | SIGNING,
            ),
            ("a CA has a path length of 0 to 4", self.path_length not in range(5)),
            ("a CA has no extended key usage", bool(self.extended_key_usage)),
        ]

    def _leaf_limits(self) -> list[tuple[str, bool]]:
        bounds, purposes = self.bounds, self.extended_key_usage
        unknown = set(purposes) - set(EXTENDED_KEY_USAGES)
        other = set(purposes) - {bounds.needs} - bounds.admits
        return [
            ("a leaf signs neither certificates nor CRLs", bool(self.key_usage & CA_USAGES)),
            ("a leaf has no path length (RFC 5280, 4.2.1.9)", self.path_length is not None),
            (f"{bounds.who} needs the purpose {bounds.needs}", bounds.needs not in purposes),
            ("a purpose is named twice", len(set(purposes)) != len(purposes)),
            (f"{', '.join(sorted(unknown))} is no purpose that is known here", bool(unknown)),
            (f"{', '.join(sorted(other))} is no purpose of {bounds.who}", bool(other)),
            (
                "an OCSP responder signs, and nothing else",
                self.purpose is Purpose.OCSP and self.key_usage != {"digital_signature"},
            ),
        ]

    def _request_limits(self) -> list[tuple[str, bool]]:
        by_hand = self.is_ca or self.purpose is Purpose.OCSP
        return [
            (
                f"a request needs 0 to {MOST_APPROVALS} approvals",
                self.approvals not in range(MOST_APPROVALS + 1),
            ),
            (
                "nobody asks for this kind of certificate, so none approve",
                by_hand and self.approvals > 0,
            ),
            (
                "the limit per person must be at least 1",
                self.per_person is not None and self.per_person < 1,
            ),
            (
                "a limit per person is for certificates that people have",
                self.per_person is not None and not self.is_for_people,
            ),
        ]

    # --- What it means ---

    @property
    def bounds(self) -> Bounds:
        return BOUNDS[self.purpose]

    @property
    def is_ca(self) -> bool:
        return self.bounds.is_ca

    @property
    def is_for_people(self) -> bool:
        """True when its certificates have an owner."""
        return self.purpose in OWNED

    @property
    def is_for_servers(self) -> bool:
        return self.purpose is Purpose.SERVER

    @property
    def is_for_responders(self) -> bool:
        return self.purpose is Purpose.OCSP

    @property
    def signs_in(self) -> bool:
        """True when its certificates say who somebody is."""
        return self.is_for_people and "clientAuth" in self.extended_key_usage

    @property
    def purposes(self) -> tuple[x509.ObjectIdentifier, ...]:
        """The extended key usages as identifiers."""
        return tuple(EXTENDED_KEY_USAGES[name] for name in self.extended_key_usage)

    def usages_of(self, key: CertificatePublicKeyTypes) -> frozenset[str]:
        """Key usages of a certificate for this key: those that its kind is able to."""
        if isinstance(key, rsa.RSAPublicKey):
            return self.key_usage - NOT_FOR_RSA
        if isinstance(key, ec.EllipticCurvePublicKey):
            return self.key_usage - NOT_FOR_EC
        return self.key_usage - NOT_FOR_RSA - NOT_FOR_EC

    def require_public_key(self, key: CertificatePublicKeyTypes) -> None:
        """Refuse (ProfileError) a key that is unsound, or of a kind that the profile does not admit."""
        reason = algorithms.weakness(key)
        if reason:
            raise ProfileError(f"This public key cannot be certified: {reason}.")
        if not algorithms.types_of(key) & set(self.key_types):
            admitted = ", ".join(algorithms.KEY_TYPES[kind] for kind in self.key_types)
            raise ProfileError(
                f"Profile {self.name!r} does not admit {algorithms.describe(key)} keys. "
                f"Use one of: {admitted}."
            )


def _beyond(kind: str) -> frozenset[str]:
    """Key usages that a kind of key is not able to."""
    if kind.startswith("rsa"):
        return NOT_FOR_RSA
    return NOT_FOR_EC if kind.startswith("p") else NOT_FOR_RSA | NOT_FOR_EC


# --- Those that come with the product ---------------------------------------------------------

SIGNS = frozenset({"digital_signature"})
# digitalSignature: a CA without a responder signs its OCSP responses itself
ROOT = Profile(
    name="root",
    purpose=Purpose.ROOT,
    validity=20 * 365 * DAY,
    key_usage=CA_USAGES | SIGNS,
    path_length=1,
)
INTERMEDIATE = Profile(
    name="intermediate",
    purpose=Purpose.INTERMEDIATE,
    validity=10 * 365 * DAY,
    key_usage=CA_USAGES | SIGNS,
    path_length=0,
)
OCSP = Profile(
    name="ocsp",
    purpose=Purpose.OCSP,
    validity=30 * DAY,
    key_usage=SIGNS,
    extended_key_usage=("OCSPSigning",),
)
SERVER = Profile(
    name="server",
    purpose=Purpose.SERVER,
    validity=90 * DAY,  # it renews itself; Mozilla's modern configuration wants no more
    # keyEncipherment: RSA servers and TLS 1.2
    key_usage=SIGNS | {"key_encipherment"},
    extended_key_usage=("serverAuth",),
    names=Names.HOSTS,
)
PERSON = Profile(
    name="person",
    purpose=Purpose.PERSON,
    validity=365 * DAY,
    key_usage=SIGNS,
    extended_key_usage=("clientAuth",),
    names=Names.PERSON,
)
MAIL = Profile(
    name="mail",
    purpose=Purpose.MAIL,
    validity=365 * DAY,
    # RFC 8550, 4.4.2: RSA keys encipher the key of a mail, EC keys agree on it
    key_usage=SIGNS | {"key_encipherment", "key_agreement"},
    extended_key_usage=("emailProtection",),
    names=Names.EMAIL,
)
CODE = Profile(
    name="code",
    purpose=Purpose.CODE,
    validity=365 * DAY,
    key_usage=SIGNS,
    extended_key_usage=("codeSigning",),
    names=Names.PERSON,
    approvals=1,
)
BUILT_IN = (ROOT, INTERMEDIATE, OCSP, SERVER, PERSON, MAIL, CODE)

# --- Those that are issued by this product to itself, and are in no list ---------------------

PROBE = Profile(
    name="endpoint-test",
    purpose=Purpose.PERSON,
    validity=dt.timedelta(minutes=15),  # of which five are over when it is issued
    key_usage=SIGNS,
    extended_key_usage=("clientAuth",),
    key_types=("p256",),
    names=Names.PERSON,
)
PROBE_SERVER = Profile(
    name="endpoint-test-server",
    purpose=Purpose.SERVER,
    validity=dt.timedelta(minutes=15),
    key_usage=SIGNS,
    extended_key_usage=("serverAuth",),
    key_types=("p256",),
    names=Names.HOSTS,
)
UNLISTED = {PROBE.name: PROBE, PROBE_SERVER.name: PROBE_SERVER}
