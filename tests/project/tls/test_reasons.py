"""Each way a handshake fails, made to fail: the reason that is kept, and the sentence beside it."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from project.tls import advice, failures
from project.tls.sample import Sample
from tests.certs import HOUR, YEAR, Authority, Leaf, make_ca
from tests.project.tls.conftest import TLS12, TLS13, Trust

NOW = dt.datetime.now(dt.UTC)
OLD = dt.timedelta(days=30)


@pytest.fixture(autouse=True)
def sample(monkeypatch):
    fresh = Sample()
    monkeypatch.setattr(failures, "sample", fresh)
    return fresh


@pytest.fixture
def failed(sample):
    """The one failure that was noted; it may come a moment after the client has seen it."""

    def wait():
        deadline = time.monotonic() + 30
        while not sample and time.monotonic() < deadline:
            time.sleep(0.01)
        (found,) = sample.take()
        return found

    return wait


def any_client(*, least=TLS12, most=TLS13, leaf=None, path=None, ciphers="", curve=""):
    """A client that believes any server, and may be as old or odd as a test wants."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    if ciphers:
        client.set_ciphers(ciphers)
    client.minimum_version, client.maximum_version = least, most
    if curve:
        client.set_ecdh_curve(curve)
    if leaf is not None:
        client.load_cert_chain(leaf.write_pem(path / "client.pem"))
    return client


def try_it(ground, port, client):
    """In TLS 1.3 a client is told after its own end of the handshake."""
    with contextlib.suppress(OSError), ground.connect(port, client=client) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b""


def drain(raw):
    while raw.recv(4096):
        pass


def send(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        drain(raw)


# --- The client's certificate -----------------------------------------------------------------

UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), True)


def forged(world) -> Leaf:
    """Mallory signs in our CA's name, down to the identifier of its key."""
    ours = world.issuing.certificate
    twin = Authority(ours, make_ca("Mallory").key, world.issuing.issuers)
    return twin.issue("mallory")


CERTIFICATES = {
    "certificate has expired": lambda w: w.clients["expired"],
    "certificate is not yet valid": lambda w: w.issuing.issue(
        "soon", not_before=NOW + HOUR, not_after=NOW + YEAR
    ),
    "certificate revoked": lambda w: w.clients["revoked"],
    "unable to get local issuer certificate": lambda w: w.clients["foreign"],
    "self-signed certificate": lambda w: make_ca("alone"),
    "unsuitable certificate purpose": lambda w: w.clients["server-only"],
    "certificate signature failure": forged,
    "EE certificate key too weak": lambda w: w.issuing.issue(
        "weak", key=rsa.generate_private_key(65537, 1024)
    ),
    "unhandled critical extension": lambda w: w.issuing.issue("odd", extra=[UNKNOWN]),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": lambda w: None,
}


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("reason", CERTIFICATES)
def test_bad_certificate_is_kept_with_its_reason(ground, world, failed, tmp_path, reason, version):
    leaf = CERTIFICATES[reason](world)
    client = any_client(
        least=version, most=version, leaf=leaf, path=tmp_path, ciphers="ALL:@SECLEVEL=0"
    )

    try_it(ground, ground.serve("required"), client)

    kept = failed()
    assert (kept.endpoint, kept.reason) == ("main", reason)
    assert kept.advice == advice.ADVICE[reason]
    assert kept.heard.certificate == (leaf.der if leaf else None)
    assert kept.heard.protocol == ("TLS 1.2" if version == TLS12 else "TLS 1.3")
    assert kept.heard.server_name == "localhost"


def chain_too_long(world):
    first = world.root.make_ca("First", path_length=0)
    second = first.make_ca("Second")
    return (world.root, first, second), second.issue("deep")


def outside_the_constraint(world):
    only = x509.NameConstraints([x509.DNSName("example.org")], None)
    key = make_ca("key").key
    narrow = world.root.issue("Narrow", purposes=(), key=key)
    narrow = Authority(
        _as_ca(narrow.certificate, world.root, key, only), key, (world.root.certificate,)
    )
    return (world.root, narrow), narrow.issue("wide", hosts=["elsewhere.example.com"])


def _as_ca(certificate, issuer, key, constraints):
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + YEAR)
        .add_extension(own, False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), False)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(usage, True)
        .add_extension(constraints, True)
    )
    return builder.sign(issuer.key, certificate.signature_hash_algorithm)


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("path length constraint exceeded", chain_too_long),
        ("permitted subtree violation", outside_the_constraint),
    ],
)
def test_chain_that_ca_may_not_have_issued(ground, world, failed, tmp_path, reason, make):
    cas, leaf = make(world)
    trust = Trust(
        (cas[0].der,),
        tuple(ca.der for ca in cas[1:]),
        tuple(ca.crl().public_bytes(Encoding.DER) for ca in cas),
    )

    try_it(ground, ground.serve("required", trust), any_client(leaf=leaf, path=tmp_path))

    kept = failed()
    assert (kept.reason, kept.advice) == (reason, advice.BROKEN_CHAIN)
    assert kept.heard.certificate == leaf.der


