"""Certificates in, files of a format out, and back. No database.

What always holds here: a file is read without trusting anything in it, private keys in it are
ignored, what a password seals is opened in another process, and programs of others (NSS's certutil,
Java's keytool) are started without a shell, on files of ours in a directory that is gone
afterwards, and never see a password on their command line.
"""

from __future__ import annotations

import io
import plistlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from xml.parsers.expat import ExpatError

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, PKCS12Certificate
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from pki import identity_files
from pki.errors import BadFileError, RequestError

LARGEST = 1024 * 1024
LONGEST_ALIAS = 40
PASSWORD_MINIMUM = 6
TOOL_SECONDS = 30
NSS_FILES = ("cert9.db", "key4.db", "pkcs11.txt")
NSS_TRUST = (
    "CT,,"  # issues certificates of servers (C) and of people (T); nothing for mail and code
)
JKS_MAGIC = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
PKCS12_VERSION = b"\x02\x01\x03"  # how the content of every PFX begins (RFC 7292, 4)
PACKAGES = {
    "certutil": "certutil, a program of NSS (package libnss3-tools, or nss-tools)",
    "keytool": "keytool, a program of Java (package default-jre-headless, or java-headless)",
}
Certificates = list[x509.Certificate]


class Format(StrEnum):
    """How anchors are packed for other programs."""

    PEM = "pem"
    DER = "der"
    P7B = "p7b"
    HASHED_DIR = "hashed-dir"
    NSS = "nss"
    PKCS12 = "pkcs12"
    JAVA = "java"
    MOBILECONFIG = "mobileconfig"

    @property
    def has_password(self) -> bool:
        return self in (Format.PKCS12, Format.JAVA)

    @property
    def is_folder(self) -> bool:
        return self in (Format.HASHED_DIR, Format.NSS)


@dataclass(frozen=True)
class Bundle:
    """A file to be downloaded; of a folder it is the archive, and `files` are what is in it."""

    filename: str
    media_type: str
    content: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)


def pack(
    certificates: Sequence[x509.Certificate],
    *,
    format: Format,
    name: str,
    password: str | None = None,
) -> Bundle:
    """Pack certificates under a file name that begins with `name`.

    Refuses (RequestError) no certificates, several in DER, a PKCS #12 or Java file without a
    password, and NSS where its program is missing.
    """
    if not certificates:
        raise RequestError("There is no certificate to export.")
    if format.has_password and not _is_password(password or ""):
        raise RequestError(
            f"A file of the format {format} needs a password of at least {PASSWORD_MINIMUM} ASCII "
            "letters; Java takes no shorter one."
        )
    return PACKERS[format](certificates, name, password or "")


def _is_password(password: str) -> bool:
    return len(password) >= PASSWORD_MINIMUM and password.isascii() and password.isprintable()


def is_available(format: Format) -> bool:
    """Whether this machine can pack that format."""
    return format is not Format.NSS or shutil.which("certutil") is not None


def subject_hash(certificate: x509.Certificate) -> str:
    """The name that OpenSSL looks a CA up by in a directory (X509_NAME_hash since OpenSSL 1.0)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pyOpenSSL's own X509 type
        return f"{crypto.X509.from_cryptography(certificate).subject_name_hash():08x}"


def alias(certificate: x509.Certificate) -> str:
    """What key stores call a certificate: its common name and the beginning of its fingerprint,
    because of two entries with one name they keep the last."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    words = re.sub(r"[^a-z0-9]+", "-", str(names[0].value).lower()) if names else "root"
    digest = certificate.fingerprint(SHA256()).hex()[:8]
    return f"{words.strip('-')[:LONGEST_ALIAS] or 'root'}-{digest}"


# --- Out ------------------------------------------------------------------------------------


def _pem(certificates: Sequence[x509.Certificate], name: str, _: str) -> Bundle:
    content = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
    return Bundle(f"{name}.pem", "application/x-pem-file", content)


def _der(certificates: Sequence[x509.Certificate], name: str, _: str) -> Bundle:
    if len(certificates) > 1:
        raise RequestError(
            f"There are {len(certificates)} anchors and DER holds one. Export them as PEM or p7b."
        )
    content = certificates[0].public_bytes(Encoding.DER)
    return Bundle(f"{name}.cer", "application/pkix-cert", content)


def _p7b(certificates: Sequence[x509.Certificate], name: str, _: str) -> Bundle:
    content = pkcs7.serialize_certificates(list(certificates), Encoding.DER)
    return Bundle(f"{name}.p7b", "application/x-pkcs7-certificates", content)


def _hashed_dir(certificates: Sequence[x509.Certificate], name: str, _: str) -> Bundle:
    """`hash.0`, `hash.1` … for those that share a subject, as `openssl rehash` numbers them."""
    files: dict[str, bytes] = {}
    for certificate in certificates:
        hashed = subject_hash(certificate)
        number = sum(taken.startswith(f"{hashed}.") for taken in files)
        files[f"{hashed}.{number}"] = certificate.public_bytes(Encoding.PEM)
    return Bundle(f"{name}.tar.gz", "application/gzip", _tar(files), files)


