"""What a request may know of its connection."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest

from project.tls import scope
from tests.certs import make_ca
from tests.project.tls.conftest import TLS12, TLS13

NOW = dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(
    ("version", "name", "number"), [(TLS12, "TLSv1.2", 0x0303), (TLS13, "TLSv1.3", 0x0304)]
)
def test_connection_facts_come_from_the_handshake(ground, world, version, name, number):
    port = ground.serve("optional")
    with ground.connect(port, "good", version) as client:
        client.sendall(b"x")
        client.recv(1)
        (server,) = ground.ports.connections()
        suite, *_ = client.cipher()
        facts, tls = server.extensions["signet.connection"], server.extensions["tls"]
    assert (facts.endpoint, facts.serves, facts.client_certificate) == ("main", "main", "optional")
    assert (facts.tls.version, facts.tls.cipher) == (name, suite)
    assert (facts.tls.resumed, facts.tls.server_name) == (False, "localhost")
    assert facts.backlog() == 0
    good = world.clients["good"]
    assert tls == {
        "server_cert": ssl.DER_cert_to_PEM_cert(world.server.der),
        "client_cert_chain": [good.pem.decode()],
        "client_cert_name": "CN=alice",
        "client_cert_error": None,
        "tls_version": number,
        "cipher_suite": scope.CIPHER_SUITES[suite],
    }


def test_plain_connection_has_no_tls_extension(ground):
    import socket

    port = ground.serve(tls=False)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"x")
        client.recv(1)
        (server,) = ground.ports.connections()
        assert server.extensions["signet.connection"].tls is None
        assert "tls" not in server.extensions


def test_every_suite_of_the_contexts_has_its_number(world):
    for suite in world.contexts("none").full.get_ciphers():
        assert scope.CIPHER_SUITES[suite["name"]] == suite["id"] & 0xFFFF


@pytest.mark.parametrize(
    ("days", "error"),
    [(-2, "certificate is not yet valid"), (1, None), (400, "certificate has expired")],
)
def test_extension_says_what_optional_leaves_out(days, error):
    ca = make_ca("Root")
    leaf = ca.issue("alice", not_before=NOW, not_after=NOW + dt.timedelta(days=365))
    tls = scope.TLS(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", certificate=leaf.der)
    extension = scope.tls_extension(
        tls, server_certificate=ca.der, at=NOW + dt.timedelta(days=days)
    )
    assert extension["client_cert_error"] == error


def test_no_certificate_is_an_empty_chain():
    tls = scope.TLS(version="TLSv1.2", cipher="ECDHE-RSA-AES128-GCM-SHA256")
    extension = scope.tls_extension(tls, server_certificate=b"", at=NOW)
    assert extension["client_cert_chain"] == []
    assert extension["client_cert_name"] is None
    assert extension["cipher_suite"] == 0xC02F
