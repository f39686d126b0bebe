"""What strangers' scanners say of our endpoints. docs/scanners.md explains what they may complain of."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Signet
from tests.services import require

HOST = "signet.test"  # localhost would do without Strict-Transport-Security
MODERN = """
from pki.changes import announce_change
from pki.models import Endpoint
main = Endpoint.objects.get(name="main")
Endpoint.objects.create(
    name="modern", address="127.0.0.1", port={port}, certificate=main.certificate, policy="modern",
    client_certificate="optional", truststore=main.truststore, serves="main",
)
announce_change()
"""
FINE = {"OK", "INFO"}
EXPLAINED = {
    "OCSP_stapling",  # Python's TLS cannot, and clients of a private CA ask the responder
    "engine_problem",  # of the scanner's own openssl
}
SEEN = {"BREACH", "HSTS_time", "PFS_ECDHE_curves", "TLS1_3", "cert_chain_of_trust", "cipher_order"}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signet]:
    deployment = Signet(
        tmp_path_factory.mktemp("named") / "var", extra={"SIGNET_HOST": f"{HOST},localhost"}
    )
    deployment.set_up()
    deployment.shell(MODERN.format(port=deployment.required))
    deployment.start()
    yield deployment
    if deployment.process:
        deployment.stop()


def test_testssl_finds_nothing_that_is_not_explained(named: Signet, tmp_path: Path) -> None:
    require("testssl")
    report = tmp_path / "report.json"
    what = ["-p", "-f", "-P", "-S", "-h", "-U"]
    how = ["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"]
    where = ["--add-ca", str(named.root), "--jsonfile", str(report), f"{HOST}:{named.main}"]
    done = subprocess.run(
        ["testssl", *how, *what, *where], capture_output=True, text=True, timeout=600
    )
    assert report.exists(), done.stdout
    findings = json.loads(report.read_text())
    assert {finding["id"] for finding in findings} >= SEEN
    complaints = {f["id"]: f["finding"] for f in findings if f["severity"] not in FINE}
    assert complaints.keys() <= EXPLAINED, complaints


@pytest.mark.parametrize(("policy", "port"), [("intermediate", "main"), ("modern", "required")])
def test_sslyze_finds_what_mozilla_recommends(named: Signet, policy: str, port: str) -> None:
    require("sslyze")
    target = f"{HOST}:{getattr(named, port)}{{127.0.0.1}}"
    done = subprocess.run(
        [
            *("sslyze", "--mozilla_config", policy, "--certinfo"),
            *("--certinfo_ca_file", str(named.root), target),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    complaints = re.findall(r"^\s+\* (\w+): (.*)$", verdict, re.M)
    assert complaints == [], done.stdout
    assert "OK - Compliant" in verdict
