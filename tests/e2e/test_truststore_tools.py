"""Each export of a trust store is read back by the program it is for; see docs/truststores.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import Error, sync_playwright

from tests.certs import make_ca
from tests.e2e.browser import Profile
from tests.e2e.server import Signet
from tests.e2e.test_artefacts import published
from tests.services import require

PASSWORD = "correct-horse-battery"


def run(*command: object, check: bool = True) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, check=False, input=""
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout + done.stderr


def exported(signet: Signet, folder: Path, format: str, name: str) -> Path:
    """The store "chat" in a format, under the password above where it has one."""
    out, secret = folder / name, folder / "password"
    secret.write_text(PASSWORD)
    extra = ["--password-file", str(secret)] if format in ("pkcs12", "java") else []
    said = signet.manage(
        "export_truststore", "chat", "--format", format, "--out", str(out), *extra
    ).stdout
    assert re.search(r"CN=.*, SHA-256 [0-9a-f]{64}$", said.strip()), said
    return out


def fingerprint(signet: Signet) -> str:
    shown = run("openssl", "x509", "-in", signet.root, "-noout", "-fingerprint", "-sha256")
    return shown.split("=", 1)[1].strip()


@pytest.fixture(autouse=True)
def _openssl():
    require("openssl")


@pytest.mark.parametrize("format", ["pem", "der"])
def test_openssl_reads_pem_and_der(signet, tmp_path, format):
    out = exported(signet, tmp_path, format, f"roots.{format}")
    shown = run(
        *("openssl", "x509", "-inform", format, "-in", out, "-noout", "-fingerprint", "-sha256")
    )
    assert fingerprint(signet) in shown


def test_curl_trusts_the_server_by_the_pem(signet, tmp_path):
    require("curl")
    out = exported(signet, tmp_path, "pem", "roots.pem")
    told = json.loads(run("curl", "-sS", "--cacert", out, signet.url("/whoami")))
    assert told["certificate"]["authorization_error"] == "no_certificate"


def test_curl_trusts_the_server_by_the_hashed_folder(signet, tmp_path):
    require("curl")
    folder = exported(signet, tmp_path, "hashed-dir", "hashed")
    told = json.loads(run("curl", "-sS", "--capath", folder, signet.url("/whoami")))
    assert told["certificate"]["presented"] is False
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = ["--capath", empty]
    assert "SSL certificate problem" in run(
        "curl", "-sS", *nothing, signet.url("/whoami"), check=False
    )


def test_gnutls_reads_pem_and_der(signet, tmp_path):
    require("certtool")
    for format, flag in (("pem", []), ("der", ["--inder"])):
        out = exported(signet, tmp_path, format, f"roots.{format}")
        shown = run("certtool", "-i", *flag, "--infile", out)
        assert fingerprint(signet).replace(":", "").lower() in shown


def test_openssl_and_gnutls_read_pkcs7(signet, tmp_path):
    require("certtool")
    out = exported(signet, tmp_path, "p7b", "roots.p7b")
    shown = run("openssl", "pkcs7", "-inform", "DER", "-in", out, "-print_certs", "-noout")
    assert shown.count("subject=") == 1
    assert "Signet" in shown
    assert "Number of certificates: 1" in run("certtool", "--p7-info", "--inder", "--infile", out)


def test_openssl_verifies_by_hashed_names(signet, tmp_path):
    folder = exported(signet, tmp_path, "hashed-dir", "hashed")
    [file] = folder.iterdir()
    assert file.name == f"{run('openssl', 'x509', '-in', file, '-noout', '-hash').strip()}.0"
    issuing, _ = published(signet, tmp_path)
    identity = signet.issue("harriet")
    verified = run(
        *("openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", folder),
        *("-untrusted", issuing, identity),
    )
    assert verified.strip().endswith(": OK")


def test_folder_that_has_something_in_it_is_left_alone(signet, tmp_path):
    folder = exported(signet, tmp_path, "hashed-dir", "hashed")
    again = signet.manage(
        *("export_truststore", "chat", "--format", "hashed-dir", "--out", str(folder)), check=False
    )
    assert again.returncode == 1
    assert "is not empty" in again.stderr


def test_nss_lists_and_verifies(signet, tmp_path):
    require("certutil")
    folder = exported(signet, tmp_path, "nss", "nssdb")
    listed = run("certutil", "-L", "-d", f"sql:{folder}")
    assert re.search(r"^signet-\S+\s+CT,,\s*$", listed, re.M), listed
    nickname = re.search(r"^(signet-\S+)", listed, re.M)[1]
    shown = run("certutil", "-L", "-d", f"sql:{folder}", "-n", nickname)
    assert fingerprint(signet) in shown
    issuing, _ = published(signet, tmp_path)
    identity = signet.issue("norma")
    for name, file in (("issuing", issuing), ("norma", identity)):
        run("certutil", "-A", "-d", f"sql:{folder}", "-n", name, "-t", ",,", "-i", file)
    verdict = run("certutil", "-V", "-d", f"sql:{folder}", "-n", "norma", "-u", "C")
    assert "certificate is valid" in verdict


@pytest.mark.browser
def test_chromium_trusts_the_server_by_the_nss_database(signet, tmp_path):
    require("chromium", "certutil")
    with sync_playwright() as playwright:
        _compare(playwright, signet, tmp_path)


def _compare(playwright, signet, tmp_path):
    url = signet.url("/", port=signet.enrol)
    stranger = Profile(playwright, tmp_path / "stranger")
    with stranger.open() as browser, pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        browser.new_page().goto(url)
    knowing = Profile(playwright, tmp_path / "knowing")
    shutil.copytree(
        exported(signet, tmp_path, "nss", "nssdb"),
        tmp_path / "knowing/.pki/nssdb",
        dirs_exist_ok=True,
    )
    with knowing.open() as browser:
        page = browser.new_page()
        assert page.goto(url).ok
        assert "Signet" in page.title()


def test_openssl_and_nss_read_pkcs12(signet, tmp_path):
    require("certutil", "pk12util")
    out = exported(signet, tmp_path, "pkcs12", "roots.p12")
    shown = run("openssl", "pkcs12", "-in", out, "-nokeys", "-passin", f"pass:{PASSWORD}")
    assert shown.count("BEGIN CERTIFICATE") == 1
    assert "Mac verify error" in run(
        "openssl", "pkcs12", "-in", out, "-nokeys", "-passin", "pass:wrong", check=False
    )
    run("pk12util", "-l", out, "-W", PASSWORD)


def test_keytool_lists_trusted_entries(signet, tmp_path):
    require("keytool")
    out = exported(signet, tmp_path, "java", "roots-java.p12")
    listed = run("keytool", "-list", "-v", "-keystore", out, "-storepass", PASSWORD)
    assert "trustedCertEntry" in listed
    assert fingerprint(signet) in listed


CLIENT = """
import java.io.*; import java.net.*; import java.security.*; import javax.net.ssl.*;
public class Client {
    static KeyStore load(String path, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = new FileInputStream(path)) { store.load(in, password); }
        return store;
    }
    public static void main(String[] args) throws Exception {
        char[] password = args[3].toCharArray();
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(load(args[1], password));
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(load(args[2], password), password);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        HttpsURLConnection connection = (HttpsURLConnection) new URL(args[0]).openConnection();
        connection.setSSLSocketFactory(context.getSocketFactory());
        System.out.println(new String(connection.getInputStream().readAllBytes(), "UTF-8"));
    }
}
"""


def test_java_client_uses_the_trust_store_and_a_persons_file(signet, tmp_path):
    """The .p12 of a person is a Java key store; the export is a Java trust store."""
    require("java", "javac", "keytool")
    roots, alice = exported(signet, tmp_path, "java", "roots.p12"), tmp_path / "alice.p12"
    signet.manage(
        *("issue_certificate", "java", "--create-user", "--format", "p12", "--out", str(alice)),
        *("--password-file", str(tmp_path / "password")),
    )
    listed = run("keytool", "-list", "-keystore", alice, "-storepass", PASSWORD)
    assert "PrivateKeyEntry" in listed
    (tmp_path / "Client.java").write_text(CLIENT)
    run("javac", "-d", tmp_path, tmp_path / "Client.java")

    told = run("java", "-cp", tmp_path, "Client", signet.url("/whoami"), roots, alice, PASSWORD)

    assert json.loads(told)["user"]["username"] == "java"
    # A file of certificates alone is no trust store to Java: it must refuse the server.
    plain = exported(signet, tmp_path, "pkcs12", "plain.p12")
    refused = run(
        *("java", "-cp", tmp_path, "Client", signet.url("/whoami"), plain, alice, PASSWORD),
        check=False,
    )
    assert "username" not in refused


@pytest.mark.parametrize("format", ["pem", "der", "p7b", "hashed-dir", "nss", "pkcs12", "java"])
def test_every_export_is_imported_again(signet, tmp_path, format):
    if format == "nss":
        require("certutil")
    out = exported(signet, tmp_path, format, "out")
    extra = ["--password-file", str(tmp_path / "password")] if format in ("pkcs12", "java") else []
    said = signet.manage(
        *("import_anchor", str(out), "--truststore", "chat", "--list"), *extra
    ).stdout
    assert said.strip().endswith(": known")


def test_downloads_of_the_enrol_endpoint_are_for_everybody(signet, tmp_path):
    require("curl")
    got = tmp_path / "roots.pem"
    url = signet.url("/truststore/pem/", port=signet.enrol)
    run("curl", "-sS", "--fail", "--cacert", signet.root, "-o", got, url)
    assert got.read_bytes().strip() == signet.root.read_bytes().strip()
    refused = run(
        *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", signet.root),
        signet.url("/console/pki/truststore/1/export/pem/"),
    )
    assert refused == "401"


def test_certificate_of_a_partner_signs_in_once_it_is_adopted(own_signet, tmp_path):
    """The handshake passes by the imported root; the person is known by the adoption alone."""
    require("curl")
    partner = make_ca("Partner Root")
    leaf = partner.issue("partner").write_pem(tmp_path / "leaf.pem")
    for name, content in (
        ("root.pem", partner.pem),
        ("root.crl", partner.crl().public_bytes(Encoding.DER)),
    ):
        (tmp_path / name).write_bytes(content)
    own_signet.manage("import_anchor", str(tmp_path / "root.pem"), "--truststore", "chat")
    own_signet.manage("import_crl", str(tmp_path / "root.crl"))
    own_signet.issue("alice")
    own_signet.start()

    def whoami():
        url = own_signet.url("/whoami")
        return json.loads(run("curl", "-sS", "--cacert", own_signet.root, "--cert", leaf, url))

    assert whoami()["certificate"]["authorization_error"] == "certificate_not_trusted"
    own_signet.manage("adopt_certificate", "alice", str(leaf), "--truststore", "chat")
    assert whoami()["user"]["username"] == "alice"