def _nss(certificates: Sequence[x509.Certificate], name: str, _: str) -> Bundle:
    with tempfile.TemporaryDirectory(prefix="signet-nss-") as folder:
        database = f"sql:{folder}"
        _run("certutil", "-N", "-d", database, "--empty-password")
        for certificate in certificates:
            der = Path(folder, "in.cer")
            der.write_bytes(certificate.public_bytes(Encoding.DER))
            _run(
                *("certutil", "-A", "-d", database, "-n", alias(certificate)),
                *("-t", NSS_TRUST, "-i", str(der)),
            )
        files = {each: Path(folder, each).read_bytes() for each in NSS_FILES}
    # It names the directory that it was made in, and works without.
    files["pkcs11.txt"] = re.sub(rb"configdir='[^']*'", b"configdir='sql:.'", files["pkcs11.txt"])
    return Bundle(f"{name}-nss.zip", "application/zip", _zip(files), files)


def _pkcs12(certificates: Sequence[x509.Certificate], name: str, password: str) -> Bundle:
    content = pkcs12.serialize_key_and_certificates(
        None, None, None, _named(certificates), _encryption(password)
    )
    return Bundle(f"{name}.p12", "application/x-pkcs12", content)


def _java(certificates: Sequence[x509.Certificate], name: str, password: str) -> Bundle:
    """PKCS #12 too, with the attribute without which Java sees no trusted certificate in it."""
    content = pkcs12.serialize_java_truststore(_named(certificates), _encryption(password))
    return Bundle(f"{name}-java.p12", "application/x-pkcs12", content)


def _mobileconfig(certificates: Sequence[x509.Certificate], name: str, _: str) -> Bundle:
    """A configuration profile of Apple's. The same anchors make the same file, so that a device
    replaces the profile that it has."""
    payloads = [_root_payload(certificate) for certificate in certificates]
    whole = {
        "PayloadContent": payloads,
        "PayloadDescription": "Lets this device trust the servers of this organisation.",
        "PayloadDisplayName": f"Trust: {name}",
        "PayloadIdentifier": f"signet.truststore.{name}",
        "PayloadType": "Configuration",
        "PayloadUUID": _uuid(name.encode()),
        "PayloadVersion": 1,
    }
    return Bundle(f"{name}.mobileconfig", "application/x-apple-aspen-config", plistlib.dumps(whole))


PACKERS: dict[Format, Callable[[Sequence[x509.Certificate], str, str], Bundle]] = {
    Format.PEM: _pem,
    Format.DER: _der,
    Format.P7B: _p7b,
    Format.HASHED_DIR: _hashed_dir,
    Format.NSS: _nss,
    Format.PKCS12: _pkcs12,
    Format.JAVA: _java,
    Format.MOBILECONFIG: _mobileconfig,
}
ROOT_PAYLOAD = "com.apple.security.root"


def _root_payload(certificate: x509.Certificate) -> dict[str, object]:
    der = certificate.public_bytes(Encoding.DER)
    return {
        "PayloadCertificateFileName": f"{alias(certificate)}.cer",
        "PayloadContent": der,
        "PayloadDisplayName": certificate.subject.rfc4514_string(),
        "PayloadIdentifier": f"signet.root.{sha256(der).hexdigest()}",
        "PayloadType": ROOT_PAYLOAD,
        "PayloadUUID": _uuid(der),
        "PayloadVersion": 1,
    }


def _uuid(content: bytes) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, sha256(content).hexdigest())).upper()


def _named(certificates: Iterable[x509.Certificate]) -> list[PKCS12Certificate]:
    return [PKCS12Certificate(one, alias(one).encode()) for one in certificates]


def _encryption(password: str) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(50_000)
    builder = builder.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
    return builder.hmac_hash(SHA256()).build(password.encode())


def _tar(files: Mapping[str, bytes]) -> bytes:
    """Always the same bytes for the same files, but for the time that gzip notes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


# --- In -------------------------------------------------------------------------------------


def read(data: bytes, *, password: str | None = None) -> Certificates:
    """All certificates in a file, each once, in its order: PEM, DER, PKCS #7, PKCS #12, a Java key
    store or a configuration profile of Apple's. Refuses anything else (BadFileError)."""
    if not data.strip():
        raise BadFileError("This file is empty.")
    if len(data) > LARGEST:
        raise BadFileError(f"This file is too large: more than {LARGEST // 1024} KiB.")
    try:
        found = _reader(data)(data, password)
        for certificate in found:
            list(certificate.extensions)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension):
        raise BadFileError(
            "This file has no certificates that can be read. It may be PEM, DER, PKCS #7, "
            "PKCS #12, a Java key store or a .mobileconfig file."
        ) from None
    if not found:
        raise BadFileError("There is no certificate in this file.")
    return list(dict.fromkeys(found))


