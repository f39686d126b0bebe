"""Requests and PKCS #12 files that the browser packs, judged by the tools that import them."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from pki.handout import PASSWORD_ALPHABET, make_password
from tests.certs import Leaf, make_ca
from tests.e2e.modules import Run, modules
from tests.openssl import openssl
from tests.services import require

pytestmark = pytest.mark.browser
PASSWORD = "gk4t-9mwz-c3pf-7xhv"
NAME = "zoë-laptop"
PRELUDE = """
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const { bits, bmp, identifier, integer, nothing, retagged, sequence, set, tagged, utf8 } = der;
const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
"""


@dataclass(frozen=True)
class Made:
    """A key made in the browser, its request, and the file that the browser packed."""

    leaf: Leaf
    csr: str
    file: Path

    def openssl(self, *arguments: object, **options: Any) -> str:
        return openssl("pkcs12", "-in", self.file, *arguments, **options)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    paths = {name: f"pki/x509/{name}.js" for name in ("der", "key", "request", "pkcs12")}
    with modules(password="pki/password.js", **paths) as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


@pytest.fixture(scope="module")
def made(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Made:
    private, csr = run("""
        window.made = await key.makeKey();
        return [base64(await key.privateBytes(made)),
          await request.makeRequest(made, { commonName: "zoë" })];
    """)
    secret = load_der_private_key(base64.b64decode(private), None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    leaf = make_ca("Example Root").make_ca("Example Issuing").issue("zoë", key=secret)
    chain = [leaf.certificate, *leaf.issuers]
    pems = [one.public_bytes(Encoding.PEM).decode() for one in chain]
    packed = run(f"""
        return base64(await pkcs12.pack({{ key: window.made, certificates: {pems!r},
          password: {PASSWORD!r}, name: {NAME!r} }}));
    """)
    file = tmp_path_factory.mktemp("p12") / "identity.p12"
    file.write_bytes(base64.b64decode(packed))
    return Made(leaf, csr, file)


# --- DER ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made_by", "expected"),
    [
        ("integer(0)", "020100"),
        ("integer(127)", "02017f"),
        ("integer(128)", "02020080"),
        ("integer(100000)", "02030186a0"),
        ("integer(Uint8Array.of(0, 0, 5))", "020105"),
        ("integer(Uint8Array.of(0, 0x80))", "02020080"),
        ("integer(Uint8Array.of(0, 0))", "020100"),
        ("identifier('1.2.840.113549.1.7.1')", "06092a864886f70d010701"),
        ("identifier('2.16.840.1.101.3.4.2.1')", "0609608648016503040201"),
        ("set(integer(2), integer(1), integer(256))", "310a" + "020101" + "020102" + "02020100"),
        ("bmp('zoë')", "1e06" + "007a" + "006f" + "00eb"),
        ("utf8('zoë')", "0c04" + "7a6fc3ab"),
        ("bits(Uint8Array.of(7))", "03020007"),
        ("tagged(0, integer(1))", "a003020101"),
        ("retagged(0, Uint8Array.of(9))", "800109"),
        ("nothing()", "0500"),
        ("sequence()", "3000"),
    ],
)
def test_values_have_their_der(run: Run, made_by: str, expected: str) -> None:
    assert run(f"return hex({made_by});") == expected


@pytest.mark.parametrize(
    ("length", "header"),
    [(127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100"), (65536, "0483010000")],
)
def test_lengths_are_as_short_as_they_can_be(run: Run, length: int, header: str) -> None:
    assert run(f"return hex(der.octets(new Uint8Array({length}))).slice(0, {len(header)});") == (
        header
    )


def test_pem_survives_both_ways(run: Run) -> None:
    assert run("""
        const bytes = Uint8Array.from({ length: 200 }, (_, at) => at);
        return hex(der.fromPem(der.toPem("X", bytes))) === hex(bytes);
    """)


# --- The request ----------------------------------------------------------------------------


def test_request_is_signed_with_its_own_key_and_names_the_person(made: Made) -> None:
    csr = x509.load_pem_x509_csr(made.csr.encode())

    assert csr.is_signature_valid
    assert csr.public_key() == made.leaf.key.public_key()
    assert [part.value for part in csr.subject] == ["zoë"]
    assert csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert not list(csr.extensions)
    assert "verify OK" in openssl("req", "-verify", "-noout", stdin=made.csr.encode())


def test_every_signature_is_der_whatever_its_numbers_begin_with(run: Run) -> None:
    """r and s begin with a high bit or with zeros now and then: 64 requests meet both."""
    csrs = run("""
        const own = await key.makeKey();
        return Promise.all(Array.from({ length: 64 }, () => request.makeRequest(own, {})));
    """)
    requests = [x509.load_pem_x509_csr(csr.encode()) for csr in csrs]
    assert all(csr.is_signature_valid for csr in requests)
    assert len({len(csr.signature) for csr in requests}) > 1
    assert not list(requests[0].subject)


# --- The file -------------------------------------------------------------------------------


def test_python_reads_the_file_whole(made: Made) -> None:
    read = pkcs12.load_pkcs12(made.file.read_bytes(), PASSWORD.encode())

    assert read.key is not None
    assert read.cert is not None
    assert read.key.private_numbers() == made.leaf.key.private_numbers()  # type: ignore[union-attr]
    assert read.cert.certificate == made.leaf.certificate
    assert read.cert.friendly_name == NAME.encode()
    assert {one.certificate for one in read.additional_certs} == set(made.leaf.issuers)


def test_openssl_reads_the_file_and_names_its_locks(made: Made) -> None:
    shown = made.openssl("-info", "-nodes", "-passin", f"pass:{PASSWORD}")

    assert shown.count("PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256") == 2
    assert "MAC: sha256, Iteration 10000" in shown
    assert shown.count("BEGIN CERTIFICATE") == 3
    assert "BEGIN PRIVATE KEY" in shown
    ids = re.findall(r"localKeyID: ([0-9A-F ]+)", shown)
    assert len(ids) == 2
    assert ids[0] == ids[1]


def test_openssl_refuses_another_password(made: Made) -> None:
    shown = made.openssl("-nodes", "-passin", "pass:gk4t-9mwz-c3pf-7xhw", fails=True)
    assert "invalid password" in shown


def test_a_changed_byte_breaks_the_mac(made: Made, tmp_path: Path) -> None:
    changed = bytearray(made.file.read_bytes())
    changed[len(changed) // 2] ^= 1
    with pytest.raises(ValueError, match=r".+"):
        pkcs12.load_pkcs12(bytes(changed), PASSWORD.encode())


def test_nss_imports_the_file(made: Made, tmp_path: Path) -> None:
    require("certutil", "pk12util")
    database = f"sql:{tmp_path}"
    tool("certutil", "-N", "-d", database, "--empty-password")
    tool("pk12util", "-d", database, "-i", made.file, "-W", PASSWORD)

    assert NAME in tool("certutil", "-L", "-d", database)
    assert NAME in tool("certutil", "-K", "-d", database)


def test_java_reads_the_file_as_a_keystore(made: Made) -> None:
    require("keytool")
    shown = tool(
        "keytool", "-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12",
        "-keystore", made.file, "-storepass", PASSWORD,
    )  # fmt: skip
    assert "PrivateKeyEntry" in shown
    assert "Certificate chain length: 3" in shown


def test_a_certificate_for_another_key_is_not_packed(run: Run, made: Made) -> None:
    stranger = make_ca("Example Root").issue("mallory").pem.decode()
    assert "not for the key" in run(f"""
        return pkcs12.pack({{ key: window.made, certificates: [{stranger!r}],
          password: {PASSWORD!r}, name: "x" }}).catch((error) => error.message);
    """)


# --- The password ---------------------------------------------------------------------------


def test_passwords_have_the_form_and_the_letters_of_the_servers_own(run: Run) -> None:
    assert run("return password.ALPHABET;") == PASSWORD_ALPHABET
    made = run("return Array.from({ length: 500 }, () => password.makePassword());")

    shape = re.sub(r"[^-]", "x", make_password())
    assert {re.sub(r"[^-]", "x", each) for each in made} == {shape}
    assert set("".join(made)) == {*PASSWORD_ALPHABET, "-"}
    assert len(set(made)) == 500


def tool(*command: object) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
