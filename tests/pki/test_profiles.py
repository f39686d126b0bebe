"""Profiles refuse themselves."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pki import algorithms, profiles
from pki.errors import ProfileError
from pki.models import CertificateProfile
from pki.profiles import CA_USAGES, Excess, Names, Profile, Purpose

DAY = dt.timedelta(days=1)
SIGNS = frozenset({"digital_signature"})
PERSON: dict[str, Any] = {
    "name": "p",
    "purpose": Purpose.PERSON,
    "validity": 90 * DAY,
    "key_usage": SIGNS,
    "extended_key_usage": ("clientAuth",),
    "names": Names.PERSON,
}
MAIL = PERSON | {
    "name": "m",
    "purpose": Purpose.MAIL,
    "extended_key_usage": ("emailProtection",),
    "names": Names.EMAIL,
}
CODE = PERSON | {"name": "c", "purpose": Purpose.CODE, "extended_key_usage": ("codeSigning",)}
SERVER = PERSON | {
    "name": "s",
    "purpose": Purpose.SERVER,
    "extended_key_usage": ("serverAuth",),
    "names": Names.HOSTS,
}
OCSP = PERSON | {
    "name": "o",
    "purpose": Purpose.OCSP,
    "extended_key_usage": ("OCSPSigning",),
    "names": Names.NONE,
}
CA: dict[str, Any] = {
    "name": "ca",
    "purpose": Purpose.INTERMEDIATE,
    "validity": 3650 * DAY,
    "key_usage": CA_USAGES,
    "path_length": 0,
}
ROOT = CA | {"name": "r", "purpose": Purpose.ROOT}
GOOD = [PERSON, MAIL, CODE, SERVER, OCSP, CA, ROOT]


@pytest.mark.parametrize("good", GOOD, ids=[row["purpose"].value for row in GOOD])
def test_profile(good: dict[str, Any]) -> None:
    assert Profile(**good)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (PERSON, {"name": ""}, "name is not a short word"),
    (PERSON, {"name": "Leaf!"}, "name is not a short word"),
    (PERSON, {"validity": dt.timedelta(0)}, "at least a minute"),
    (PERSON, {"validity": 399 * DAY}, "at most 398 days"),
    (PERSON, {"key_usage": frozenset()}, "no key usage"),
    (PERSON, {"key_usage": frozenset({"fly"})}, "unknown key usage"),
    (PERSON, {"key_usage": SIGNS | {"key_cert_sign"}}, "neither certificates nor CRLs"),
    (PERSON, {"key_usage": SIGNS | {"crl_sign"}}, "neither certificates nor CRLs"),
    (PERSON, {"key_usage": SIGNS | {"encipher_only"}}, "need key agreement"),
    (
        PERSON,
        {"key_usage": SIGNS | {"key_agreement", "encipher_only", "decipher_only"}},
        "exclude each other",
    ),
    (PERSON, {"key_usage": frozenset({"key_encipherment"})}, "leaves nothing"),
    (PERSON, {"path_length": 0}, "no path length"),
    (PERSON, {"extended_key_usage": ()}, "needs the purpose clientAuth"),
    (PERSON, {"extended_key_usage": ("emailProtection",)}, "needs the purpose clientAuth"),
    (PERSON, {"extended_key_usage": ("clientAuth", "clientAuth")}, "named twice"),
    (PERSON, {"extended_key_usage": ("clientAuth", "any")}, "any is no purpose that is known"),
    (PERSON, {"extended_key_usage": ("clientAuth", "serverAuth")}, "serverAuth is no purpose of"),
    (PERSON, {"names": Names.HOSTS}, "alternative names are not for"),
    (PERSON, {"names": Names.NONE}, "alternative names are not for"),
    (PERSON, {"key_types": ()}, "no kind of key"),
    (PERSON, {"key_types": ("dsa",)}, "dsa is no kind of key"),
    (PERSON, {"key_types": ("p256", "p256")}, "kind of key is named twice"),
    (PERSON, {"approvals": 3}, "0 to 2 approvals"),
    (PERSON, {"approvals": -1}, "0 to 2 approvals"),
    (PERSON, {"per_person": 0}, "at least 1"),
    (MAIL, {"names": Names.PERSON}, "alternative names are not for e-mail"),
    (MAIL, {"extended_key_usage": ("emailProtection", "clientAuth")}, "clientAuth is no purpose"),
    (CODE, {"extended_key_usage": ("clientAuth",)}, "code signing needs the purpose codeSigning"),
    (CODE, {"extended_key_usage": ("codeSigning", "clientAuth")}, "clientAuth is no purpose"),
    (SERVER, {"extended_key_usage": ("serverAuth", "clientAuth")}, "clientAuth is no purpose"),
    (SERVER, {"names": Names.NONE}, "alternative names are not for a server"),
    (SERVER, {"per_person": 1}, "certificates that people have"),
    (OCSP, {"validity": 91 * DAY}, "at most 90 days"),
    (OCSP, {"extended_key_usage": ("OCSPSigning", "clientAuth")}, "clientAuth is no purpose"),
    (OCSP, {"extended_key_usage": ("serverAuth",)}, "needs the purpose OCSPSigning"),
    (OCSP, {"key_usage": SIGNS | {"content_commitment"}}, "signs, and nothing else"),
    (OCSP, {"names": Names.HOSTS}, "alternative names are not for an OCSP"),
    (OCSP, {"approvals": 1}, "none approve"),
    (CA, {"validity": 26 * 366 * DAY}, "at most 9150 days"),
    (CA, {"key_usage": frozenset({"key_cert_sign"})}, "certificates and CRLs"),
    (CA, {"key_usage": CA_USAGES | {"key_encipherment"}}, "signs, and nothing else"),
    (CA, {"path_length": None}, "path length"),
    (CA, {"path_length": -1}, "path length"),
    (CA, {"path_length": 5}, "path length"),
    (CA, {"extended_key_usage": ("clientAuth",)}, "no extended key usage"),
    (CA, {"names": Names.HOSTS}, "alternative names are not for a CA"),
    (CA, {"approvals": 1}, "none approve"),
    (CA, {"per_person": 1}, "certificates that people have"),
]


@pytest.mark.parametrize(
    ("good", "change", "limit"), REFUSED, ids=[f"{row[0]['name']}-{row[2]}" for row in REFUSED]
)
def test_profile_refused(good: dict[str, Any], change: dict[str, Any], limit: str) -> None:
    with pytest.raises(ProfileError, match=limit):
        Profile(**good | change)


def test_profile_is_frozen() -> None:
    with pytest.raises(AttributeError):
        profiles.PERSON.name = "other"  # type: ignore[misc]


def test_words_are_those_of_the_rows() -> None:
    for ours, theirs in (
        (Purpose, CertificateProfile.Purpose),
        (Names, CertificateProfile.Names),
        (Excess, CertificateProfile.Excess),
    ):
        assert [word.value for word in ours] == theirs.values


def test_server_is_valid_as_long_as_scanners_like() -> None:
    assert 60 * DAY <= profiles.SERVER.validity <= 90 * DAY


def test_only_person_signs_people_in() -> None:
    assert [profile.name for profile in profiles.BUILT_IN if profile.signs_in] == ["person"]


def test_built_in_profiles_are_of_all_purposes() -> None:
    assert [profile.purpose for profile in profiles.BUILT_IN] == list(Purpose)
    assert [profile.name for profile in profiles.BUILT_IN] == [str(purpose) for purpose in Purpose]


def test_code_signing_needs_somebody_elses_yes() -> None:
    assert {
        profile.name: profile.approvals for profile in profiles.BUILT_IN if profile.approvals
    } == {"code": 1}


def test_usages_are_those_that_the_key_is_able_to() -> None:
    """RFC 3279, 2.3.1; RFC 8813, 3; RFC 8410, 5."""
    rsa_key, ec_key, ed_key = (
        rsa.generate_private_key(65537, 2048).public_key(),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    )
    assert profiles.MAIL.usages_of(rsa_key) == SIGNS | {"key_encipherment"}
    assert profiles.MAIL.usages_of(ec_key) == SIGNS | {"key_agreement"}
    assert profiles.MAIL.usages_of(ed_key) == SIGNS
    assert profiles.SERVER.usages_of(ec_key) == SIGNS
    assert profiles.PERSON.usages_of(rsa_key) == SIGNS


def test_require_public_key() -> None:
    profiles.PERSON.require_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(ProfileError, match="2048 to 8192 bits; this one has 1024"):
        profiles.PERSON.require_public_key(rsa.generate_private_key(65537, 1024).public_key())
    with pytest.raises(ProfileError, match="public exponent 65537"):
        profiles.PERSON.require_public_key(rsa.generate_private_key(3, 2048).public_key())


@pytest.mark.parametrize(
    ("admitted", "refused", "words"),
    [
        ("p256", "p384", "P-384 keys. Use one of: P-256"),
        ("p384", "p256", "P-256 keys. Use one of: P-384"),
        ("ed25519", "p256", "Use one of: Ed25519"),
        ("rsa3072", "rsa2048", "RSA 2048 keys. Use one of: RSA from 3072 bits"),
        ("rsa2048", "ed25519", "Use one of: RSA from 2048 bits"),
    ],
)
def test_kinds_of_key(admitted: str, refused: str, words: str) -> None:
    profile = Profile(**PERSON | {"key_types": (admitted,)})
    profile.require_public_key(_key(admitted))
    with pytest.raises(ProfileError, match=words):
        profile.require_public_key(_key(refused))


def test_longer_rsa_keys_are_of_the_shorter_kind_too() -> None:
    Profile(**PERSON | {"key_types": ("rsa2048",)}).require_public_key(_key("rsa3072"))


def _key(kind: str) -> Any:
    if kind == "rsa2048":
        return rsa.generate_private_key(65537, 2048).public_key()
    return algorithms.generate(kind).public_key()