def read_folder(folder: Path) -> Certificates:
    """All certificates in a directory: an NSS database, or one that OpenSSL looks names up in.

    Of an NSS database only those that it trusts to issue certificates of servers or people.
    Refuses a directory that is neither (BadFileError).
    """
    if (folder / "cert9.db").is_file():
        return _from_nss(folder)
    hashed = sorted(path for path in folder.iterdir() if HASHED.fullmatch(path.name))
    if not hashed:
        raise BadFileError(
            f"{folder} is neither an NSS database (cert9.db) nor a directory of hashed names "
            "such as 5ed36f99.0."
        )
    found = [certificate for path in hashed for certificate in read(path.read_bytes())]
    return list(dict.fromkeys(found))


HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
Reader = Callable[[bytes, str | None], Certificates]


def _reader(data: bytes) -> Reader:
    if b"-----BEGIN" in data:
        return _from_pem
    if data.startswith(JKS_MAGIC):
        return _from_jks
    if data.lstrip().startswith((b"<?xml", b"<plist", b"bplist")):
        return _from_mobileconfig
    if PKCS12_VERSION in data[:9]:
        return _from_pkcs12
    return _from_der


def _from_pem(data: bytes, _: str | None) -> Certificates:
    if b"-----BEGIN PKCS7-----" in data:
        return pkcs7.load_pem_pkcs7_certificates(data)
    return x509.load_pem_x509_certificates(data)


def _from_der(data: bytes, _: str | None) -> Certificates:
    try:
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        return pkcs7.load_der_pkcs7_certificates(data)


def _from_pkcs12(data: bytes, password: str | None) -> Certificates:
    """Its private key, where there is one, is dropped at once."""
    try:
        opened = identity_files.open_pkcs12(data, password.encode() if password else None)
    except ValueError:
        raise BadFileError(
            "This PKCS #12 file cannot be opened with this password."
            if password
            else "This is a PKCS #12 file. Give its password too."
        ) from None
    return opened.certificates


# What the parser raises besides its own error: it takes the file for one of a program of ours.
NO_PLIST = (
    *(plistlib.InvalidFileException, ExpatError, ArithmeticError, AttributeError),
    *(LookupError, MemoryError, RecursionError, TypeError),
)


def _from_mobileconfig(data: bytes, _: str | None) -> Certificates:
    try:
        profile = plistlib.loads(data)
    except NO_PLIST as error:
        raise ValueError("not a property list") from error
    content = profile.get("PayloadContent") if isinstance(profile, dict) else None
    found = content if isinstance(content, list) else []
    payloads = [each for each in found if isinstance(each, dict)]
    ders = [
        each.get("PayloadContent") for each in payloads if each.get("PayloadType") == ROOT_PAYLOAD
    ]
    return [x509.load_der_x509_certificate(der) for der in ders if isinstance(der, bytes)]


def _from_jks(data: bytes, password: str | None) -> Certificates:
    """Sun's own format, which only Java reads."""
    if not password:
        raise BadFileError("This is a Java key store. Give its password too.")
    with tempfile.TemporaryDirectory(prefix="signet-jks-") as folder:
        store, secret = Path(folder, "in.jks"), Path(folder, "password")
        store.write_bytes(data)
        secret.touch(mode=0o600)
        secret.write_text(password)
        listed = _run(
            *("keytool", "-J-Duser.language=en", "-list", "-rfc"),
            *("-keystore", str(store), "-storepass:file", str(secret)),
            refused="This Java key store cannot be opened with this password.",
        )
    return x509.load_pem_x509_certificates(listed) if b"-----BEGIN" in listed else []


def _from_nss(folder: Path) -> Certificates:
    database = f"sql:{folder.resolve()}"
    found: Certificates = []
    for nickname in _trusted_nicknames(_run("certutil", "-L", "-d", database).decode()):
        pem = _run("certutil", "-L", "-d", database, "-n", nickname, "-a")
        found += x509.load_pem_x509_certificates(pem)
    if not found:
        raise BadFileError("This NSS database trusts no CA to issue certificates.")
    return list(dict.fromkeys(found))


NSS_LINE = re.compile(r"(?P<name>\S.*\S|\S)\s+(?P<ssl>\w*),(?P<mail>\w*),(?P<code>\w*)\s*")


def _trusted_nicknames(listing: str) -> list[str]:
    """Those that every certificate of that name is trusted under: C issues for servers, T for
    people. Without it a certificate is only known, or distrusted on purpose (p)."""
    trusted: dict[str, bool] = {}
    for line in listing.splitlines():
        if match := NSS_LINE.fullmatch(line):
            name = match["name"]
            trusted[name] = trusted.get(name, True) and bool({"C", "T"} & set(match["ssl"]))
    return [name for name, is_trusted in trusted.items() if is_trusted]


def _run(*command: str, refused: str | None = None) -> bytes:
    program = command[0]
    path = shutil.which(program)
    if path is None:
        raise RequestError(f"This needs {PACKAGES[program]}. Install it on the server first.")
    try:
        done = subprocess.run(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TOOL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RequestError(f"{program} did not answer within {TOOL_SECONDS} seconds.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise BadFileError(refused or f"{program} refused: {said[0] if said else 'no reason'}.")
    return done.stdout
