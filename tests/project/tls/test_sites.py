"""Server certificates by host name and by kind of key, judged by OpenSSL's own client."""

from __future__ import annotations

import socket
import ssl
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from project.tls import context
from project.tls.listeners import Wanted
from project.tls.sites import ServerCertificate, arrange
from tests.certs import SERVER
from tests.project.tls.conftest import TLS12, TLS13
from tests.project.tls.test_connection import until
from tests.services import require

RSA = rsa.generate_private_key(65537, 2048)
POLICIES = pytest.mark.parametrize("policy", ["intermediate", "modern"])


@pytest.fixture(scope="module")
def make(world):
    """A server certificate for these names, ready for a context."""

    def make(*hosts, key=None):
        leaf = world.issuing.issue(hosts[0], purposes=SERVER, hosts=hosts, key=key)
        path = leaf.write_pem(world.directory / f"{leaf.certificate.serial_number}.pem")
        return ServerCertificate(leaf.der, lambda target: target.load_cert_chain(path))

    return make


@pytest.fixture
def serve(ground):
    def serve(default, *further, mode="none", policy="intermediate"):
        contexts = context.build(
            policy=policy,
            client_certificate=mode,
            snapshot=None
            if mode == "none"
            else ground.world.trust(ground.world.clients["revoked"]),
            load_chain=default.load,
            certificate=default.der,
            further=further,
        )
        wanted = ground.wanted(mode, policy=policy)
        ground.on_loop(ground.ports.start, [Wanted(wanted.settings, contexts)])
        return wanted.settings.port

    return serve


def shown(ground, port, name, version=TLS13, who=None):
    """The certificate that a client asking for this name is shown; and what the server says it
    sent."""
    client = ground.world.client(who, version)
    client.check_hostname = False
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    with client.wrap_socket(plain, server_hostname=name) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        told = ground.on_loop(lambda: [c.extensions["tls"] for c in ground.ports.connections()])
        seen = connection.getpeercert(binary_form=True)
    assert [ssl.PEM_cert_to_DER_cert(one["server_cert"]) for one in told] == [seen]
    return seen


@POLICIES
@pytest.mark.parametrize("mode", ["none", "optional", "required"])
def test_each_name_has_its_certificate(ground, serve, make, mode, policy):
    first, second = make("localhost"), make("chat.example.org", "*.rooms.example.org")
    port = serve(first, second, mode=mode, policy=policy)
    expected = {
        "localhost": first,
        "chat.example.org": second,
        "CHAT.example.ORG": second,
        "one.rooms.example.org": second,
        "two.one.rooms.example.org": first,
        "rooms.example.org": first,
        "elsewhere.example.net": first,
        None: first,
    }
    for name, certificate in expected.items():
        assert shown(ground, port, name, who="good" if mode == "required" else None) == (
            certificate.der
        ), name
        wait_until_gone(ground)


def wait_until_gone(ground):
    until(lambda: not ground.on_loop(ground.ports.connections))


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("name", ["localhost", "chat.example.org"])
@pytest.mark.parametrize(
    ("who", "alert"),
    [
        ("revoked", "CERTIFICATE_REVOKED"),
        ("expired", "CERTIFICATE_EXPIRED"),
        ("foreign", "UNKNOWN_CA"),
        (None, "CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"),
    ],
)
def test_every_name_meets_the_same_trust(ground, serve, make, version, name, who, alert):
    port = serve(make("localhost"), make("chat.example.org"), mode="required")
    with pytest.raises(ssl.SSLError, match=alert):
        shown(ground, port, name, version, who)


@pytest.mark.parametrize("name", ["localhost", "chat.example.org"])
def test_no_name_resumes_a_session(ground, serve, make, name):
    port = serve(make("localhost"), make("chat.example.org"), mode="optional")
    client = ground.world.client(version=TLS12)
    client.check_hostname = False
    session = None
    for _ in range(3):
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        with client.wrap_socket(plain, server_hostname=name, session=session) as connection:
            connection.sendall(b"x")
            connection.recv(1)
            assert not connection.session_reused
            session = connection.session


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("-tls1_3", "-sigalgs", "rsa_pss_pss_sha256:rsa_pss_rsae_sha384"), "RSA-PSS"),
        (("-tls1_3",), "ECDSA"),
        (("-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"), "ECDSA"),
        (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"), "RSA-PSS"),
        (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"), "ECDSA"),
        (("-tls1_3", "-sigalgs", "ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256"), "RSA-PSS"),
        (("-tls1_2", "-sigalgs", "ECDSA+SHA256"), "ECDSA"),
        (("-tls1_2", "-sigalgs", "RSA+SHA256"), "RSA"),
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "RSA-PSS"),
    ],
)
def test_client_gets_the_kind_it_can_check(ground, serve, make, arguments, kind):
    """P-256 and RSA side by side, for a name of a further certificate and for no name at all."""
    pair = {True: make("localhost", key=RSA), False: make("localhost")}
    for name in ("localhost", ""):
        port = serve(pair[False], pair[True])
        said, told = by_openssl(ground, port, name, arguments)
        assert f"Peer signature type: {kind}\n" in said
        assert told == pair[kind != "ECDSA"].der
        ground.on_loop(lambda: ground.ports.apply([]))


@pytest.mark.parametrize(
    ("scheme", "kind"), [("ecdsa_secp256r1_sha256", "ECDSA"), ("rsa_pss_rsae_sha256", "RSA-PSS")]
)
def test_modern_has_both_kinds_too(ground, serve, make, scheme, kind):
    pair = {True: make("localhost", key=RSA), False: make("localhost")}
    port = serve(pair[True], pair[False], policy="modern")
    said, told = by_openssl(ground, port, "localhost", ("-sigalgs", scheme))
    assert f"Peer signature type: {kind}\n" in said
    assert told == pair[kind != "ECDSA"].der


def by_openssl(ground, port, name, arguments):
    asked = ["-servername", name] if name else ["-noservername"]
    require("openssl")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *asked]
    command += ["-CAfile", str(ground.world.directory / "root.pem"), "-verify_return_error"]
    with subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        until(lambda: any(c.extensions for c in ground.on_loop(ground.ports.connections)), 30)
        (connection,) = ground.on_loop(ground.ports.connections)
        told = connection.extensions["tls"]["server_cert"]
        out, _ = client.communicate(b"close\n", timeout=30)
    return out.decode(), ssl.PEM_cert_to_DER_cert(told)


# --- Pure -----------------------------------------------------------------------------------


def test_further_certificate_goes_first_for_its_names_and_an_exact_name_before_a_star(make):
    default = make("localhost", "chat.example.org")
    star, exact = make("*.example.org"), make("chat.example.org")
    first, named = arrange(default, [star, exact])
    assert first == (default,)
    assert named["localhost"] == (default,)
    assert named["chat.example.org"] == (exact,)
    assert named["*.example.org"] == (star,)


def test_rsa_star_stands_beside_an_exact_name(make):
    default, star = make("chat.example.org"), make("*.example.org", key=RSA)
    first, named = arrange(default, [star])
    assert first == named["chat.example.org"] == (default, star)


def test_certificate_for_addresses_alone_has_nothing_beside_it(make):
    default, other = make("127.0.0.1"), make("localhost", key=RSA)
    assert arrange(default, [other])[0] == (default,)


def test_ed25519_is_of_the_other_kind(make):
    made = make("localhost", key=ed25519.Ed25519PrivateKey.generate())
    assert not made.is_rsa


def test_one_certificate_costs_no_look_at_the_names(world):
    contexts = world.contexts("none")
    assert contexts.named == {}
