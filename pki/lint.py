"""What is about to be signed, looked at once more before it is.

`lint` takes the twin: the same certificate signed by a key that is thrown away. Every rule is one
function that yields what is wrong; its name is the name of the finding. Other people's rules
(pkilint, RFC 5280) come last. Nothing here trusts that `tbs` or a profile is right.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from pki import algorithms, compliance, constraints
from pki.algorithms import SigningKey
from pki.errors import LintError
from pki.profiles import KEY_USAGES, Names, Profile

LONGEST_BACKDATE = dt.timedelta(hours=1)
FEWEST_SERIAL_BITS = 64
LONGEST_ATTRIBUTE = 64  # RFC 5280, appendix A: ub-common-name
LONGEST_NAME = 255
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, bidi, zero-width, unassigned
MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}\Z")
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
KNOWN_EXTENSIONS = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.OCSP_NO_CHECK,
}


@dataclass(frozen=True)
class Candidate:
    """A twin and what it is measured against; `issuer` is None for a self-signed root.

    `above` are the certificates of the CAs above the issuer.
    """

    twin: x509.Certificate
    profile: Profile
    issuer: x509.Certificate | None
    at: dt.datetime
    above: tuple[x509.Certificate, ...] = ()

    def extension(self, kind: type[x509.ExtensionType]) -> x509.Extension | None:
        return self._extensions.get(kind)

    @cached_property
    def _extensions(self) -> dict[type[x509.ExtensionType], x509.Extension]:
        return {type(extension.value): extension for extension in self.twin.extensions}


Rule = Callable[[Candidate], Iterator[str]]


def sign_twin(builder: x509.CertificateBuilder, *, algorithm: str) -> x509.Certificate:
    """The same certificate, signed by a throw-away key of the same kind."""
    key = _throw_away(algorithm)
    return builder.sign(key, algorithms.signature_hash(key))


def lint(candidate: Candidate) -> None:
    """Refuse (LintError, every finding named) what breaks a rule."""
    findings = [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(candidate)]
    if findings:
        raise LintError(findings)


def is_plain_text(text: str) -> bool:
    """True for text without control, direction and invisible characters, nor spaces around it."""
    return text == text.strip() and not any(unicodedata.category(c) in HIDDEN for c in text)


def usages_in(value: x509.KeyUsage) -> frozenset[str]:
    """encipher_only and decipher_only may be asked for only beside key_agreement."""
    asked = KEY_USAGES if value.key_agreement else KEY_USAGES[:7]
    return frozenset(usage for usage in asked if getattr(value, usage))


# --- Rules ----------------------------------------------------------------------------------


def serial_number(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.1.2.2; at least 64 bits that nobody can foretell."""
    serial = candidate.twin.serial_number
    if not 0 < serial < 2**159:
        yield "must be positive and fit into 20 octets"
    if serial.bit_length() < FEWEST_SERIAL_BITS:
        yield f"must have at least {FEWEST_SERIAL_BITS} random bits"


