"""OCSP over HTTP while other processes change the database: answers are right within a second."""

from __future__ import annotations

import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.e2e.server import REPOSITORY, Signet
from tests.services import require

Status = ocsp.OCSPCertStatus
IN_TIME = 1.0

MARKED_REVOCATION = """
import time
from django.utils import timezone
from pki import revocation
from pki.models import Certificate
certificate = Certificate.objects.get(sha256="{fingerprint}")
revocation.revoke(actor="e2e", certificate=certificate, reason="{reason}", at=timezone.now())
print("committed", time.time())
"""


@pytest.fixture(scope="module")
def delegated(signet: Signet) -> Signet:
    signet.manage("renew_responder")
    return signet


def question(identity: Path) -> bytes:
    leaf, issuing = x509.load_pem_x509_certificates(identity.read_bytes())[:2]
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, SHA1())
    return builder.build().public_bytes(Encoding.DER)


def url(signet: Signet, request: bytes) -> str:
    encoded = quote(b64encode(request).decode(), safe="")
    return f"http://localhost:{signet.public}/ocsp/signet-issuing/{encoded}"


def ask(signet: Signet, request: bytes) -> tuple[ocsp.OCSPResponse, str]:
    """The answer that curl gets, and the headers."""
    require("curl")
    done = subprocess.run(
        ["curl", "-sS", "--fail", "-i", url(signet, request)],
        capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return ocsp.load_der_ocsp_response(body), head.decode().lower()


def moment(output: str) -> float:
    """When the other process had committed."""
    line = next(line for line in output.splitlines() if line.startswith("committed"))
    return float(line.split()[1])


def test_a_kept_answer_follows_a_revocation_by_another_process_within_a_second(delegated):
    identity = delegated.issue("rita")
    leaf = x509.load_pem_x509_certificates(identity.read_bytes())[0]
    request = question(identity)
    first = [ask(delegated, request)[0] for _ in range(6)]
    assert {answer.certificate_status for answer in first} == {Status.GOOD}
    kept = {answer.signature for answer in first}
    assert (
        len(kept) < 4
    )  # the clock may have begun anew meanwhile: a responder, what is signed ahead

    revoking = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c",
         MARKED_REVOCATION.format(
             fingerprint=leaf.fingerprint(SHA256()).hex(), reason="keyCompromise")],
        cwd=REPOSITORY, env=delegated.environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    last_good = 0.0
    deadline = time.monotonic() + 60
    while (answer := ask_at(delegated, request))[1].certificate_status is Status.GOOD:
        last_good = answer[0]
        assert revoking.poll() in (None, 0), "the revocation failed"
        assert time.monotonic() < deadline
    assert answer[1].certificate_status is Status.REVOKED
    assert answer[1].revocation_reason is x509.ReasonFlags.key_compromise
    committed = moment(revoking.communicate(timeout=60)[0])
    assert last_good - committed < IN_TIME


def ask_at(signet: Signet, request: bytes) -> tuple[float, ocsp.OCSPResponse]:
    """When it was asked, and the answer."""
    at = time.time()
    return at, ask(signet, request)[0]


def test_a_certificate_that_another_process_issues_is_known_at_once(delegated):
    identity = delegated.issue("nina")
    answer, _ = ask(delegated, question(identity))
    assert answer.certificate_status is Status.GOOD


def test_curl_meets_headers_that_caches_obey(delegated):
    request = question(delegated.issue("hana"))
    for _ in range(2):  # from Django and from memory
        _, headers = ask(delegated, request)
        for line in (
            "content-type: application/ocsp-response",
            "cache-control: max-age=60, public, no-transform, must-revalidate",
            "expires: ", "last-modified: ", 'etag: "', "date: ",
        ):  # fmt: skip
            assert headers.count(line) == 1, (line, headers)
    tag = headers.split('etag: "')[1].split('"')[0]
    again = subprocess.run(
        ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
         "-H", f'If-None-Match: "{tag}"', url(delegated, request)],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert again.stdout == "304"


def test_the_answer_is_signed_by_the_responder(delegated):
    answer, _ = ask(delegated, question(delegated.issue("dora")))
    (certificate,) = answer.certificates
    assert "OCSP responder" in certificate.subject.rfc4514_string()
    assert answer.responder_key_hash
