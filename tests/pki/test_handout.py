from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from pki import handout
from pki.errors import RequestError
from pki.handout import Format
from tests.certs import make_ca
from tests.services import require

PASSWORD = "swan-plum-kite-mole"


@pytest.fixture
def leaf():
    return make_ca("Test CA").issue("alice")


def pack(leaf, format, password=PASSWORD):
    chain = [leaf.certificate, *leaf.issuers]
    return handout.pack(
        key=leaf.key, chain=chain, format=format, password=password, name="alice-laptop"
    )


@pytest.mark.parametrize("format", [Format.P12, Format.P12_COMPAT])
def test_p12_holds_key_certificate_and_chain(leaf, format):
    packed = pack(leaf, format)

    key, certificate, others = pkcs12.load_key_and_certificates(packed.content, PASSWORD.encode())
    assert key.public_key() == leaf.certificate.public_key()
    assert certificate == leaf.certificate
    assert others == list(leaf.issuers)
    assert packed.filename == "alice-laptop.p12"
    assert packed.media_type == "application/x-pkcs12"


@pytest.mark.parametrize(
    ("format", "cipher", "mac"),
    [
        (Format.P12, "AES-256-CBC", "MAC: sha256"),
        (Format.P12_COMPAT, "pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1"),
    ],
)
def test_openssl_reads_each_form_and_names_its_encryption(leaf, format, cipher, mac, tmp_path):
    require("openssl")
    path = tmp_path / "alice.p12"
    path.write_bytes(pack(leaf, format).content)

    done = subprocess.run(
        ["openssl", "pkcs12", "-in", path, "-info", "-noout", "-passin", f"pass:{PASSWORD}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert cipher in done.stderr
    assert mac in done.stderr


@pytest.mark.parametrize("format", [Format.P12, Format.P12_COMPAT])
def test_nss_imports_each_form(leaf, format, tmp_path):
    require("certutil", "pk12util")
    path = tmp_path / "alice.p12"
    path.write_bytes(pack(leaf, format).content)
    store = f"sql:{tmp_path}"
    subprocess.run(["certutil", "-N", "-d", store, "--empty-password"], check=True)

    subprocess.run(["pk12util", "-d", store, "-i", path, "-W", PASSWORD], check=True)
    listed = subprocess.run(
        ["certutil", "-L", "-d", store], check=True, capture_output=True, text=True
    )
    assert "alice-laptop" in listed.stdout


def test_pem_holds_the_key_first_then_the_chain(leaf):
    packed = pack(leaf, Format.PEM, password=None)

    assert packed.content.count(b"BEGIN CERTIFICATE") == 1 + len(leaf.issuers)
    assert load_pem_private_key(packed.content, None).public_key() == leaf.certificate.public_key()


@pytest.mark.parametrize("password", [None, "", "short", "passwörter-sind-lang"])
def test_p12_with_a_bad_password_is_refused(leaf, password):
    with pytest.raises(RequestError, match="password of at least 12"):
        pack(leaf, Format.P12, password=password)


def test_p12_without_a_key_is_refused(leaf):
    with pytest.raises(RequestError, match="choose PEM"):
        handout.pack(
            key=None,
            chain=[leaf.certificate],
            format=Format.P12,
            password=PASSWORD,
            name="alice",
        )


def test_passwords_are_long_distinct_and_easy_to_type():
    made = {handout.make_password() for _ in range(200)}

    assert len(made) == 200
    assert all(len(password) == 19 and password.isascii() for password in made)
    assert not set("".join(made)) & set("01ilou")
