"""openssl and curl judge what the running product publishes."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.server import Signet
from tests.services import require


@pytest.fixture(autouse=True)
def _tools():
    require("openssl", "curl")


def openssl(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30, input=""
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def fetch(url: str, out: Path) -> str:
    """Download with curl; the response headers."""
    done = subprocess.run(
        ["curl", "-sS", "--fail", "-D", "-", "-o", out, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.lower()


def published(signet: Signet, folder: Path) -> tuple[Path, Path]:
    """Everything a stranger can fetch: the issuing CA's certificate, and all CRLs in one file."""
    base, crls = f"http://localhost:{signet.public}", folder / "crls.pem"
    crls.write_text("")
    for slug in ("signet-root", "signet-issuing"):
        der = folder / f"{slug}.crl"
        assert "application/pkix-crl" in fetch(f"{base}/crl/{slug}.crl", der)
        with crls.open("a") as file:
            file.write(openssl("crl", "-inform", "DER", "-in", der).stdout)
    issuing = folder / "issuing.pem"
    der = folder / "issuing.cer"
    assert "application/pkix-cert" in fetch(f"{base}/ca/signet-issuing.cer", der)
    issuing.write_text(openssl("x509", "-inform", "DER", "-in", der).stdout)
    return issuing, crls


def verify(signet: Signet, identity: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    issuing, crls = published(signet, folder)
    return openssl(
        "verify", "-x509_strict", "-crl_check_all", "-purpose", "sslclient",
        "-CAfile", signet.root, "-untrusted", issuing, "-CRLfile", crls, identity,
        check=False,
    )  # fmt: skip


def ocsp(signet: Signet, identity: Path, folder: Path, *extra: str) -> str:
    issuing, _ = published(signet, folder)
    done = openssl(
        "ocsp", "-issuer", issuing, *extra, "-cert", identity, "-CAfile", signet.root,
        "-url", f"http://localhost:{signet.public}/ocsp/signet-issuing/", check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_openssl_verifies_before_and_refuses_after_revocation(signet, tmp_path):
    identity = signet.issue("vera")
    assert verify(signet, identity, tmp_path).stdout.strip().endswith(": OK")

    signet.manage("revoke_certificate", "--user", "vera", "--reason", "superseded")

    refused = verify(signet, identity, tmp_path)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr


@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_openssl_ocsp_says_good_then_revoked_with_the_reason(signet, tmp_path, digest):
    identity = signet.issue(f"olga{digest}")
    before = ocsp(signet, identity, tmp_path, digest)
    assert "Response verify OK" in before
    assert f"{identity}: good" in before
    assert "WARNING: no nonce" not in before

    signet.manage("revoke_certificate", "--file", str(identity), "--reason", "keyCompromise")

    after = ocsp(signet, identity, tmp_path, digest)
    assert "Response verify OK" in after
    assert f"{identity}: revoked" in after
    assert "Reason: keyCompromise" in after


def test_ocsp_calls_a_serial_it_never_issued_unknown(signet, tmp_path):
    issuing, _ = published(signet, tmp_path)
    done = openssl(
        "ocsp", "-issuer", issuing, "-serial", "0x1234567890abcdef", "-CAfile", signet.root,
        "-url", f"http://localhost:{signet.public}/ocsp/signet-issuing/",
    )  # fmt: skip
    assert "0x1234567890abcdef: unknown" in done.stdout


def test_ocsp_answers_get(signet, tmp_path):
    issuing, _ = published(signet, tmp_path)
    identity, request = signet.issue("gerda"), tmp_path / "request.der"
    openssl("ocsp", "-issuer", issuing, "-cert", identity, "-no_nonce", "-reqout", request)
    encoded = openssl("base64", "-A", "-in", request).stdout
    quoted = encoded.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    answer = tmp_path / "answer.der"

    headers = fetch(f"http://localhost:{signet.public}/ocsp/signet-issuing/{quoted}", answer)

    assert "application/ocsp-response" in headers
    text = openssl("ocsp", "-respin", answer, "-issuer", issuing, "-cert", identity,
                   "-CAfile", signet.root).stdout  # fmt: skip
    assert f"{identity}: good" in text


def test_s_client_trusts_every_tls_endpoint(signet):
    for port in (signet.main, signet.enrol):
        done = openssl(
            "s_client", "-connect", f"localhost:{port}", "-servername", "localhost",
            "-verify_hostname", "localhost", "-verify_return_error", "-x509_strict",
            "-CAfile", signet.root,
        )  # fmt: skip
        assert "Verify return code: 0 (ok)" in done.stdout
        assert "Compression: NONE" in done.stdout


def test_tls_below_1_2_is_refused(signet):
    done = openssl(
        "s_client", "-connect", f"localhost:{signet.main}", "-tls1_1", "-cipher",
        "ALL:@SECLEVEL=0", check=False,
    )  # fmt: skip
    assert "alert protocol version" in done.stderr


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_session_is_resumed(signet, tmp_path, version):
    """A resumed session would carry an identity past the certificate check."""
    identity, session = signet.issue(f"tess{version}"), tmp_path / "session.pem"
    arguments = ["s_client", "-connect", f"localhost:{signet.main}", version, "-CAfile",
                 signet.root, "-cert", identity, "-key", identity]  # fmt: skip
    first = openssl(*arguments, "-sess_out", session)
    assert "Verify return code: 0 (ok)" in first.stdout
    if not session.exists():
        return  # the server offered nothing to resume
    assert re.search(r"^Reused, ", openssl(*arguments, "-sess_in", session).stdout, re.M) is None


def test_new_crl_ends_the_next_handshake_of_a_required_endpoint_within_a_second(signet, tmp_path):
    identity = signet.issue("hanna")
    ask = ["curl", "-sS", "--cacert", signet.root, "--cert", identity, "--key", identity,
           signet.url("/whoami", port=signet.required)]  # fmt: skip
    assert subprocess.run(ask, capture_output=True, timeout=20).returncode == 0

    signet.manage("revoke_certificate", "--user", "hanna", "--reason", "keyCompromise")
    time.sleep(2)  # a second, and one for a slow machine

    refused = subprocess.run(ask, capture_output=True, text=True, timeout=20)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr


def test_every_command_that_fails_says_one_sentence(signet, tmp_path):
    for arguments in (
        ["issue_certificate", "nobody", "--out", str(tmp_path / "x.pem")],
        ["revoke_certificate", "--serial", "ff", "--reason", "superseded"],
        ["publish_crl", "--ca", "none"],
        ["export_truststore", "none", "--format", "pem", "--out", str(tmp_path / "x")],
        ["import_anchor", str(tmp_path / "missing.pem"), "--truststore", "chat"],
        ["verify_certificate", str(tmp_path / "missing.pem"), "--truststore", "chat"],
        ["create_ca", "Signet Root"],
    ):
        done = signet.manage(*arguments, check=False)
        assert done.returncode != 0, arguments
        assert done.stdout == "", arguments
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_verify_certificate_gives_the_verdict_of_an_endpoint(signet, tmp_path):
    identity = signet.issue("vic")
    done = signet.manage("verify_certificate", str(identity), "--truststore", "chat")
    assert done.stdout.startswith("trusted: CN=vic ← CN=Signet Issuing ← CN=Signet Root")

    signet.manage("revoke_certificate", "--user", "vic", "--reason", "superseded")
    refused = signet.manage(
        "verify_certificate", str(identity), "--truststore", "chat", check=False
    )
    assert refused.returncode == 1
    assert "revoked" in refused.stderr


def test_audit_trail_is_unbroken_until_somebody_changes_it(own_signet):
    own_signet.issue("alice")
    assert "unbroken" in own_signet.manage("verify_audit").stdout

    own_signet.shell(
        "from pki.models import *; AuditEntry.objects.filter(sequence=3).update(actor='x')"
    )

    broken = own_signet.manage("verify_audit", check=False)
    assert broken.returncode == 1
    assert "entry 3 has been changed" in broken.stderr


def test_missing_master_key_is_refused_and_never_replaced(own_signet, tmp_path):
    key = own_signet.home / "master.key"
    key.rename(tmp_path / "kept.key")
    for command in (
        ["bootstrap"],
        ["issue_certificate", "eve", "--create-user", "--out", str(tmp_path / "eve.pem")],
        ["serve"],
    ):
        done = own_signet.manage(*command, check=False)
        assert done.returncode != 0, command
        assert "master key" in done.stderr, command
        assert "Traceback" not in done.stderr
        assert not key.exists(), command
    assert not (tmp_path / "eve.pem").exists()


def test_bootstrap_twice_changes_nothing_but_the_link(own_signet):
    count = "from pki.models import *; print(Certificate.objects.count(), Endpoint.objects.count())"
    before = own_signet.shell(count)
    again = own_signet.manage("bootstrap").stdout
    assert "made" not in again
    assert own_signet.shell(count) == before
