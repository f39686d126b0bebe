"""What a request (PKCS #10) asks for: what no request may, and what goes beyond its profile.

Nothing of a request but its key gets into a certificate. What it asks for besides is compared with
what it will get, so that the requester is told, or refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtensionOID

from pki.errors import BadFileError, ProfileError
from pki.lint import HIDDEN, usages_in
from pki.profiles import EXTENDED_KEY_USAGES, Profile

LARGEST = 64 * 1024
MOST_NAMES = 100
MOST_PARTS = 32
LONGEST_SHOWN = 64
MOST_SHOWN = 5
# What nobody misses: how extensions travel (RFC 2985, 5.4.2, and Microsoft's own), and what the CA
# says itself.
CARRIERS = {AttributeOID.UNSTRUCTURED_NAME, x509.ObjectIdentifier("1.2.840.113549.1.9.14")} | {
    x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
}
COMPARED = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
}
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.UnsupportedGeneralNameType,
    x509.DuplicateExtension,
    x509.InvalidVersion,
)
Kind = TypeVar("Kind", bound=x509.ExtensionType)
PURPOSE_NAMES = {oid: name for name, oid in EXTENDED_KEY_USAGES.items()}


def certified_key(csr: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    """The key that a request is for.

    Refuses what is too large (ProfileError) or cannot be read (BadFileError), names with invisible
    characters, a signature of another key and a request to be a CA (ProfileError).
    """
    try:
        if len(csr.public_bytes(Encoding.DER)) > LARGEST:
            raise ProfileError(f"This request is too large: more than {LARGEST // 1024} KiB.")
        key = csr.public_key()
        _refuse(csr)
    except UNREADABLE as error:
        raise BadFileError(f"This certificate request cannot be read: {error}.") from None
    return key


def differences(
    csr: x509.CertificateSigningRequest,
    *,
    profile: Profile,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
) -> list[str]:
    """What the request asks beyond what it will get, a sentence each; at most a few of a kind."""
    found = [
        *_few("the subject", _subject_parts(csr, subject)),
        *_few("the name", _alternative_names(csr, names)),
        *_few("the purpose", _purposes(csr, profile)),
        *_few("the key usage", _usages(csr, profile)),
        *_few("the extension", _extensions(csr)),
    ]
    asked = [
        f"The request asks for {thing}, which the certificate will not have." for thing in found
    ]
    return asked + list(_attributes(csr))


# --- What no request may --------------------------------------------------------------------


def _refuse(csr: x509.CertificateSigningRequest) -> None:
    names = list(_names_in(csr))
    if len(names) > MOST_NAMES:
        raise ProfileError(
            f"This request asks for {len(names)} alternative names; {MOST_NAMES} are the most."
        )
    if len(list(csr.subject)) > MOST_PARTS:
        raise ProfileError(f"The subject of this request has more than {MOST_PARTS} parts.")
    for text in [*(str(part.value) for part in csr.subject), *map(_words, names)]:
        if _has_hidden(text):
            raise ProfileError(
                f"This request has control or invisible characters in a name: {_shown(text)}."
            )
    if _asks_to_be_ca(csr):
        raise ProfileError("This request asks to be a CA. Requests are for people and servers.")
    if not csr.is_signature_valid:
        raise ProfileError("The signature of this request does not match its key.")


def _asks_to_be_ca(csr: x509.CertificateSigningRequest) -> bool:
    for extension in csr.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return True
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
            return True
    return False


def _has_hidden(text: str) -> bool:
    return any(unicodedata.category(character) in HIDDEN for character in text)


# --- What goes beyond the profile -----------------------------------------------------------


def _subject_parts(csr: x509.CertificateSigningRequest, subject: x509.Name) -> Iterator[str]:
    given = {(part.oid, part.value) for part in subject}
    for part in csr.subject:
        if (part.oid, part.value) not in given:
            yield _shown(f"{part.rfc4514_attribute_name}={part.value!s}")


def _alternative_names(
    csr: x509.CertificateSigningRequest, given: Sequence[x509.GeneralName]
) -> Iterator[str]:
    have = set(given)
    yield from (_shown(_words(name)) for name in _names_in(csr) if name not in have)


def _purposes(csr: x509.CertificateSigningRequest, profile: Profile) -> Iterator[str]:
    for oid in _extension(csr, x509.ExtendedKeyUsage) or ():
        if oid not in profile.purposes:
            yield PURPOSE_NAMES.get(oid, oid.dotted_string)


def _usages(csr: x509.CertificateSigningRequest, profile: Profile) -> Iterator[str]:
    asked = _extension(csr, x509.KeyUsage)
    if asked is not None:
        for usage in sorted(usages_in(asked) - profile.usages_of(csr.public_key())):
            yield usage.replace("_", " ")


def _extensions(csr: x509.CertificateSigningRequest) -> Iterator[str]:
    for extension in csr.extensions:
        if extension.oid not in COMPARED:
            yield extension.oid.dotted_string


def _attributes(csr: x509.CertificateSigningRequest) -> Iterator[str]:
    for attribute in list(csr.attributes)[:MOST_SHOWN]:
        if attribute.oid == AttributeOID.CHALLENGE_PASSWORD:
            yield "The request carries a challenge password, which nobody looks at here."
        elif attribute.oid not in CARRIERS:
            yield f"The request carries the attribute {attribute.oid.dotted_string}, which is not used."


# --- Parts ----------------------------------------------------------------------------------


def _few(what: str, things: Iterable[str]) -> list[str]:
    found = list(things)
    more = len(found) - MOST_SHOWN
    rest = [f"{more} more like {what} {found[0]}"] if more > 0 else []
    return [f"{what} {thing}" for thing in found[:MOST_SHOWN]] + rest


def _extension(csr: x509.CertificateSigningRequest, kind: type[Kind]) -> Kind | None:
    try:
        return csr.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _names_in(csr: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    return list(_extension(csr, x509.SubjectAlternativeName) or ())


def _words(name: x509.GeneralName) -> str:
    value = name.value
    if isinstance(value, x509.Name):
        return value.rfc4514_string()
    if isinstance(value, x509.ObjectIdentifier):
        return value.dotted_string
    return str(value)


def _shown(text: str) -> str:
    """Foreign text for a page or a log: short, and with nothing invisible in it."""
    plain = "".join(c if unicodedata.category(c) not in HIDDEN else f"<{ord(c):04X}>" for c in text)
    return plain if len(plain) <= LONGEST_SHOWN else plain[: LONGEST_SHOWN - 1] + "…"
