"""Private keys of the server: wrapped at rest, opened in one module."""

from __future__ import annotations

import os
import ssl
import stat
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate

from pki import algorithms, keys, masterkey
from pki.errors import (
    AuthorityError,
    MasterKeyInvalidError,
    MasterKeyMissingError,
    ProfileError,
)
from pki.models import PrivateKey
from tests.factories import PKI, People, make_device, make_server_certificate


@pytest.fixture
def other_master_key(settings, tmp_path: Path) -> Path:
    """Makes another master key, and returns where it is; it is not in use yet."""
    masterkey.create(tmp_path / "other.key")
    return tmp_path / "other.key"


@pytest.mark.parametrize("algorithm", ["p256", "p384", "ed25519", "rsa3072"])
def test_create_key(db: None, algorithm: str) -> None:
    row = keys.create_key(algorithm=algorithm)
    public = keys.public_key(row)
    assert row.algorithm == algorithm
    assert row.spki_sha256 == algorithms.spki_sha256(public)


def test_create_key_of_unknown_kind(db: None) -> None:
    with pytest.raises(ProfileError):
        keys.create_key(algorithm="md5")
    assert not PrivateKey.objects.exists()


def test_key_at_rest_is_sealed(db: None) -> None:
    row = keys.create_key(algorithm="p256")
    point = keys.public_key(row).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert point not in bytes(row.wrapped)
    assert b"PRIVATE" not in bytes(row.wrapped)
    assert keys.create_key(algorithm="p256").wrapped != row.wrapped


@pytest.mark.parametrize("position", [0, 11, 12, 60, -1])
def test_changed_key_is_refused(db: None, position: int) -> None:
    row = keys.create_key(algorithm="p256")
    changed = bytearray(row.wrapped)
    changed[position] ^= 1
    row.wrapped = bytes(changed)
    with pytest.raises(MasterKeyInvalidError, match="has been changed"):
        keys.public_key(row)


def test_swapped_keys_are_refused(db: None) -> None:
    """A wrapped key moved into another row does not become that row's key."""
    ours, theirs = keys.create_key(algorithm="p256"), keys.create_key(algorithm="p256")
    ours.wrapped = theirs.wrapped
    with pytest.raises(MasterKeyInvalidError, match="has been changed"):
        keys.public_key(ours)


def test_missing_master_key(db: None, settings, tmp_path: Path) -> None:
    row = keys.create_key(algorithm="p256")
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    for act in (lambda: keys.public_key(row), lambda: keys.create_key(algorithm="p256")):
        with pytest.raises(MasterKeyMissingError, match=r"gone\.key is missing"):
            act()
    assert not (tmp_path / "gone.key").exists()
    assert PrivateKey.objects.count() == 1


def test_other_master_key(db: None, settings, other_master_key: Path) -> None:
    row = keys.create_key(algorithm="p256")
    settings.SIGNET_MASTER_KEY_FILE = other_master_key
    for act in (
        lambda: keys.public_key(row),
        lambda: keys.create_key(algorithm="p256"),
        keys.require_master_key,
    ):
        with pytest.raises(MasterKeyInvalidError, match="another one"):
            act()
    assert PrivateKey.objects.count() == 1


def test_changed_master_key_file_is_noticed_at_once(
    db: None, settings, tmp_path: Path, other_master_key: Path
) -> None:
    path = tmp_path / "master.key"
    settings.SIGNET_MASTER_KEY_FILE = path
    masterkey.create(path)
    original = path.read_bytes()
    row = keys.create_key(algorithm="p256")
    path.write_bytes(other_master_key.read_bytes())
    with pytest.raises(MasterKeyInvalidError):
        keys.public_key(row)
    path.write_bytes(original)
    assert keys.public_key(row)


def test_master_key_open_to_others(db: None, settings, tmp_path: Path) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "master.key"
    masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    row = keys.create_key(algorithm="p256")
    settings.SIGNET_MASTER_KEY_FILE.chmod(0o640)
    with pytest.raises(MasterKeyInvalidError, match="may be read by others"):
        keys.public_key(row)


def test_require_master_key(pki: PKI) -> None:
    [identifier] = PrivateKey.objects.values_list("wrapped_by", flat=True).distinct()
    assert keys.require_master_key().identifier == identifier


@pytest.mark.parametrize("algorithm", ["p256", "rsa3072"])
def test_load_server_chain(pki: PKI, algorithm: str, tmp_path: Path) -> None:
    """A TLS client that trusts the root alone accepts what the context serves."""
    certificate = make_server_certificate(pki.issuing, hosts=("localhost",), algorithm=algorithm)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_server_chain(context, certificate)
    seen = _handshake(context, root=bytes(pki.root.certificate.der))
    assert seen == bytes(certificate.der)


def test_load_server_chain_leaves_no_file(
    pki: PKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is there, the file is ours alone and its key is encrypted; then it is gone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    certificate = make_server_certificate(pki.issuing)
    spied: list[tuple[int, bytes]] = []

    class Spy(ssl.SSLContext):
        def load_cert_chain(self, certfile, keyfile=None, password=None) -> None:
            spied.append((os.stat(certfile).st_mode, Path(certfile).read_bytes()))
            super().load_cert_chain(certfile, keyfile, password)

    keys.load_server_chain(Spy(ssl.PROTOCOL_TLS_SERVER), certificate)
    [(mode, content)] = spied
    assert stat.S_IMODE(mode) == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    assert b"BEGIN PRIVATE KEY" not in content
    assert list(tmp_path.iterdir()) == []


def test_load_server_chain_of_a_person(pki: PKI, people: People) -> None:
    device = make_device(people.alice, pki.issuing)
    with pytest.raises(AuthorityError, match="not kept here"):
        keys.load_server_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), device.certificate)


def test_signatures_verify_with_the_public_key(pki: PKI) -> None:
    root = load_der_x509_certificate(bytes(pki.root.certificate.der))
    issuing = load_der_x509_certificate(bytes(pki.issuing.certificate.der))
    assert isinstance(root.public_key(), ec.EllipticCurvePublicKey)
    issuing.verify_directly_issued_by(root)


def _handshake(server_context: ssl.SSLContext, *, root: bytes) -> bytes | None:
    """The certificate that a client of the root sees, through buffers in memory."""
    client_context = ssl.create_default_context(cadata=root)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(binary_form=True)