def forged_crl(world) -> Trust:
    """The CRL of the issuing CA is signed by somebody else."""
    twin = Authority(world.issuing.certificate, make_ca("Mallory").key, world.issuing.issuers)
    crls = (world.root.crl(), twin.crl())
    return replace(world.trust(), crls=tuple(crl.public_bytes(Encoding.DER) for crl in crls))


def test_client_that_sends_its_own_root(ground, world, failed, tmp_path):
    mallory = world.clients["foreign"]
    (tmp_path / "client.pem").write_bytes(mallory.pem + ca_pem(mallory) + mallory.key_pem)
    client = any_client()
    client.load_cert_chain(tmp_path / "client.pem")

    try_it(ground, ground.serve("required"), client)

    kept = failed()
    assert kept.reason == "self-signed certificate in certificate chain"
    assert (kept.advice, kept.heard.certificate) == (advice.NOT_OURS, mallory.der)


def ca_pem(leaf) -> bytes:
    return leaf.issuers[-1].public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("reason", "trust"),
    [
        ("CRL has expired", lambda w: w.trust(at=NOW - OLD)),
        ("CRL is not yet valid", lambda w: w.trust(at=NOW + OLD)),
        ("unable to get certificate CRL", lambda w: Trust((w.root.der,), (w.issuing.der,))),
        ("CRL signature failure", lambda w: forged_crl(w)),
    ],
)
def test_crl_of_ours_is_at_fault(ground, world, failed, reason, trust):
    port = ground.serve("required", trust(world))

    try_it(ground, port, ground.world.client("good"))

    kept = failed()
    assert (kept.reason, kept.advice) == (reason, advice.ADVICE[reason])


# --- What the client speaks ---------------------------------------------------------------------


RSA_ALONE = "ECDHE-RSA-AES128-GCM-SHA256"  # our certificate has a P-256 key


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("reason", "offered", "client"),
    [
        (
            "UNSUPPORTED_PROTOCOL",
            "TLS 1.1",
            {
                "least": ssl.TLSVersion.TLSv1,
                "most": ssl.TLSVersion.TLSv1_1,
                "ciphers": "ALL:@SECLEVEL=0",
            },
        ),
        ("NO_SHARED_CIPHER", "TLS 1.2", {"most": TLS12, "ciphers": "AES128-SHA:@SECLEVEL=0"}),
        ("NO_SHARED_CIPHER", "TLS 1.2", {"most": TLS12, "ciphers": RSA_ALONE}),
        ("NO_SHARED_CIPHER", "TLS 1.2", {"most": TLS12, "curve": "brainpoolP256r1"}),
    ],
    ids=["old", "cipher", "key", "group"],
)
def test_client_with_which_nothing_is_shared(ground, failed, reason, offered, client):
    try_it(ground, ground.serve("optional"), any_client(**client))

    kept = failed()
    assert (kept.reason, kept.advice) == (reason, advice.ADVICE[reason])
    assert ("put an RSA one beside it" in kept.advice) == (reason == "NO_SHARED_CIPHER")
    assert kept.heard.protocol == offered
    assert kept.heard.server_name == "localhost"


def test_client_without_a_group_of_ours_in_tls_13(ground, failed):
    port = ground.serve("optional")
    hello = client_hello(curve="secp521r1")
    for known, unknown in (("000a000400020019", "000a000400027f19"), ("00190085", "7f190085")):
        assert bytes.fromhex(known) in hello
        hello = hello.replace(bytes.fromhex(known), bytes.fromhex(unknown))

    send(port, hello)

    kept = failed()
    assert (kept.reason, kept.advice) == ("NO_SUITABLE_KEY_SHARE", advice.TOO_OLD)


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("name", "trusts", "reason", "said"),
    [
        ("localhost", False, "TLSV1_ALERT_UNKNOWN_CA", advice.CLIENT_DISTRUSTS),
        ("wrong.example", True, "SSLV3_ALERT_BAD_CERTIFICATE", advice.OTHER_NAME),
    ],
    ids=["CA", "name"],
)
def test_client_that_does_not_trust_us(ground, world, failed, version, name, trusts, reason, said):
    port = ground.serve("optional")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.minimum_version = client.maximum_version = version
    if trusts:
        client.load_verify_locations(cadata=world.root.der)

    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client.wrap_socket(raw, server_hostname=name)

    kept = failed()
    assert (kept.reason, kept.advice, kept.heard.server_name) == (reason, said, name)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (40, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (43, "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
        (45, "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        (46, "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),  # what browsers say
        (70, "TLSV1_ALERT_PROTOCOL_VERSION"),
    ],
)
def test_alert_of_the_client_is_explained(ground, failed, number, reason):
    port = ground.serve("optional")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(client_hello(least=TLS12, most=TLS12))
        raw.recv(1)
        raw.sendall(bytes([0x15, 3, 3, 0, 2, 2, number]))
        drain(raw)

    kept = failed()
    assert (kept.reason, kept.advice) == (reason, advice.ADVICE[reason])


