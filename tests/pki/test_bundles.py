"""Certificates in, files of a format out, and back."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from pki import bundles
from pki.bundles import Format
from pki.errors import BadFileError, RequestError
from tests import certs
from tests.services import require

PASSWORD = "correct horse"
ONE, TWO = certs.make_ca("Root One"), certs.make_ca("Root Two")
TWIN = certs.make_ca("Root One")
ROOTS = [ONE.certificate, TWO.certificate, TWIN.certificate]
FILES = [one for one in Format if not one.is_folder and one is not Format.DER]


def packed(format: Format, roots: list[x509.Certificate] = ROOTS) -> bundles.Bundle:
    password = PASSWORD if format.has_password else None
    return bundles.pack(roots, format=format, name="chat", password=password)


def written(folder: Path, bundle: bundles.Bundle) -> Path:
    folder.mkdir()
    for name, content in bundle.files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("format", FILES)
def test_every_file_is_read_back(format: Format) -> None:
    assert set(bundles.read(packed(format).content, password=PASSWORD)) == set(ROOTS)


def test_der_holds_one() -> None:
    assert bundles.read(packed(Format.DER, ROOTS[:1]).content) == ROOTS[:1]
    with pytest.raises(RequestError, match="3 anchors and DER holds one"):
        packed(Format.DER)


def test_pkcs7_in_pem_is_read(tmp_path: Path) -> None:
    done = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-outform", "PEM"],
        input=packed(Format.P7B).content,
        capture_output=True,
        check=True,
    )
    assert set(bundles.read(done.stdout)) == set(ROOTS)


def test_hashed_folder_numbers_those_that_share_a_subject(tmp_path: Path) -> None:
    bundle = packed(Format.HASHED_DIR)
    shared, other = bundles.subject_hash(ROOTS[0]), bundles.subject_hash(ROOTS[1])
    assert list(bundle.files) == [f"{shared}.0", f"{other}.0", f"{shared}.1"]
    assert set(bundles.read_folder(written(tmp_path / "hashed", bundle))) == set(ROOTS)
    with tarfile.open(fileobj=BytesIO(bundle.content)) as archive:
        assert archive.getnames() == list(bundle.files)


def test_nss_folder_is_read_back(tmp_path: Path) -> None:
    require("certutil")
    bundle = packed(Format.NSS)
    assert set(bundles.read_folder(written(tmp_path / "nss", bundle))) == set(ROOTS)
    assert str(tmp_path) not in bundle.files["pkcs11.txt"].decode()
    assert "/tmp" not in bundle.files["pkcs11.txt"].decode()


def test_nss_certificate_that_is_distrusted_is_not_read(tmp_path: Path) -> None:
    require("certutil")
    folder = written(tmp_path / "nss", packed(Format.NSS, ROOTS[:2]))
    for flags, nickname in (("p,p,p", bundles.alias(ROOTS[1])),):
        subprocess.run(
            ["certutil", "-M", "-d", f"sql:{folder}", "-n", nickname, "-t", flags], check=True
        )
    assert bundles.read_folder(folder) == ROOTS[:1]


def test_nss_without_its_program_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert not bundles.is_available(Format.NSS)
    with pytest.raises(RequestError, match="libnss3-tools"):
        packed(Format.NSS)


def test_real_jks_is_read_by_java(tmp_path: Path) -> None:
    require("keytool")
    store, cer = tmp_path / "store.jks", tmp_path / "root.cer"
    cer.write_bytes(ONE.der)
    subprocess.run(
        [
            *("keytool", "-importcert", "-noprompt", "-alias", "one", "-file", cer),
            *("-storetype", "JKS", "-keystore", store, "-storepass", PASSWORD),
        ],
        check=True,
        capture_output=True,
    )
    assert store.read_bytes().startswith(bundles.JKS_MAGIC)
    assert bundles.read(store.read_bytes(), password=PASSWORD) == ROOTS[:1]
    with pytest.raises(BadFileError, match="this password"):
        bundles.read(store.read_bytes(), password="wrong horse")
    with pytest.raises(BadFileError, match="Give its password"):
        bundles.read(store.read_bytes())


def test_jks_without_java_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RequestError, match="default-jre"):
        bundles.read(bundles.JKS_MAGIC[0] + b"\0" * 20, password=PASSWORD)


def test_pkcs12_of_a_person_gives_its_certificates_and_no_key() -> None:
    leaf = ONE.issue("alice")
    file = pkcs12.serialize_key_and_certificates(
        b"alice", leaf.key, leaf.certificate, [ONE.certificate], BestAvailableEncryption(b"secret")
    )
    assert bundles.read(file, password="secret") == [leaf.certificate, ONE.certificate]


def test_profile_of_apple_is_the_same_for_the_same_roots() -> None:
    first, again = packed(Format.MOBILECONFIG).content, packed(Format.MOBILECONFIG).content
    assert first == again
    profile = plistlib.loads(first)
    assert {one["PayloadType"] for one in profile["PayloadContent"]} == {"com.apple.security.root"}
    assert len({one["PayloadUUID"] for one in profile["PayloadContent"]}) == 3


@pytest.mark.parametrize("password", [None, "", "short", "pässwörter", "tab\tbed"])
def test_password_that_java_or_windows_would_not_take(password: str | None) -> None:
    for format in (Format.PKCS12, Format.JAVA):
        with pytest.raises(RequestError, match="needs a password"):
            bundles.pack(ROOTS, format=format, name="chat", password=password)


def test_nothing_is_not_packed() -> None:
    with pytest.raises(RequestError, match="no certificate"):
        bundles.pack([], format=Format.PEM, name="chat")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"hello", "no certificates"),
        (b"\x30\x82\x01\x00", "no certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "no certificates"),
        (ONE.key_pem, "no certificates"),
        (ONE.crl().public_bytes(bundles.Encoding.DER), "no certificates"),
        (b"<?xml version='1.0'?><plist><dict/></plist>", "no certificate"),
        (b"<?xml version='1.0'?><plist><array/></plist>", "no certificate"),
        (b"<?xml <<<", "no certificates"),
        (b"x" * (bundles.LARGEST + 1), "too large"),
    ],
    ids=["empty", "text", "short", "torn", "key", "CRL", "profile", "array", "bad", "large"],
)
def test_what_holds_no_certificates(data: bytes, sentence: str) -> None:
    with pytest.raises(BadFileError, match=sentence):
        bundles.read(data)


def nested(depth: int) -> bytes:
    """A binary property list of arrays in arrays."""
    objects = [b"\xa1" + number.to_bytes(2) for number in range(1, depth + 1)] + [b"\x08"]
    at = [8 + 3 * number for number in range(len(objects))]
    table = b"".join(offset.to_bytes(4) for offset in at)
    trailer = bytes([0] * 6 + [4, 2]) + len(objects).to_bytes(8) + bytes(8)
    whole = b"bplist00" + b"".join(objects)
    return whole + table + trailer + len(whole).to_bytes(8)


@pytest.mark.parametrize(
    "data",
    [
        plistlib.dumps({"PayloadContent": 7}),
        plistlib.dumps({"PayloadContent": True}),
        plistlib.dumps({"PayloadContent": ["text", {"PayloadType": bundles.ROOT_PAYLOAD}]}),
        nested(5000),
        *(
            f"<?xml version='1.0'?><plist version='1.0'>{inner}</plist>".encode()
            for inner in (
                "<date>x</date>",
                "<date>2020-99-99T00:00:00Z</date>",
                "<key>a</key>",
                "<dict><string>a</string></dict>",
                "</array>",
                "<integer/>",
                "<integer>" + "9" * 9000 + "</integer>",
                "",
            )
        ),
        b"<?xml version='1.0' encoding='foo'?><plist/>",
    ],
)
def test_profile_that_is_none_is_refused_in_our_words(data: bytes) -> None:
    with pytest.raises(BadFileError, match="no certificate"):
        bundles.read(data)


def test_pkcs12_with_another_password_or_none() -> None:
    content = packed(Format.PKCS12).content
    with pytest.raises(BadFileError, match="this password"):
        bundles.read(content, password="wrong")
    with pytest.raises(BadFileError, match="Give its password"):
        bundles.read(content)


def test_folder_that_is_no_trust_store(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(ONE.pem)
    with pytest.raises(BadFileError, match="neither an NSS database"):
        bundles.read_folder(tmp_path)
