"""Certificates of servers: issued here, or brought along with their key, and what a client sees."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)

from pki import (
    adoption,
    audit,
    imports,
    issuance,
    keys,
    outside,
    revocation,
    server_certificates,
    truststore,
)
from pki.errors import AuthorityError, BadFileError, KeyReuseError, PKIError, RequestError
from pki.models import AuditEntry, Certificate, CertificateAuthority, PrivateKey, User
from tests import certs
from tests.certs import ANY, HOUR, SERVER
from tests.factories import PKI, make_device, make_server_certificate
from tests.openssl import openssl

HOSTS = ("chat.example.org", "localhost", "127.0.0.1")


def bring_in(data: bytes, at: dt.datetime, **more: object) -> Certificate:
    given = {"actor": "admin", "data": data, "password": None, "at": at}
    return server_certificates.bring_in(**(given | more))  # type: ignore[arg-type]


def site(authority: certs.Authority, **fields: object) -> certs.Leaf:
    given = {"purposes": SERVER, "hosts": HOSTS}
    return authority.issue("chat.example.org", **(given | fields))  # type: ignore[arg-type]


def with_chain(leaf: certs.Leaf) -> bytes:
    """Certificate, key, and every CA above it."""
    above = b"".join(ca.public_bytes(Encoding.PEM) for ca in leaf.issuers)
    return leaf.pem + leaf.key_pem + above


def rows() -> list[int]:
    return [model.objects.count() for model in (Certificate, CertificateAuthority, PrivateKey)]


@pytest.fixture
def above() -> tuple[certs.Authority, certs.Authority, certs.Authority]:
    root = certs.make_ca("Elsewhere Root", path_length=2)
    middle = root.make_ca("Elsewhere Middle", path_length=1)
    return root, middle, middle.make_ca("Elsewhere Issuing")


@contextmanager
def served(certificate: Certificate) -> Iterator[int]:
    """A TLS server with this certificate; the port it is at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_server_chain(context, certificate)

    def answer(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def test_issued_here_with_a_key_that_is_kept(pki: PKI, at: dt.datetime) -> None:
    made = server_certificates.issue(actor="admin", hosts=["www.example.org", "10.0.0.1"], at=at)
    assert made.key is not None
    assert server_certificates.hosts_of(made) == ["www.example.org", "10.0.0.1"]
    assert made.authority == pki.issuing


@pytest.mark.parametrize("form", ["PEM", "PKCS #12", "PEM and a chain"])
def test_s_client_sees_the_chain_of_a_certificate_from_elsewhere(
    pki: PKI,
    at: dt.datetime,
    above: tuple[certs.Authority, ...],
    tmp_path: Path,
    form: str,
) -> None:
    leaf = site(above[2])
    chain = b"".join(ca.public_bytes(Encoding.PEM) for ca in leaf.issuers)
    sealing = BestAvailableEncryption(b"secret words")
    given: dict[str, dict[str, object]] = {
        "PEM": {"data": with_chain(leaf)},
        "PKCS #12": {
            "data": pkcs12.serialize_key_and_certificates(
                b"site", leaf.key, leaf.certificate, list(leaf.issuers), sealing
            ),
            "password": "secret words",
        },
        "PEM and a chain": {"data": leaf.key_pem + leaf.pem, "chain": chain},
    }
    row = bring_in(at=at, **given[form])  # type: ignore[arg-type]
    assert (row.is_outside, row.profile, row.owner) == (True, "server", None)
    assert [one.subject for one in keys.server_chain(row)] == [
        "CN=chat.example.org", "CN=Elsewhere Issuing", "CN=Elsewhere Middle",
    ]  # fmt: skip
    (tmp_path / "root.pem").write_bytes(above[0].pem)
    with served(row) as port:
        seen = openssl(
            "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts", "-CAfile",
            tmp_path / "root.pem", "-verify_return_error", "-verify_hostname", HOSTS[0],
        )  # fmt: skip
    assert "Verify return code: 0 (ok)" in seen
    assert x509.load_pem_x509_certificates(seen.encode()) == [leaf.certificate, *leaf.issuers[:2]]
    entry = AuditEntry.objects.get(action="certificate.imported")
    assert entry.detail["sha256"] == row.sha256
    assert entry.detail["authority"] == "Elsewhere Issuing"
    audit.verify()


def test_self_signed_one_made_with_openssl(pki: PKI, at: dt.datetime, tmp_path: Path) -> None:
    row = bring_in(_self_signed(tmp_path), at + HOUR)
    assert (row.authority, row.is_outside) == (None, True)
    with served(row) as port:
        seen = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-showcerts",
                       "-CAfile", tmp_path / "own.pem", "-verify_return_error")  # fmt: skip
    assert "Verify return code: 0 (ok)" in seen