NOT_TLS = {
    "WRONG_VERSION_NUMBER": b"SSH-2.0-OpenSSH_9.2\r\n",
    "LENGTH_TOO_SHORT": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    "PACKET_LENGTH_TOO_LONG": b"\x16\x03\x01\xff\xff" + bytes(100),
    "RECORD_LENGTH_MISMATCH": b"\x80\x2e\x01\x00\x02" + bytes(50),
    "UNEXPECTED_MESSAGE": b"\x17\x03\x03\x00\x05abcde",
    "HTTP_REQUEST": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTPS_PROXY_REQUEST": b"CONNECT localhost:1 HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("reason", NOT_TLS)
def test_what_is_no_tls(ground, failed, reason):
    send(ground.serve("optional"), NOT_TLS[reason])

    kept = failed()
    assert (kept.reason, kept.advice) == (reason, advice.ADVICE[reason])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_name_that_no_host_has(ground, failed):
    hello = client_hello(name="odd.example").replace(b"odd.example", b"\xff\xfe\x1b\n.bad.xx")
    send(ground.serve("optional"), hello)

    kept = failed()
    assert (kept.reason, kept.heard.server_name) == ("CALLBACK_FAILED", "")
    assert "cannot be one" in kept.advice
    assert advice.plainly(kept.reason) == "the client asked for a name that is none"


def test_garbage_after_a_hello(ground, failed):
    port = ground.serve("optional")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(client_hello())
        raw.recv(1)
        raw.sendall(b"\x17\x03\x03\x00\x40" + b"z" * 64)
        drain(raw)

    kept = failed()
    assert (kept.reason, kept.advice) == ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", advice.NOT_TLS)
    assert kept.heard.protocol == "TLS 1.3"


@pytest.mark.parametrize("politely", [True, False])
def test_client_that_hangs_up(ground, failed, politely):
    port = ground.serve("optional")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(client_hello())
        raw.recv(1)
        if politely:
            raw.shutdown(socket.SHUT_WR)
            drain(raw)

    kept = failed()
    assert (kept.reason, kept.advice) == (advice.HUNG_UP, advice.ADVICE[advice.HUNG_UP])


def test_client_that_stays_silent(ground, failed):
    wanted = ground.wanted("optional")
    ground.on_loop(
        ground.ports.start,
        [replace(wanted, settings=replace(wanted.settings, handshake_seconds=0.2))],
    )
    with socket.create_connection(("127.0.0.1", wanted.settings.port), timeout=30) as raw:
        assert raw.recv(1) == b""

    kept = failed()
    assert (kept.reason, kept.advice) == ("not complete after 0.2 s", advice.ADVICE[advice.LATE])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_openssl_client_with_a_revoked_certificate(ground, world, failed):
    port = ground.serve("required")
    identity = str(world.pem("revoked"))
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2"),
            *("-servername", "chat.example.org", "-cert", identity, "-key", identity),
        ],
        input=b"x\n",
        capture_output=True,
        timeout=60,
    )

    assert b"certificate revoked" in done.stderr
    kept = failed()
    assert kept.reason == "certificate revoked"
    assert kept.heard.certificate == world.clients["revoked"].der
    assert (kept.heard.protocol, kept.heard.server_name) == ("TLS 1.2", "chat.example.org")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_client_that_checks_rsa_alone(ground, failed):
    port = ground.serve("optional")
    subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"),
            *("-sigalgs", "RSA-PSS+SHA256"),
        ],
        input=b"x\n",
        capture_output=True,
        timeout=60,
    )

    kept = failed()
    assert kept.reason == "NO_SUITABLE_SIGNATURE_ALGORITHM"
    assert "put an RSA one beside it" in kept.advice


def client_hello(*, name="localhost", **how):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = any_client(**{"least": TLS13, **how})
    tls = client.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
