"""`manage.py test_endpoint` against the running product, and what the product keeps of it."""

from __future__ import annotations

import json
import time

ENDED = "the server ended the handshake with"
KEPT = """
import json
from project.models import HandshakeFailure
rows = HandshakeFailure.objects.filter(endpoint="strict", subject="CN=endpoint-test")
print(json.dumps(sorted(rows.values_list("reason", "protocol", "server_name"))))
"""


def test_optional_endpoint_lets_the_site_explain(signet):
    done = signet.manage("test_endpoint", "main")

    told = done.stdout.splitlines()
    assert all(sentence.endswith("Right.") for sentence in told), done.stdout
    assert len(told) == 13
    for version in ("TLS 1.2", "TLS 1.3"):
        assert (
            f"As somebody with an expired certificate in {version}: the server let them in, and the "
            "site said: “Your certificate has expired.” Right." in told
        )
        assert (
            f"As somebody with a certificate of another CA in {version}: {ENDED} “unknown ca”. "
            "Right." in told
        )
        assert (
            f"As somebody with a good certificate in {version}: the server let them in, and the site "
            "knew whose it is. Right." in told
        )


def test_failures_of_the_test_are_kept_with_reason_and_certificate(signet):
    done = signet.manage("test_endpoint", "strict")
    assert all(sentence.endswith("Right.") for sentence in done.stdout.splitlines()), done.stdout

    expected = {"certificate has expired", "certificate revoked"}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        kept = json.loads(signet.shell(KEPT))
        if {reason for reason, _, _ in kept} == expected:
            break
        time.sleep(0.2)
    assert {reason for reason, _, _ in kept} == expected
    assert {(protocol, name) for _, protocol, name in kept} <= {
        ("TLS 1.2", "localhost"),
        ("TLS 1.3", "localhost"),
    }
