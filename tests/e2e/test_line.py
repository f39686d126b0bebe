"""The line service of a real deployment, spoken with openssl."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pki.errors import CertificateRevokedError
from project.tls.line import NO_CERTIFICATE
from tests.e2e.server import Signet, free_ports
from tests.services import require

REVOKED = f"{CertificateRevokedError()}\r\n".encode()
NOBODY = f"{NO_CERTIFICATE}\r\n".encode()
ENDPOINT = """
from pki.models import Endpoint
from pki.changes import announce_change
main = Endpoint.objects.get(name="main")
Endpoint.objects.create(
    name="lines", address="127.0.0.1", port={port}, certificate=main.certificate, serves="line",
    client_certificate="optional", truststore=main.truststore,
)
announce_change()
"""
REMOVED = """
from pki.models import Endpoint
from pki.changes import announce_change
Endpoint.objects.filter(name="lines").delete()
announce_change()
"""


@pytest.fixture(scope="module")
def port(signet: Signet) -> Iterator[int]:
    (port,) = free_ports(1)
    signet.shell(ENDPOINT.format(port=port))
    yield port
    signet.shell(REMOVED)


def speak(signet: Signet, port: int, identity: Path | None) -> subprocess.Popen[bytes]:
    """`openssl s_client`, as soon as the endpoint listens."""
    require("openssl")
    command = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}"]
    command += ["-CAfile", str(signet.root)]
    if identity:
        command += ["-cert", str(identity), "-key", str(identity)]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        assert process.stdin is not None
        first = process.stdout.peek(1)  # type: ignore[attr-defined]
        if first:
            return process
        process.communicate(timeout=30)
        time.sleep(0.2)
    raise AssertionError("the endpoint never listened")


def rest(talk: subprocess.Popen[bytes]) -> bytes:
    """Everything that the server says until it closes."""
    assert talk.stdout is not None
    said = talk.stdout.read()
    talk.communicate(timeout=30)
    return said


def test_a_person_is_greeted_by_name_and_sent_away_when_revoked(signet: Signet, port: int) -> None:
    identity = signet.issue("lina", "--device", "modem")
    talk = speak(signet, port, identity)
    assert talk.stdout is not None
    assert talk.stdin is not None
    assert talk.stdout.readline().startswith(b"Welcome, lina (modem).")
    talk.stdin.write(b"hello\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == b"hello\r\n"

    signet.manage("revoke_certificate", "--file", str(identity), "--reason", "keyCompromise")

    assert talk.stdout.readline() == REVOKED
    assert rest(talk) == b""

    assert rest(speak(signet, port, identity)) == REVOKED
    assert "lines: line of lina from 127.0.0.1 ended after" in signet.log.read_text()


def test_somebody_without_a_certificate_is_told_so(signet: Signet, port: int) -> None:
    assert rest(speak(signet, port, None)) == NOBODY
