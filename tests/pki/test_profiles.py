"""Profiles refuse themselves."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import profiles
from pki.errors import ProfileError
from pki.profiles import CA_USAGES, Profile

DAY = dt.timedelta(days=1)
LEAF: dict[str, Any] = {
    "name": "leaf",
    "validity": 90 * DAY,
    "key_usage": frozenset({"digital_signature"}),
    "extended_key_usage": (ExtendedKeyUsageOID.CLIENT_AUTH,),
}
CA: dict[str, Any] = {
    "name": "ca",
    "validity": 3650 * DAY,
    "key_usage": CA_USAGES,
    "is_ca": True,
    "path_length": 0,
}


@pytest.mark.parametrize("good", [LEAF, CA], ids=["leaf", "ca"])
def test_profile(good: dict[str, Any]) -> None:
    assert Profile(**good)


CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (LEAF, {"name": ""}, "name"),
    (LEAF, {"name": "Leaf!"}, "name"),
    (LEAF, {"validity": dt.timedelta(0)}, "at least a minute"),
    (LEAF, {"validity": 399 * DAY}, "398 days"),
    (LEAF, {"key_usage": frozenset()}, "no key usage"),
    (LEAF, {"key_usage": frozenset({"fly"})}, "unknown key usage"),
    (LEAF, {"rsa_key_usage": frozenset({"swim"})}, "unknown key usage"),
    (LEAF, {"key_usage": frozenset({"key_cert_sign"})}, "neither certificates nor CRLs"),
    (LEAF, {"rsa_key_usage": frozenset({"crl_sign"})}, "neither certificates nor CRLs"),
    (LEAF, {"path_length": 0}, "no path length"),
    (LEAF, {"extended_key_usage": ()}, "names its purposes"),
    (LEAF, {"extended_key_usage": (CLIENT, CLIENT)}, "named twice"),
    (LEAF, {"extended_key_usage": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, "no purpose"),
    (CA, {"validity": 26 * 366 * DAY}, "25 years"),
    (CA, {"key_usage": frozenset({"key_cert_sign"})}, "certificates and CRLs"),
    (CA, {"path_length": None}, "path length"),
    (CA, {"path_length": -1}, "path length"),
    (CA, {"extended_key_usage": (CLIENT,)}, "no extended key usage"),
]


@pytest.mark.parametrize(
    ("good", "change", "limit"), REFUSED, ids=[f"{row[0]['name']}-{row[2]}" for row in REFUSED]
)
def test_profile_refused(good: dict[str, Any], change: dict[str, Any], limit: str) -> None:
    with pytest.raises(ProfileError, match=limit):
        Profile(**good | change)


def test_profile_is_frozen() -> None:
    with pytest.raises(AttributeError):
        profiles.PERSON.is_ca = True  # type: ignore[misc]


def test_server_is_valid_as_long_as_scanners_like() -> None:
    assert 200 * DAY <= profiles.SERVER.validity <= 366 * DAY


def test_only_person_signs_people_in() -> None:
    assert [profile.name for profile in profiles.PROFILES.values() if profile.is_for_people] == [
        "person"
    ]


def test_rsa_servers_also_encipher_keys() -> None:
    rsa_key, ec_key = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    assert profiles.SERVER.usages_of(rsa_key.public_key()) == {
        "digital_signature",
        "key_encipherment",
    }
    assert profiles.SERVER.usages_of(ec_key.public_key()) == {"digital_signature"}


def test_require_public_key() -> None:
    profiles.PERSON.require_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(ProfileError, match="2048 to 8192 bits; this one has 1024"):
        profiles.PERSON.require_public_key(rsa.generate_private_key(65537, 1024).public_key())


def test_named() -> None:
    assert profiles.named("person") is profiles.PERSON
    with pytest.raises(ProfileError, match="root, intermediate, server, person"):
        profiles.named("emperor")