def test_one_certificate_for_several_endpoints_is_one_row(
    pki: PKI, at: dt.datetime, above: tuple[certs.Authority, ...]
) -> None:
    data = with_chain(site(above[2]))
    first = bring_in(data, at)
    before = rows()
    assert bring_in(data, at) == first
    assert rows() == before


def test_one_that_was_issued_here_for_a_request_gets_its_key(pki: PKI, at: dt.datetime) -> None:
    secret = certs.make_key()
    prepared = issuance.prepare(
        actor="tests", authority=pki.issuing, profile="server", public_key=secret.public_key(),
        hosts=["localhost"], at=at,
    )  # fmt: skip
    issued = issuance.issue(prepared)
    leaf = certs.Leaf(x509.load_der_x509_certificate(bytes(issued.der)), secret)
    row = bring_in(leaf.pem + leaf.key_pem, at)
    assert row == issued
    assert row.key is not None
    assert not row.is_outside
    revocation.revoke(actor="admin", certificate=row, reason="superseded", at=at)
    with pytest.raises(RequestError, match="was revoked"):
        bring_in(leaf.pem + leaf.key_pem, at)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"purposes": certs.CLIENT}, "not for servers"),
        ({"hosts": ()}, "names no host"),
        ({"hosts": ("alice@example.org",)}, "names no host"),
        ({"expired": True}, "has expired"),
        ({"not_before": dt.datetime(2999, 1, 1), "not_after": dt.datetime(2999, 2, 1)}, "not valid yet"),
    ],
)  # fmt: skip
def test_what_browsers_would_refuse_is_refused(
    pki: PKI,
    at: dt.datetime,
    above: tuple[certs.Authority, ...],
    fields: dict[str, object],
    sentence: str,
) -> None:
    before = rows()
    with pytest.raises(RequestError, match=sentence):
        bring_in(with_chain(site(above[2], **fields)), at)
    assert rows() == before


@pytest.mark.parametrize("purposes", [(), ANY, (*certs.CLIENT, *SERVER)])
def test_purposes_that_include_servers(
    pki: PKI,
    at: dt.datetime,
    above: tuple[certs.Authority, ...],
    purposes: tuple[x509.ObjectIdentifier, ...],
) -> None:
    assert bring_in(with_chain(site(above[2], purposes=purposes)), at)


@pytest.mark.parametrize(
    ("extension", "sentence"),
    [
        ("keyUsage=critical,keyEncipherment", "may not sign"),
        ("basicConstraints=critical,CA:TRUE", "certificate of a CA"),
    ],
)
def test_key_that_may_not_sign_and_certificate_of_a_ca(
    pki: PKI, at: dt.datetime, tmp_path: Path, extension: str, sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        bring_in(_self_signed(tmp_path, extension), at + HOUR)


def test_file_that_is_not_whole(
    pki: PKI, at: dt.datetime, above: tuple[certs.Authority, ...]
) -> None:
    leaf, before = site(above[2]), rows()
    cases: list[tuple[bytes, type[PKIError], str]] = [
        (leaf.key_pem, BadFileError, "key alone"),
        (leaf.pem + certs.make_ca("Other").key_pem, BadFileError, "belongs to none"),
        (leaf.pem + leaf.key_pem, AuthorityError, "certificates of the CAs above"),
        (leaf.pem + leaf.key_pem + above[2].pem, AuthorityError, "certificates of the CAs above"),
    ]
    for data, kind, sentence in cases:
        with pytest.raises(kind, match=sentence):
            bring_in(data, at)
    assert rows() == before


def test_what_openssl_does_not_take_is_refused_before_it_is_in_force(
    pki: PKI, at: dt.datetime
) -> None:
    """A CA in the chain with a short key, which the next start of the server would stumble over."""
    short = rsa.generate_private_key(65537, 1024)
    leaf, before = site(certs.make_ca("Root").make_ca("Old", key=short)), rows()
    with pytest.raises(RequestError, match="TLS does not take this certificate: CA_KEY_TOO_SMALL"):
        bring_in(with_chain(leaf), at)
    assert rows() == before


def test_certificate_that_our_ca_has_no_record_of(pki: PKI, at: dt.datetime) -> None:
    own = x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der))
    key = pki.issuing.certificate.key
    assert key is not None
    leaf = site(certs.Authority(own, keys._open(key)))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="no record"):
        bring_in(leaf.pem + leaf.key_pem, at)