def validity(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.1.2.5: an interval, not longer than the profile's, hardly backdated."""
    start, end = candidate.twin.not_valid_before_utc, candidate.twin.not_valid_after_utc
    if end <= start:
        yield "ends before it begins"
    if end - start > candidate.profile.validity:
        yield f"is longer than profile {candidate.profile.name} admits"
    if start < candidate.at - LONGEST_BACKDATE:
        yield "begins more than an hour ago"
    if end <= candidate.at:
        yield "has ended already"


def validity_within_issuer(candidate: Candidate) -> Iterator[str]:
    issuer = candidate.issuer
    if issuer is None:
        return
    if candidate.twin.not_valid_after_utc > issuer.not_valid_after_utc:
        yield "ends after the certificate of the CA"
    if candidate.twin.not_valid_before_utc < issuer.not_valid_before_utc:
        yield "begins before the certificate of the CA"


def issuer_name(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 6.1.3: names chain byte for byte; two CAs in a chain have two names."""
    above = candidate.issuer or candidate.twin
    expected = above.subject.public_bytes()
    if candidate.twin.issuer.public_bytes() != expected:
        yield "is not the name of the CA"
    if candidate.issuer and candidate.twin.subject.public_bytes() == expected:
        yield "is the same as the subject"


def basic_constraints(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.2.1.9: a leaf is no CA, and a CA stays within the path length above it."""
    extension = candidate.extension(x509.BasicConstraints)
    if extension is None or not extension.critical:
        yield "must be present and critical"
        return
    expected = x509.BasicConstraints(candidate.profile.is_ca, candidate.profile.path_length)
    if extension.value != expected:
        yield f"is not what profile {candidate.profile.name} says"


def path_length(candidate: Candidate) -> Iterator[str]:
    issuer = candidate.issuer
    if issuer is None:
        return
    above = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not above.ca:
        yield "the issuer is not a CA"
    if not candidate.profile.is_ca or above.path_length is None:
        return
    if (candidate.profile.path_length or 0) >= above.path_length:
        yield "is not below that of the CA"


def key_usage(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.2.1.3."""
    extension = candidate.extension(x509.KeyUsage)
    if extension is None or not extension.critical:
        yield "must be present and critical"
        return
    if usages_in(extension.value) != candidate.profile.usages_of(candidate.twin.public_key()):
        yield f"is not what profile {candidate.profile.name} says"


def extended_key_usage(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.2.1.12."""
    extension = candidate.extension(x509.ExtendedKeyUsage)
    purposes = tuple(extension.value) if extension else ()
    if purposes != candidate.profile.purposes:
        yield f"is not what profile {candidate.profile.name} says"
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes:
        yield "names no purpose but any"
    if extension and extension.critical:
        yield "must not be critical"


def key_identifiers(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.2.1.1 and 4.2.1.2."""
    own = candidate.extension(x509.SubjectKeyIdentifier)
    above = candidate.extension(x509.AuthorityKeyIdentifier)
    if own is None or own.critical or above is None or above.critical:
        yield "must be present and not critical"
        return
    if own.value != x509.SubjectKeyIdentifier.from_public_key(candidate.twin.public_key()):
        yield "that of the subject does not belong to its key"
    signer = (candidate.issuer or candidate.twin).extensions
    expected = signer.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if above.value.key_identifier != expected.digest:
        yield "that of the authority does not belong to the CA"


def public_key(candidate: Candidate) -> Iterator[str]:
    reason = algorithms.weakness(candidate.twin.public_key())
    if reason:
        yield reason


def key_is_not_the_issuers(candidate: Candidate) -> Iterator[str]:
    issuer = candidate.issuer
    if issuer and issuer.public_key() == candidate.twin.public_key():
        yield "a CA does not certify its own key again"


def subject(candidate: Candidate) -> Iterator[str]:
    """Text that shows what it is: no NUL, no control, direction or invisible characters."""
    attributes = list(candidate.twin.subject)
    if not attributes:
        yield "is empty"
    if len(candidate.twin.subject.rfc4514_string()) > LONGEST_NAME:
        yield f"has more than {LONGEST_NAME} characters"
    for attribute in attributes:
        text = attribute.value
        if not isinstance(text, str) or not text or not is_plain_text(text):
            yield "has an empty or invisible character in it"
        elif len(text) > LONGEST_ATTRIBUTE:
            yield f"has a part of more than {LONGEST_ATTRIBUTE} characters"


def alternative_names(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.2.1.6: those of the profile, not critical, each well formed and said once."""
    extension, wanted = candidate.extension(x509.SubjectAlternativeName), candidate.profile.names
    if extension is None:
        if wanted is not Names.NONE:
            yield "must be present"
        return
    names = list(extension.value)
    if wanted is Names.NONE:
        yield f"must not be present in profile {candidate.profile.name}"
    if extension.critical:
        yield "must not be critical"
    if wanted is Names.EMAIL and not any(isinstance(name, x509.RFC822Name) for name in names):
        yield "must have an e-mail address"
    if not names or len(set(names)) != len(names):
        yield "are none, or one is there twice"
    for name in names:
        yield from _name_faults(name, candidate.profile)


def name_constraints(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 4.2.1.10: a CA's alone, critical, and of kinds of name that verifiers know."""
    extension = candidate.extension(x509.NameConstraints)
    if extension is None:
        return
    if not candidate.profile.is_ca or not extension.critical:
        yield "must be critical, and are for CAs alone"
    yield from constraints.faults(extension.value)


def names_within_constraints(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 6.1.4 (g): what a CA above may not name, no verifier would take."""
    extension = candidate.extension(x509.SubjectAlternativeName)
    names = list(extension.value) if extension else []
    for authority in (candidate.issuer, *candidate.above):
        bound = _extension(authority, x509.NameConstraints) if authority else None
        if bound:
            subject = candidate.twin.subject
            yield from constraints.beyond(bound.value, subject=subject, names=names)


def ocsp_no_check(candidate: Candidate) -> Iterator[str]:
    """RFC 6960, 4.2.2.2.1: an OCSP responder's alone, and not critical."""
    extension = candidate.extension(x509.OCSPNoCheck)
    if (extension is not None) != candidate.profile.is_for_responders:
        yield "must be in the certificate of an OCSP responder, and there alone"
    if extension and extension.critical:
        yield "must not be critical"


def revocation_pointers(candidate: Candidate) -> Iterator[str]:
    """Without them nobody outside could learn of a revocation. Plain http: RFC 5280, 8."""
    if candidate.issuer is None:
        return
    urls, points = list(_urls(candidate)), candidate.extension(x509.CRLDistributionPoints)
    if candidate.profile.is_for_responders:
        if points or len(urls) != 1:
            yield "an OCSP responder names the certificate of its CA, and nothing else"
    elif len(urls) != 3 or not points:
        yield "one CRL, one OCSP responder and one CA certificate must be named"
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not is_plain_text(url):
            yield f"{url!r} is not an http:// address"


def unknown_extensions(candidate: Candidate) -> Iterator[str]:
    for extension in candidate.twin.extensions:
        if extension.oid not in KNOWN_EXTENSIONS:
            yield f"{extension.oid.dotted_string} is in no profile"


def pkilint(candidate: Candidate) -> Iterator[str]:
    """Errors that pkilint finds; its own code names each."""
    yield from compliance.certificate_findings(candidate.twin.public_bytes(Encoding.DER))


RULES: tuple[Rule, ...] = (
    serial_number,
    validity,
    validity_within_issuer,
    issuer_name,
    basic_constraints,
    path_length,
    key_usage,
    extended_key_usage,
    key_identifiers,
    public_key,
    key_is_not_the_issuers,
    subject,
    alternative_names,
    name_constraints,
    names_within_constraints,
    ocsp_no_check,
    revocation_pointers,
    unknown_extensions,
    pkilint,
)


# --- Parts ----------------------------------------------------------------------------------


@cache
def _throw_away(algorithm: str) -> SigningKey:
    """One per kind and process (an RSA key takes a second to make); it never signs anything else."""
    return algorithms.generate(algorithm)


def _extension(
    certificate: x509.Certificate, kind: type[x509.ExtensionType]
) -> x509.Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _name_faults(name: x509.GeneralName, profile: Profile) -> Iterator[str]:
    if isinstance(name, x509.DNSName):
        if not profile.is_for_servers:
            yield f"{name.value} is a host name, and this is no server"
        if len(name.value) > 253 or not all(map(LABEL.match, name.value.split("."))):
            yield f"{name.value!r} is not a host name"
    elif isinstance(name, x509.IPAddress):
        if not isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            yield "a network is not an address"
    elif isinstance(name, x509.RFC822Name):
        if not MAILBOX.match(name.value):
            yield f"{name.value!r} is not an e-mail address"
    elif not isinstance(name, x509.DirectoryName):
        yield f"{type(name).__name__} is in no profile"


def _urls(candidate: Candidate) -> Iterator[str]:
    points = candidate.extension(x509.CRLDistributionPoints)
    access = candidate.extension(x509.AuthorityInformationAccess)
    for point in points.value if points else []:
        yield from (name.value for name in point.full_name or [])
    for description in access.value if access else []:
        yield description.access_location.value
