"""Private keys of the server: wrapped at rest, opened in one module."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509 import load_der_x509_certificate

from pki import algorithms, audit, authorities, crl, issuance, keys, masterkey
from pki.errors import (
    AuthorityError,
    BadFileError,
    KeyBackendError,
    LintError,
    MasterKeyInvalidError,
    MasterKeyMissingError,
    ProfileError,
    StateError,
    StoppedError,
)
from pki.models import (
    AuditEntry,
    Certificate,
    CertificateAuthority,
    PrivateKey,
    RevocationList,
)
from tests import certs
from tests.factories import PKI, People, make_device, make_pki, make_server_certificate
from tests.openssl import openssl
from tests.softhsm import LABEL, PIN, Token, make_token


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


# --- On a token -----------------------------------------------------------------------------


@pytest.fixture
def token(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    token = make_token(tmp_path / "hsm", monkeypatch)
    settings.SIGNET_PKCS11_MODULE = token.module
    settings.SIGNET_PKCS11_TOKEN = LABEL
    settings.SIGNET_PKCS11_PIN_FILE = token.pin_file
    return token


@pytest.mark.parametrize("algorithm", ["p256", "p384", "rsa3072", "ed25519"])
def test_ca_on_a_token(
    db: None, at: dt.datetime, token: Token, algorithm: str, tmp_path: Path
) -> None:
    """Certificates, CRL and OCSP answer of a key that never was here; openssl is the judge."""
    root = authorities.create_authority(
        actor="admin", name="Token Root", algorithm=algorithm, backend="pkcs11", at=at
    )
    issuing = authorities.create_authority(
        actor="admin", name="Token CA", parent=root, backend="pkcs11", at=at
    )
    key = issuing.certificate.key
    assert key is not None
    assert (key.backend, bytes(key.wrapped), key.wrapped_by) == ("pkcs11", b"", "")
    assert PIN not in key.handle
    leaf = make_server_certificate(issuing, hosts=("localhost",))
    trusted, above = tmp_path / "root.pem", tmp_path / "above.pem"
    _write_pem(trusted, root.certificate)
    _write_pem(above, issuing.certificate)
    _write_pem(tmp_path / "leaf.pem", leaf)
    crl_file = tmp_path / "crl.pem"
    crl_file.write_bytes(crl.crl_pem(issuing.crls.get()) + crl.crl_pem(root.crls.get()))
    arguments = ["-CAfile", trusted, "-untrusted", above, "-crl_check_all", "-CRLfile", crl_file]
    assert "leaf.pem: OK" in openssl("verify", "-x509_strict", *arguments, tmp_path / "leaf.pem")


def test_token_that_went_away_leaves_no_half_certificate(
    pki: PKI, at: dt.datetime, token: Token
) -> None:
    """Pulled out between the decision and the signature: refused, nothing written, no gap."""
    authority = authorities.create_authority(
        actor="admin", name="Token CA", parent=pki.root, backend="pkcs11", at=at
    )
    prepared = issuance.prepare(
        actor="admin",
        authority=authority,
        profile="server",
        key=keys.create_key(algorithm="p256"),
        hosts=("localhost",),
        at=at,
    )
    token.take_away()
    before = (Certificate.objects.count(), RevocationList.objects.count())
    with pytest.raises(KeyBackendError):
        issuance.issue(prepared)
    with pytest.raises(KeyBackendError):
        crl.publish(authority=authority, actor="admin", at=at)
    assert (Certificate.objects.count(), RevocationList.objects.count()) == before
    token.bring_back()
    assert crl.publish(authority=authority, actor="admin", at=at).number == 2
    assert make_server_certificate(authority, hosts=("localhost",))
    audit.verify()


def test_key_on_a_token_does_not_stay_after_a_refusal(
    pki: PKI, at: dt.datetime, token: Token
) -> None:
    with pytest.raises(LintError):
        authorities.create_authority(
            actor="admin", name="Deeper", parent=pki.issuing, backend="pkcs11", at=at
        )
    assert [path.name for path in token.tokens.rglob("*.object")] == ["token.object"]
    assert not PrivateKey.objects.filter(backend="pkcs11").exists()


def test_no_token_set_up(db: None) -> None:
    with pytest.raises(KeyBackendError, match="SIGNET_PKCS11_MODULE"):
        keys.create_key(algorithm="p256", backend="pkcs11")


def test_key_on_a_token_serves_no_tls(pki: PKI, at: dt.datetime, token: Token) -> None:
    certificate = make_server_certificate(pki.issuing)
    certificate.key = keys.create_key(algorithm="p256", backend="pkcs11")
    with pytest.raises(AuthorityError, match="on a token"):
        keys.load_server_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate)


# --- From a file ----------------------------------------------------------------------------


def _pem(secret, password: bytes | None = None) -> bytes:
    sealing = BestAvailableEncryption(password) if password else NoEncryption()
    return secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing)


@pytest.mark.parametrize("password", [None, "secret words"])
def test_import_key_from_pem(db: None, password: str | None) -> None:
    mallory = certs.make_ca("Mallory")
    data = _pem(mallory.key, password.encode() if password else None)
    row, certificates = keys.import_key(
        data=mallory.certificate.public_bytes(Encoding.PEM) + data, password=password
    )
    assert certificates == [mallory.certificate]
    assert row.spki_sha256 == algorithms.spki_sha256(mallory.key.public_key())
    assert keys.public_key(row) == mallory.key.public_key()
    again, _ = keys.import_key(data=data, password=password)
    assert again == row


def test_import_key_from_pkcs12_of_openssl(db: None, tmp_path: Path) -> None:
    """Also one whose certificates stand in another order than the key's own first."""
    root = certs.make_ca("Root")
    below = root.make_ca("Below")
    (tmp_path / "key.pem").write_bytes(_pem(below.key))
    (tmp_path / "cert.pem").write_bytes(below.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    openssl("pkcs12", "-export", "-inkey", tmp_path / "key.pem", "-in", tmp_path / "cert.pem",
            "-certfile", tmp_path / "root.pem", "-out", tmp_path / "ca.p12",
            "-passout", "pass:secret words")  # fmt: skip
    data = (tmp_path / "ca.p12").read_bytes()
    row, certificates = keys.import_key(data=data, password="secret words")
    assert certificates == [below.certificate, root.certificate]
    assert keys.public_key(row) == below.key.public_key()
    for wrong in ("other words", None):
        with pytest.raises(BadFileError, match="password"):
            keys.import_key(data=data, password=wrong)


def test_import_key_refused(db: None) -> None:
    one, two = certs.make_ca("One"), certs.make_ca("Two")
    weak = rsa.generate_private_key(65537, 1024)
    for data, password, error in (
        (b"", None, BadFileError),
        (b"garbage", None, BadFileError),
        (_pem(one.key, b"right"), "wrong", BadFileError),
        (_pem(one.key, b"right"), None, BadFileError),
        (_pem(one.key), "needless", BadFileError),
        (_pem(one.key) + _pem(two.key), None, BadFileError),
        (_pem(one.key) + two.certificate.public_bytes(Encoding.PEM), None, BadFileError),
        (one.certificate.public_bytes(Encoding.PEM), None, BadFileError),
        (_pem(weak), None, ProfileError),
        (_pem(ec.generate_private_key(ec.SECP521R1())), None, ProfileError),
        (_pem(x25519.X25519PrivateKey.generate()), None, ProfileError),
        (_pem(one.key) + b"x" * 300_000, None, BadFileError),
    ):
        with pytest.raises(error):
            keys.import_key(data=data, password=password)
    assert not PrivateKey.objects.exists()


# --- Another master key ---------------------------------------------------------------------


@pytest.fixture
def master(settings, tmp_path: Path) -> Path:
    """A master key of this test's own."""
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "home" / "master.key"
    masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    return settings.SIGNET_MASTER_KEY_FILE


def test_change_master_key(
    db: None, at: dt.datetime, master: Path, tmp_path: Path, settings
) -> None:
    pki = make_pki(at=at)
    old, seen = masterkey.load(master), []
    before = {row.pk: bytes(row.wrapped) for row in PrivateKey.objects.all()}
    done = keys.change_master_key(
        actor="admin", source=tmp_path / "new.key", progress=lambda *n: seen.append(n), at=at
    )
    new = masterkey.load(master)
    assert (done, seen) == (2, [(1, 2), (2, 2)])
    assert new == masterkey.load(tmp_path / "new.key")
    assert stat.S_IMODE((tmp_path / "new.key").stat().st_mode) == 0o600
    assert masterkey.load(masterkey.former(master, old.identifier)) == old
    assert not masterkey.following(master).exists()
    for row in PrivateKey.objects.all():
        assert row.wrapped_by == new.identifier
        assert bytes(row.wrapped) != before[row.pk]
    masterkey.former(master, old.identifier).unlink()
    make_server_certificate(CertificateAuthority.objects.get(pk=pki.issuing.pk))
    assert keys.require_master_key() == new
    assert AuditEntry.objects.filter(action="master_key.changed").count() == 1
    audit.verify()


def test_change_of_master_key_is_interrupted_and_run_again(
    db: None, at: dt.datetime, master: Path, tmp_path: Path
) -> None:
    """Meanwhile keys under both can be opened, and new ones go under the one to come."""
    pki, old = make_pki(at=at), masterkey.load(master)

    def stop(done: int, total: int) -> None:
        raise StoppedError(done, total)

    with pytest.raises(StoppedError):
        keys.change_master_key(actor="admin", source=tmp_path / "new.key", progress=stop, at=at)
    new = masterkey.load(tmp_path / "new.key")
    kinds = sorted(PrivateKey.objects.values_list("wrapped_by", flat=True))
    assert kinds == sorted([old.identifier, new.identifier])
    assert masterkey.load(master) == old
    certificate = make_server_certificate(pki.issuing)
    assert certificate.key is not None
    assert certificate.key.wrapped_by == new.identifier
    for row in PrivateKey.objects.all():
        assert keys.public_key(row)
    with pytest.raises(MasterKeyInvalidError, match="another one"):
        keys.change_master_key(actor="admin", source=tmp_path / "third.key", at=at)
    assert keys.change_master_key(actor="admin", at=at) == 3
    assert masterkey.load(master) == new
    audit.verify()


def test_key_to_come_is_lost_while_keys_are_wrapped_anew(
    db: None, at: dt.datetime, master: Path, tmp_path: Path
) -> None:
    make_pki(at=at)

    def stop(done: int, total: int) -> None:
        raise StoppedError(done, total)

    with pytest.raises(StoppedError):
        keys.change_master_key(actor="admin", source=tmp_path / "new.key", progress=stop, at=at)
    coming = masterkey.following(master)
    aside = coming.rename(tmp_path / "aside")
    new = masterkey.load(aside).identifier
    for source in (None, tmp_path / "third.key"):
        with pytest.raises(MasterKeyInvalidError, match=rf"{new}.* is not in master.key.next"):
            keys.change_master_key(actor="admin", source=source, at=at)
    assert not coming.exists()
    aside.rename(coming)
    assert keys.change_master_key(actor="admin", at=at) == 2


def test_change_of_master_key_between_its_last_commit_and_the_swap(
    db: None, at: dt.datetime, master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pki(at=at)
    with monkeypatch.context() as patch:
        patch.setattr(masterkey, "promote", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            keys.change_master_key(actor="admin", source=tmp_path / "new.key", at=at)
    assert keys.change_master_key(actor="admin", at=at) == 2
    assert keys.require_master_key() == masterkey.load(tmp_path / "new.key")
    audit.verify()


def test_change_master_key_refused(db: None, at: dt.datetime, master: Path, tmp_path: Path) -> None:
    make_pki(at=at)
    with pytest.raises(StateError, match="Name the file"):
        keys.change_master_key(actor="admin", at=at)
    with pytest.raises(MasterKeyInvalidError, match="in force already"):
        keys.change_master_key(actor="admin", source=master, at=at)
    (tmp_path / "open.key").write_bytes(master.read_bytes())
    (tmp_path / "open.key").chmod(0o644)
    with pytest.raises(MasterKeyInvalidError, match="may be read by others"):
        keys.change_master_key(actor="admin", source=tmp_path / "open.key", at=at)
    assert not masterkey.following(master).exists()


@pytest.mark.parametrize("moment", [0.02, 0.2])
def test_change_of_master_key_survives_being_killed(tmp_path: Path, moment: float) -> None:
    """kill -9 at some moment in the middle of many keys; run again, all of them open."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SIGNET_")}
    environment |= {"SIGNET_HOME": str(tmp_path), "DATABASE_URL": ""}
    environment["DJANGO_SETTINGS_MODULE"] = "project.settings"
    masterkey.create(tmp_path / "master.key")

    def run(script: str) -> subprocess.Popen[str]:
        start = "import django; django.setup()\nfrom pki import keys, masterkey, audit\n"
        start += "from pki.models import PrivateKey\nfrom django.utils import timezone\n"
        return subprocess.Popen(
            [sys.executable, "-c", start + script],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(script: str) -> str:
        process = run(script)
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        return out

    finish(
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "for _ in range(120): keys.create_key(algorithm='p256')\n"
    )
    change = (
        "from pathlib import Path\n"
        f"change = lambda: keys.change_master_key(actor='admin', at=timezone.now(),\n"
        f"    source=Path({str(tmp_path / 'new.key')!r}))\n"
    )
    process = run(change + "print('begun', flush=True)\nchange()\n")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(moment)
    process.kill()
    process.communicate()
    out = finish(
        change + "from django.conf import settings\n"
        "path = settings.SIGNET_MASTER_KEY_FILE\n"
        "if masterkey.following(path).exists() or not list(path.parent.glob('*.old-*')): change()\n"
        "ids = set(PrivateKey.objects.values_list('wrapped_by', flat=True))\n"
        "assert ids == {masterkey.load(path).identifier}, ids\n"
        "[keys.public_key(row) for row in PrivateKey.objects.all()]\n"
        "print(PrivateKey.objects.count(), audit.verify())\n"
    )
    assert out.split()[0] == "120"


def _write_pem(path: Path, certificate: Certificate) -> None:
    path.write_text(ssl.DER_cert_to_PEM_cert(bytes(certificate.der)))
