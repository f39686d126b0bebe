"""Settings made behind Python's back, seen from the wire."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from project.tls import openssl
from tests.project.tls.conftest import Ground
from tests.services import require

pytestmark = pytest.mark.skipif(
    not openssl.IS_IN_REACH, reason="this Python does not let us at its OpenSSL"
)


@pytest.mark.parametrize("policy", ["intermediate", "modern"])
@pytest.mark.parametrize(
    ("group", "works"),
    [("X25519", True), ("P-256", True), ("P-384", True), ("P-521", False), ("X448", False)],
)
def test_keys_are_agreed_on_in_the_usual_groups_alone(ground: Ground, policy, group, works):
    require("openssl")
    port = ground.serve("none", policy=policy)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-groups", group]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    assert (b"Cipher is (NONE)" not in done.stdout) is works


def test_what_is_set_on_a_context_stays_there():
    """Flags and groups are this context's alone."""
    changed, other = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in "12")
    openssl.check_crls(changed)
    openssl.limit_groups(changed)
    assert changed.verify_flags == other.verify_flags
    assert changed.options == other.options


def test_a_setting_that_openssl_refuses_is_said(monkeypatch):
    monkeypatch.setattr(openssl, "GROUPS", "no-such-group")
    with pytest.raises(RuntimeError, match="did not take the groups"):
        openssl.limit_groups(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_out_of_reach_is_said(monkeypatch):
    monkeypatch.setattr(openssl, "LIBRARY", None)
    with pytest.raises(RuntimeError, match="does not let us"):
        openssl.check_crls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
