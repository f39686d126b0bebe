"""What a request asks for beyond its key: told, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from pki import excess, profiles
from pki.errors import BadFileError, ProfileError
from tests import certs

SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
MAIL = x509.RFC822Name("alice@example.org")
QUICK = 1  # seconds of work


def _csr(
    *parts: tuple[x509.ObjectIdentifier, str],
    names: list[x509.GeneralName] | None = None,
    extensions: list[x509.ExtensionType] | None = None,
    attributes: list[tuple[x509.ObjectIdentifier, bytes]] | None = None,
) -> x509.CertificateSigningRequest:
    subject = [x509.NameAttribute(oid, text, _validate=False) for oid, text in parts]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    asked = list(extensions or [])
    if names:
        asked.append(x509.SubjectAlternativeName(names))
    for extension in asked:
        builder = builder.add_extension(extension, critical=False)
    for oid, value in attributes or []:
        builder = builder.add_attribute(oid, value)
    return builder.sign(certs.make_key(), SHA256())


def _differences(csr: x509.CertificateSigningRequest) -> list[str]:
    return excess.differences(csr, profile=profiles.PERSON, subject=SUBJECT, names=[MAIL])


CN, O = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME  # noqa: E741 (as in X.500)


def test_request_for_what_it_gets() -> None:
    csr = _csr(
        (CN, "alice"),
        names=[MAIL],
        extensions=[
            x509.BasicConstraints(ca=False, path_length=None),
            certs._usage(digital_signature=True),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        ],
    )
    assert excess.certified_key(csr) == csr.public_key()
    assert _differences(csr) == []


def test_empty_request() -> None:
    assert _differences(_csr()) == []


@pytest.mark.parametrize(
    ("csr", "words"),
    [
        (_csr((CN, "admin")), "the subject CN=admin"),
        (_csr((CN, "alice"), (O, "Evil")), "the subject O=Evil"),
        (_csr(names=[x509.RFC822Name("admin@example.org")]), "the name admin@example.org"),
        (_csr(names=[x509.DNSName("chat.example.org")]), "the name chat.example.org"),
        (
            _csr(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]),
            "the purpose serverAuth",
        ),
        (
            _csr(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])]),
            "the purpose 1.3.6.1.5.5.7.3.8",
        ),
        (
            _csr(extensions=[x509.TLSFeature([x509.TLSFeatureType.status_request])]),
            "the extension 1.3.6.1.5.5.7.1.24",
        ),
        (
            _csr(attributes=[(AttributeOID.CHALLENGE_PASSWORD, b"secret")]),
            "a challenge password",
        ),
        (
            _csr(attributes=[(x509.ObjectIdentifier("1.2.3.4"), b"x")]),
            "the attribute 1.2.3.4",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_difference(csr: x509.CertificateSigningRequest, words: str) -> None:
    excess.certified_key(csr)
    [sentence] = _differences(csr)
    assert words in sentence
    assert sentence.startswith("The request ")
    assert sentence.endswith(".")


def test_key_usage_that_the_profile_does_not_give() -> None:
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    [sentence] = _differences(_csr(extensions=[usage]))
    assert "the key usage key encipherment" in sentence


def test_challenge_password_is_not_repeated() -> None:
    csr = _csr(attributes=[(AttributeOID.CHALLENGE_PASSWORD, b"secret")])
    assert "secret" not in " ".join(_differences(csr))


def test_many_differences_are_told_in_a_few_sentences() -> None:
    csr = _csr(names=[x509.DNSName(f"{number}.example.org") for number in range(90)])
    told = _differences(csr)
    assert len(told) == excess.MOST_SHOWN + 1
    assert "85 more" in told[-1]


# --- What no request may --------------------------------------------------------------------


def _many_names(count: int) -> x509.CertificateSigningRequest:
    return _csr(names=[x509.DNSName(f"h{number}.example") for number in range(count)])


REFUSED: list[tuple[str, Callable[[], x509.CertificateSigningRequest], str]] = [
    ("10,000 names", lambda: _many_names(10_000), "too large: more than 64 KiB"),
    ("101 names", lambda: _many_names(101), "101 alternative names; 100 are the most"),
    ("a subject of a megabyte", lambda: _csr((CN, "a" * 2**20)), "too large"),
    ("many parts", lambda: _csr(*[(O, f"o{n}") for n in range(40)]), "more than 32 parts"),
    ("NUL in the subject", lambda: _csr((CN, "alice\0.evil")), "alice<0000>.evil"),
    ("right to left", lambda: _csr((CN, "alice\u202eevil")), "alice<202E>evil"),
    ("NUL in a name", lambda: _csr(names=[x509.DNSName("a\0b.example")]), "a<0000>b.example"),
    (
        "CA flag",
        lambda: _csr(extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
        "asks to be a CA",
    ),
    ("keyCertSign", lambda: _csr(extensions=[certs._usage(key_cert_sign=True)]), "to be a CA"),
    ("cRLSign", lambda: _csr(extensions=[certs._usage(crl_sign=True)]), "to be a CA"),
]


@pytest.mark.parametrize(
    ("make", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused_quickly_and_clearly(
    make: Callable[[], x509.CertificateSigningRequest], sentence: str
) -> None:
    csr = make()
    began = time.thread_time()
    with pytest.raises(ProfileError, match=sentence) as caught:
        excess.certified_key(csr)
    assert time.thread_time() - began < QUICK
    assert len(str(caught.value)) < 200


def test_hundred_names_are_read() -> None:
    assert excess.certified_key(_many_names(100))


def test_signature_of_another_key() -> None:
    der = bytearray(_csr((CN, "alice")).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(ProfileError, match="signature of this request does not match"):
        excess.certified_key(x509.load_der_x509_csr(bytes(der)))


@pytest.mark.parametrize(
    "extension",
    [
        x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"\x30\x03\x01"),
        x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\xa3\x01\x00"),
        x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\xff"),
    ],
    ids=["basicConstraints", "x400Address", "no DER"],
)
def test_unreadable_extension(extension: x509.ExtensionType) -> None:
    with pytest.raises(BadFileError, match="cannot be read"):
        excess.certified_key(_csr(extensions=[extension]))