def test_certificate_of_a_ca_that_was_imported(pki: PKI, at: dt.datetime) -> None:
    """It has signed for years before it came here."""
    old = certs.make_ca("Old Root")
    outside.import_authority(
        actor="admin",
        data=old.pem + old.key_pem,
        password=None,
        at=at,
        last_crl_number=9,
        discard_revocations=True,
    )
    leaf = site(old)
    assert bring_in(leaf.pem + leaf.key_pem, at).authority == CertificateAuthority.objects.get(
        name="Old Root"
    )


def test_key_of_somebody_else(pki: PKI, at: dt.datetime, alice, above) -> None:  # type: ignore[no-untyped-def]
    device = make_device(alice, pki.issuing)
    root = certs.make_ca("Old Root")
    outside.import_authority(
        actor="admin",
        data=root.pem + root.key_pem,
        password=None,
        at=at,
        discard_revocations=True,
    )
    before = rows()
    for key in (device.key, root.key):
        with pytest.raises(KeyReuseError, match="somebody else"):
            bring_in(with_chain(site(above[2], key=key)), at)
    leaf = certs.Leaf(device.x509, device.key)
    with pytest.raises(RequestError, match=r"extended key usage|names no host"):
        bring_in(leaf.pem + leaf.key_pem, at)
    assert rows() == before


def test_certificate_that_a_person_signs_in_with(pki: PKI, at: dt.datetime, alice: User) -> None:
    """Known here, fit for servers, and adopted for somebody."""
    partner = certs.make_ca("Partner")
    leaf = site(partner, purposes=(*certs.CLIENT, *SERVER))
    truststore.add_anchor(actor="a", truststore=pki.truststore, certificate=partner.der, at=at)
    imports.import_crl(actor="a", crl=partner.crl(), at=at)
    adopted = adoption.adopt(
        actor="a", chain=[leaf.der], user=alice, truststore=pki.truststore, at=at
    )
    with pytest.raises(KeyReuseError, match="somebody else"):
        bring_in(leaf.pem + leaf.key_pem, at)
    adopted.refresh_from_db()
    assert adopted.key is None


@pytest.mark.parametrize("reason", ["keyCompromise", "cACompromise"])
def test_key_that_was_compromised(
    pki: PKI, at: dt.datetime, above: tuple[certs.Authority, ...], reason: str
) -> None:
    leaf = site(above[2])
    row = bring_in(with_chain(leaf), at)
    revocation.revoke(actor="admin", certificate=row, reason=reason, at=at)
    with pytest.raises(KeyReuseError, match="lost or stolen"):
        bring_in(with_chain(site(above[2], key=leaf.key)), at)


@pytest.mark.parametrize(
    ("named", "missing"),
    [
        (("chat.example.org", "10.0.0.1"), []),
        (("*.example.org", "10.0.0.1"), []),
        (("CHAT.EXAMPLE.ORG",), ["10.0.0.1"]),
        (("*.chat.example.org", "*.org", "example.org"), ["chat.example.org", "10.0.0.1"]),
        (("*.0.0.1",), ["chat.example.org", "10.0.0.1"]),
    ],
)
def test_hosts_that_a_certificate_does_not_name(
    pki: PKI, settings, named: tuple[str, ...], missing: list[str]
) -> None:  # type: ignore[no-untyped-def]
    settings.SIGNET_HOSTS = ["chat.example.org", "10.0.0.1"]
    leaf = certs.make_ca("Any").issue("any", purposes=SERVER, hosts=named)
    assert server_certificates.unnamed_hosts(Certificate(der=leaf.der)) == missing


def test_hosts_of_one_that_was_issued_here(pki: PKI) -> None:
    row = make_server_certificate(pki.issuing, hosts=("localhost", "::1"))
    assert server_certificates.hosts_of(row) == ["localhost", "::1"]


def _self_signed(home: Path, *extensions: str) -> bytes:
    names = {one.partition("=")[0] for one in extensions}
    given = [*extensions, "subjectAltName=DNS:localhost"]
    given += [] if "basicConstraints" in names else ["basicConstraints=critical,CA:FALSE"]
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", home / "own.key", "-out", home / "own.pem", "-subj", "/CN=localhost",
            "-days", "9", *(part for one in given for part in ("-addext", one)))  # fmt: skip
    return (home / "own.pem").read_bytes() + (home / "own.key").read_bytes()


def test_names_that_lead_nowhere_are_told(pki, settings, at):
    settings.SIGNET_HOSTS = ["localhost", "chat.example.org"]
    issue = server_certificates.issue
    known = issue(actor="t", hosts=["localhost", "127.0.0.1", "chat.example.org"], at=at)
    assert server_certificates.unserved(known) == ""
    other = issue(actor="t", hosts=["chat.example.org", "a.example.org", "10.0.0.1"], at=at)
    assert server_certificates.unserved(other) == (
        "a.example.org, 10.0.0.1 are not in SIGNET_HOST, so pages are not served under them."
    )
