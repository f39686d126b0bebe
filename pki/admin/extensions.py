"""What stands in a certificate, line by line, for people who want to see all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509

from pki import algorithms
from pki.admin.columns import minute
from pki.description import colons

KEY_USAGES = {
    "digital_signature": "digital signature",
    "content_commitment": "content commitment",
    "key_encipherment": "key encipherment",
    "data_encipherment": "data encipherment",
    "key_agreement": "key agreement",
    "key_cert_sign": "certificate signing",
    "crl_sign": "CRL signing",
}


def lines(der: bytes) -> list[tuple[str, str]]:
    """Name and value of everything in a certificate but its times, names and numbers."""
    certificate = x509.load_der_x509_certificate(der)
    facts = [
        ("Version", certificate.version.name),
        ("Issuer", certificate.issuer.rfc4514_string()),
        ("Public key", algorithms.describe(certificate.public_key())),
        ("Signature", certificate.signature_algorithm_oid._name),
    ]
    for extension in certificate.extensions:
        mark = " (critical)" if extension.critical else ""
        facts.append((_title(extension.oid) + mark, _value(extension.value)))
    return facts


def to_be_signed(certificate: x509.Certificate) -> list[tuple[str, str]]:
    """Name and value of what somebody who approves a certificate should look at."""
    kinds = (x509.SubjectAlternativeName, x509.KeyUsage, x509.ExtendedKeyUsage)
    found = {type(extension.value): extension.value for extension in certificate.extensions}
    return [
        ("Subject", certificate.subject.rfc4514_string()),
        *((_title(kind.oid), _value(found[kind]) if kind in found else "none") for kind in kinds),
        ("Valid from", minute(certificate.not_valid_before_utc)),
        ("Valid until", minute(certificate.not_valid_after_utc)),
        ("Signed by", certificate.issuer.rfc4514_string()),
    ]


def subject_names(der: bytes) -> list[str]:
    """The alternative names of a certificate: hosts, addresses, e-mail."""
    extensions = x509.load_der_x509_certificate(der).extensions
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [_name(name) for name in found.value]


def authority_limits(der: bytes) -> str:
    """How deep a CA may go, and for which names: its basic and its name constraints."""
    kinds = (x509.BasicConstraints, x509.NameConstraints)
    extensions = x509.load_der_x509_certificate(der).extensions
    return "\n".join(_value(one.value) for one in extensions if isinstance(one.value, kinds))


TITLES = {
    "basicConstraints": "Basic constraints",
    "keyUsage": "Key usage",
    "extendedKeyUsage": "Extended key usage",
    "subjectAltName": "Alternative names",
    "nameConstraints": "Name constraints",
    "subjectKeyIdentifier": "Subject key identifier",
    "authorityKeyIdentifier": "Authority key identifier",
    "cRLDistributionPoints": "CRL",
    "authorityInfoAccess": "Authority information",
}


def _title(oid: x509.ObjectIdentifier) -> str:
    return TITLES.get(oid._name, oid._name if oid._name != "Unknown OID" else oid.dotted_string)


def _value(value: x509.ExtensionType) -> str:
    for kind, show in SHOWN.items():
        if isinstance(value, kind):
            return show(value)
    return colons(value.public_bytes().hex())


def _basic_constraints(value: x509.BasicConstraints) -> str:
    if not value.ca:
        return "not a CA"
    if value.path_length is None:
        return "CA"
    levels = "level" if value.path_length == 1 else "levels"
    return f"CA, with up to {value.path_length} {levels} of CAs below it"


def _key_usage(value: x509.KeyUsage) -> str:
    return ", ".join(text for name, text in KEY_USAGES.items() if getattr(value, name))


def _name_constraints(value: x509.NameConstraints) -> str:
    permitted = [f"only {_name(name)}" for name in value.permitted_subtrees or ()]
    return "\n".join(permitted + [f"not {_name(name)}" for name in value.excluded_subtrees or ()])


def _distribution_points(value: x509.CRLDistributionPoints) -> str:
    return "\n".join(_name(name) for point in value for name in point.full_name or ())


def _access(value: x509.AuthorityInformationAccess) -> str:
    return "\n".join(f"{d.access_method._name}: {_name(d.access_location)}" for d in value)


def _identifier(digest: bytes | None) -> str:
    return colons((digest or b"").hex())


def _name(name: x509.GeneralName) -> str:
    value = name.value
    return value.rfc4514_string() if isinstance(value, x509.Name) else str(value)


SHOWN: dict[type[x509.ExtensionType], Callable[[Any], str]] = {
    x509.BasicConstraints: _basic_constraints,
    x509.NameConstraints: _name_constraints,
    x509.KeyUsage: _key_usage,
    x509.ExtendedKeyUsage: lambda v: ", ".join(oid._name for oid in v),
    x509.SubjectAlternativeName: lambda v: "\n".join(_name(name) for name in v),
    x509.SubjectKeyIdentifier: lambda v: _identifier(v.digest),
    x509.AuthorityKeyIdentifier: lambda v: _identifier(v.key_identifier),
    x509.CRLDistributionPoints: _distribution_points,
    x509.AuthorityInformationAccess: _access,
}
