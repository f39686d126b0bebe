"""Files with keys that ask for more work than anybody would do for them."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs12,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1.type import univ
from pyasn1_alt_modules import rfc7292

from pki import bundles, identity_files, keys
from pki.errors import BadFileError
from tests import certs

PASSWORD = b"correct horse"
ROUNDS = 2**31 - 1
SEALED = "ENCRYPTED PRIVATE KEY"
ROOT = certs.make_ca("Root")
ABOVE = certs.make_ca("Above")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_files, "SECONDS", 2)


@pytest.fixture
def pauses() -> Iterator[list[float]]:
    """How long another thread of this process had to wait for its turn."""
    found: list[float] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            begun = time.monotonic()
            time.sleep(0.01)
            found.append(time.monotonic() - begun)

    thread = threading.Thread(target=run)
    thread.start()
    yield found
    is_over.set()
    thread.join()


def pfx() -> bytes:
    sealing = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
    sealing = sealing.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256())
    return pkcs12.serialize_key_and_certificates(
        b"ca", ROOT.key, ROOT.certificate, [ABOVE.certificate], sealing.build(PASSWORD)
    )


def pfx_with_a_mac_of_many_rounds() -> bytes:
    whole, _ = decode(pfx(), asn1Spec=rfc7292.PFX())
    whole["macData"]["iterations"] = ROUNDS
    return bytes(encode(whole))


def key_of_many_rounds() -> bytes:
    """An EncryptedPrivateKeyInfo (RFC 5958, 3) with PBES2 and PBKDF2 (RFC 8018)."""
    sealed = ROOT.key.private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD)
    )
    whole, _ = decode(sealed)
    whole[0][1][0][1][1] = univ.Integer(ROUNDS)
    body = base64.encodebytes(encode(whole)).decode()
    return f"-----BEGIN {SEALED}-----\n{body}-----END {SEALED}-----\n".encode()


def test_pkcs12_is_opened_elsewhere() -> None:
    opened = identity_files.open_pkcs12(pfx(), PASSWORD)
    assert opened.key is not None
    assert load_der_private_key(opened.key, None).public_key() == ROOT.key.public_key()
    assert opened.certificates == [ROOT.certificate, ABOVE.certificate]


@pytest.mark.parametrize("password", [b"wrong", None])
def test_pkcs12_with_a_wrong_password(password: bytes | None) -> None:
    with pytest.raises(ValueError, match="password"):
        identity_files.open_pkcs12(pfx(), password)


def test_pem_key_is_opened_elsewhere() -> None:
    sealed = ROOT.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD)
    )
    opened = identity_files.open_pem_key(sealed, PASSWORD)
    plain = ROOT.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert (opened.key, opened.certificates) == (plain, [])
    with pytest.raises(TypeError):
        identity_files.open_pem_key(sealed, None)
    with pytest.raises((ValueError, UnsupportedAlgorithm)):
        identity_files.open_pem_key(b"-----BEGIN PRIVATE KEY-----\nAAAA\n", None)


def test_rounds_without_end_hold_nobody_up(hasty: None, pauses: list[float]) -> None:
    with pytest.raises(BadFileError, match="fewer rounds"):
        bundles.read(pfx_with_a_mac_of_many_rounds(), password=PASSWORD.decode())
    assert max(pauses) < 20


@pytest.mark.parametrize("data", [pfx_with_a_mac_of_many_rounds(), key_of_many_rounds()])
def test_key_with_rounds_without_end_is_not_imported(
    db: None, hasty: None, pauses: list[float], data: bytes
) -> None:
    with pytest.raises(BadFileError, match="fewer rounds"):
        keys.import_key(data=data, password=PASSWORD.decode())
    assert max(pauses) < 20


def test_file_that_takes_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a scrypt of many gigabytes would."""
    monkeypatch.setattr(
        identity_files,
        "CHILD",
        "import sys; sys.path.insert(0, sys.argv[1]); from pki import identity_files as f; "
        "f.READERS['pkcs12'] = lambda *_: {'key': str(len(bytes(2 * f.MEMORY))), "
        "'certificates': []}; f.answer()",
    )
    with pytest.raises(BadFileError, match="too much memory"):
        identity_files.open_pkcs12(pfx(), PASSWORD)
