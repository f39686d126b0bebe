"""Every rule refuses something, and by its own name. The good candidate differs in nothing else."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from pki import lint, profiles, tbs
from pki.errors import LintError
from pki.lint import Candidate, sign_twin
from tests import certs

AT = dt.datetime.now(dt.UTC).replace(microsecond=0)
ROOT = certs.make_ca("Root")
ISSUER = tbs.Issuer(
    ROOT.certificate, "http://x.example/a.crl", "http://x.example/o/", "http://x.example/a.cer"
)
KEY = certs.make_key().public_key()
REMOVED = object()


def _name(text: str, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME) -> x509.NameAttribute:
    return x509.NameAttribute(oid, text, _validate=False)


def _candidate(
    *,
    profile: profiles.Profile = profiles.PERSON,
    issuer: tbs.Issuer | None = ISSUER,
    extensions: dict[type, Any] | None = None,
    **fields: Any,
) -> Candidate:
    """A sound candidate, but for the given fields and extensions (REMOVED, a value, or a value
    with its criticality)."""
    further_up = fields.pop("above", ())
    names = () if profile.is_ca else (x509.RFC822Name("alice@example.org"),)
    request = tbs.Request(
        subject=fields.pop("subject", x509.Name([_name("alice")])),
        public_key=fields.pop("public_key", KEY),
        names=fields.pop("names", names),
        serial=tbs.new_serial(),
        at=AT,
    )
    start, end = tbs.validity(profile=profile, request=request, issuer=issuer)
    above = issuer.certificate.subject if issuer else request.subject
    builder = x509.CertificateBuilder(
        issuer_name=fields.pop("issuer_name", above),
        subject_name=request.subject,
        public_key=request.public_key,
        serial_number=fields.pop("serial", request.serial),
        not_valid_before=fields.pop("start", start),
        not_valid_after=fields.pop("end", end),
    )
    assert not fields
    changed = dict(extensions or {})
    for value, is_critical in tbs.extensions(profile=profile, request=request, issuer=issuer):
        change = changed.pop(type(value), (value, is_critical))
        if change is REMOVED:
            continue
        if not isinstance(change, tuple):
            change = (change, is_critical)
        builder = builder.add_extension(change[0], critical=change[1])
    for value, is_critical in changed.values():
        builder = builder.add_extension(value, critical=is_critical)
    twin = sign_twin(builder, algorithm="p256")
    return Candidate(twin, profile, issuer.certificate if issuer else None, AT, further_up)


def _findings(candidate: Candidate, rule: str) -> list[str]:
    return list(getattr(lint, rule)(candidate))


def _usage(**usages: bool) -> x509.KeyUsage:
    return tbs.key_usage(frozenset(name for name, wanted in usages.items() if wanted))


DIRECTORY = x509.DirectoryName(x509.Name([_name("alice")]))
MAIL = x509.RFC822Name("alice@example.org")
POINT = x509.DistributionPoint(
    [x509.UniformResourceIdentifier("https://x.example/a.crl")], None, None, None
)
OCSP_ALONE = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://x.example/o")
        )
    ]
)
HTTP_POINT = x509.DistributionPoint(
    [x509.UniformResourceIdentifier("http://x.example/a.crl")], None, None, None
)
NO_CHECK = x509.OCSPNoCheck()
ONLY_ORG = x509.NameConstraints([x509.RFC822Name("example.org")], None)
RESPONDER: dict[str, Any] = {
    "profile": profiles.OCSP,
    "subject": x509.Name([_name("Issuing OCSP")]),
    "names": (),
}


def _bound(constraints: x509.NameConstraints) -> tbs.Issuer:
    """A CA above that is bound to some names."""
    above = certs.make_ca("Bound")
    builder = x509.CertificateBuilder(
        issuer_name=above.certificate.subject,
        subject_name=above.certificate.subject,
        public_key=above.key.public_key(),
        serial_number=above.certificate.serial_number,
        not_valid_before=above.certificate.not_valid_before_utc,
        not_valid_after=above.certificate.not_valid_after_utc,
    ).add_extension(constraints, critical=True)
    for extension in above.certificate.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return replace(ISSUER, certificate=builder.sign(above.key, SHA256()))


OTHER_ID = x509.SubjectKeyIdentifier(b"x" * 20)
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("person", {}),
    ("person without e-mail", {"names": (x509.DirectoryName(x509.Name([_name("alice")])),)}),
    (
        "server",
        {
            "profile": profiles.SERVER,
            "subject": x509.Name([_name("localhost")]),
            "names": (
                x509.DNSName("localhost"),
                x509.DNSName("chat.example.org"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                x509.IPAddress(ipaddress.ip_address("::1")),
            ),
        },
    ),
    ("root", {"profile": profiles.ROOT, "issuer": None, "subject": x509.Name([_name("Root 2")])}),
    ("intermediate", {"profile": profiles.INTERMEDIATE, "subject": x509.Name([_name("Issuing")])}),
    ("responder", RESPONDER),
    ("mail", {"profile": profiles.MAIL}),
    ("code", {"profile": profiles.CODE}),
    (
        "bound intermediate",
        {
            "profile": profiles.INTERMEDIATE,
            "subject": x509.Name([_name("Issuing")]),
            "extensions": {x509.NameConstraints: (ONLY_ORG, True)},
        },
    ),
    ("within the constraints", {"issuer": _bound(ONLY_ORG)}),
    ("umlauts", {"subject": x509.Name([_name("Jürgen 李")])}),
]


@pytest.mark.parametrize("change", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_lint_good(change: dict[str, Any]) -> None:
    lint.lint(_candidate(**change))


BAD: list[tuple[str, str, dict[str, Any]]] = [
    ("serial_number", "short", {"serial": 12345}),
    ("validity", "too long", {"end": AT + dt.timedelta(days=366)}),
    ("validity", "backdated", {"start": AT - dt.timedelta(hours=2)}),
    ("validity", "over", {"end": AT - dt.timedelta(minutes=1)}),
    (
        "validity_within_issuer",
        "beyond the CA",
        {"end": ROOT.certificate.not_valid_after_utc + dt.timedelta(seconds=1)},
    ),
    (
        "validity_within_issuer",
        "before the CA",
        {"start": ROOT.certificate.not_valid_before_utc - dt.timedelta(seconds=1)},
    ),
    ("issuer_name", "other", {"issuer_name": x509.Name([_name("Other")])}),
    ("issuer_name", "same as subject", {"subject": ROOT.certificate.subject}),
    (
        "basic_constraints",
        "a leaf as CA",
        {"extensions": {x509.BasicConstraints: x509.BasicConstraints(True, 0)}},
    ),
    ("basic_constraints", "missing", {"extensions": {x509.BasicConstraints: REMOVED}}),
    (
        "basic_constraints",
        "not critical",
        {"extensions": {x509.BasicConstraints: (x509.BasicConstraints(False, None), False)}},
    ),
    (
        "path_length",
        "as long as above",
        {"profile": replace(profiles.INTERMEDIATE, path_length=1), "names": ()},
    ),
    ("key_usage", "missing", {"extensions": {x509.KeyUsage: REMOVED}}),
    (
        "key_usage",
        "not critical",
        {"extensions": {x509.KeyUsage: (_usage(digital_signature=True), False)}},
    ),
    (
        "key_usage",
        "signs certificates",
        {"extensions": {x509.KeyUsage: _usage(digital_signature=True, key_cert_sign=True)}},
    ),
    ("extended_key_usage", "missing", {"extensions": {x509.ExtendedKeyUsage: REMOVED}}),
    (
        "extended_key_usage",
        "for servers",
        {
            "extensions": {
                x509.ExtendedKeyUsage: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            }
        },
    ),
    (
        "extended_key_usage",
        "any",
        {
            "extensions": {
                x509.ExtendedKeyUsage: x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
                )
            }
        },
    ),
    (
        "extended_key_usage",
        "critical",
        {
            "extensions": {
                x509.ExtendedKeyUsage: (
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
                    True,
                )
            }
        },
    ),
    ("key_identifiers", "no subject's", {"extensions": {x509.SubjectKeyIdentifier: REMOVED}}),
    ("key_identifiers", "no authority's", {"extensions": {x509.AuthorityKeyIdentifier: REMOVED}}),
    ("key_identifiers", "another subject's", {"extensions": {x509.SubjectKeyIdentifier: OTHER_ID}}),
    (
        "key_identifiers",
        "another authority's",
        {
            "extensions": {
                x509.AuthorityKeyIdentifier: (
                    x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(OTHER_ID)
                )
            }
        },
    ),
    ("public_key", "short", {"public_key": rsa.generate_private_key(65537, 1024).public_key()}),
    ("public_key", "curve", {"public_key": ec.generate_private_key(ec.SECP521R1()).public_key()}),
    ("key_is_not_the_issuers", "same", {"public_key": ROOT.key.public_key()}),
    ("subject", "empty", {"subject": x509.Name([])}),
    ("subject", "NUL", {"subject": x509.Name([_name("alice\0.mallory")])}),
    ("subject", "line break", {"subject": x509.Name([_name("alice\nadmin")])}),
    ("subject", "right to left", {"subject": x509.Name([_name("alice\u202enimda")])}),
    ("subject", "zero width", {"subject": x509.Name([_name("al\u200bice")])}),
    ("subject", "space around", {"subject": x509.Name([_name("alice ")])}),
    ("subject", "too long", {"subject": x509.Name([_name("a" * 65)])}),
    (
        "subject",
        "too long together",
        {"subject": x509.Name([_name(c * 60, NameOID.ORGANIZATIONAL_UNIT_NAME) for c in "abcde"])},
    ),
    ("alternative_names", "missing", {"names": ()}),
    ("alternative_names", "twice", {"names": (MAIL, MAIL)}),
    ("alternative_names", "host of a person", {"names": (x509.DNSName("chat.example.org"),)}),
    ("alternative_names", "URI", {"names": (x509.UniformResourceIdentifier("urn:x"),)}),
    ("alternative_names", "no mailbox", {"names": (x509.RFC822Name("alice"),)}),
    ("alternative_names", "mailbox with NUL", {"names": (x509.RFC822Name("alice\0@x.org"),)}),
    (
        "alternative_names",
        "critical",
        {"extensions": {x509.SubjectAlternativeName: (x509.SubjectAlternativeName([MAIL]), True)}},
    ),
    (
        "alternative_names",
        "wild card",
        {"profile": profiles.SERVER, "names": (x509.DNSName("*.example.org"),)},
    ),
    (
        "alternative_names",
        "capital",
        {"profile": profiles.SERVER, "names": (x509.DNSName("Chat.example"),)},
    ),
    (
        "alternative_names",
        "network",
        {
            "profile": profiles.SERVER,
            "names": (x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),),
        },
    ),
    ("alternative_names", "of a CA", {"profile": profiles.INTERMEDIATE, "names": (DIRECTORY,)}),
    ("alternative_names", "no e-mail", {"profile": profiles.MAIL, "names": (DIRECTORY,)}),
    ("name_constraints", "of a person", {"extensions": {x509.NameConstraints: (ONLY_ORG, True)}}),
    (
        "name_constraints",
        "not critical",
        {
            "profile": profiles.INTERMEDIATE,
            "extensions": {x509.NameConstraints: (ONLY_ORG, False)},
        },
    ),
    (
        "name_constraints",
        "URI",
        {
            "profile": profiles.INTERMEDIATE,
            "extensions": {
                x509.NameConstraints: (
                    x509.NameConstraints([x509.UniformResourceIdentifier("x.example")], None),
                    True,
                )
            },
        },
    ),
    (
        "names_within_constraints",
        "by the issuer",
        {"issuer": _bound(ONLY_ORG), "names": (x509.RFC822Name("alice@elsewhere.example"),)},
    ),
    (
        "names_within_constraints",
        "by a CA further up",
        {"above": (_bound(ONLY_ORG).certificate,), "names": (x509.RFC822Name("a@else.example"),)},
    ),
    ("ocsp_no_check", "of a person", {"extensions": {x509.OCSPNoCheck: (NO_CHECK, False)}}),
    ("ocsp_no_check", "missing", {**RESPONDER, "extensions": {x509.OCSPNoCheck: REMOVED}}),
    (
        "ocsp_no_check",
        "critical",
        {**RESPONDER, "extensions": {x509.OCSPNoCheck: (NO_CHECK, True)}},
    ),
    (
        "revocation_pointers",
        "of a responder",
        {
            **RESPONDER,
            "extensions": {
                x509.CRLDistributionPoints: (x509.CRLDistributionPoints([HTTP_POINT]), False)
            },
        },
    ),
    ("revocation_pointers", "no CRL", {"extensions": {x509.CRLDistributionPoints: REMOVED}}),
    (
        "revocation_pointers",
        "https",
        {"extensions": {x509.CRLDistributionPoints: x509.CRLDistributionPoints([POINT])}},
    ),
    (
        "revocation_pointers",
        "OCSP alone",
        {"extensions": {x509.AuthorityInformationAccess: OCSP_ALONE}},
    ),
    (
        "unknown_extensions",
        "private",
        {
            "extensions": {
                x509.UnrecognizedExtension: (
                    x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"),
                    False,
                )
            }
        },
    ),
    ("pkilint", "no authority's id", {"extensions": {x509.AuthorityKeyIdentifier: REMOVED}}),
    ("pkilint", "KU not critical", {"extensions": {x509.KeyUsage: (_usage(), False)}}),
]


@pytest.mark.parametrize(
    ("rule", "change"),
    [(row[0], row[2]) for row in BAD],
    ids=[f"{row[0]}-{row[1]}" for row in BAD],
)
def test_lint_bad(rule: str, change: dict[str, Any]) -> None:
    candidate = _candidate(**change)
    assert _findings(candidate, rule)
    with pytest.raises(LintError, match=f"{rule}: "):
        lint.lint(candidate)


def test_every_rule_has_a_bad_case() -> None:
    assert {rule.__name__ for rule in lint.RULES} == {row[0] for row in BAD}


def test_twin_is_signed_by_nobody() -> None:
    """Whoever steals a twin has nothing: its signature is not the CA's."""
    twin = _candidate().twin
    with pytest.raises(Exception):  # noqa: B017, PT011 (InvalidSignature has no message)
        twin.verify_directly_issued_by(ROOT.certificate)


@pytest.mark.parametrize("algorithm", ["p256", "p384", "ed25519", "rsa3072"])
def test_twin_is_of_the_same_kind(algorithm: str) -> None:
    request = tbs.Request(x509.Name([_name("a")]), KEY, (MAIL,), tbs.new_serial(), AT)
    builder = tbs.build(profile=profiles.PERSON, request=request, issuer=ISSUER)
    name = sign_twin(builder, algorithm=algorithm).signature_algorithm_oid._name.lower()
    assert {"p256": "ecdsa-with-sha256", "p384": "ecdsa-with-sha384", "ed25519": "ed25519"}.get(
        algorithm, "sha256withrsaencryption"
    ) == name


@pytest.mark.parametrize("text", ["laptop", "Jürgens Gerät", "李's phone", "", "a\u0301"])
def test_is_plain_text(text: str) -> None:
    assert lint.is_plain_text(text)


@pytest.mark.parametrize(
    "text", ["\0", "a\tb", "\u202e", "\u2066", "\u200b", "\ufeff", " a", "\ue000"]
)
def test_is_not_plain_text(text: str) -> None:
    assert not lint.is_plain_text(text)
