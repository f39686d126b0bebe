"""The commands about CAs: one line each, and one sentence where they refuse."""

from __future__ import annotations

import datetime as dt
import io
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from django.core.management import CommandError, call_command
from django.utils import timezone

from pki import masterkey
from pki.models import CertificateAuthority, PrivateKey
from tests import certs
from tests.factories import PKI, make_endpoint, make_pki
from tests.openssl import openssl


def run(*arguments: object, stderr: io.StringIO | None = None) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, stderr=stderr or io.StringIO())
    return out.getvalue().strip()


def test_create_ca_with_everything(pki: PKI, tmp_path: Path) -> None:
    said = run("create_ca", "Deep Root", "--key", "p384", "--path-length", 2, "--days", 400)
    assert said.startswith("deep-root: CN=Deep Root, SHA-256 ")
    run("create_ca", "Bound", "--parent", "deep-root", "--path-length", 1, "--days", 300,
        "--permit", "example.org", "--permit", "@example.org", "--permit", "10.0.0.0/8",
        "--exclude", "bad.example.org")  # fmt: skip
    bound = CertificateAuthority.objects.get(slug="bound")
    der = tmp_path / "bound.cer"
    der.write_bytes(bytes(bound.certificate.der))
    shown = openssl("x509", "-in", der, "-inform", "DER", "-noout", "-text")
    for word in ("pathlen:1", "DNS:example.org", "email:example.org", "IP:10.0.0.0/255.0.0.0",
                 "DNS:bad.example.org", "X509v3 Name Constraints: critical"):  # fmt: skip
        assert word in shown
    assert bound.certificate.not_after - bound.certificate.not_before <= dt.timedelta(days=300)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--permit", "10.0.0.1/8"), "no name constraint"),
        (("--days", 99999), "admits 7300 days"),
        (("--path-length", 9), "path length of 0 to 4"),
        (("--backend", "pkcs11"), "No token is set up"),
        (("--parent", "nowhere"), "There is no CA"),
    ],
)
def test_create_ca_refused(pki: PKI, arguments: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run("create_ca", "Never", *arguments)
    assert not CertificateAuthority.objects.filter(slug="never").exists()


def test_import_ca(db: None, tmp_path: Path) -> None:
    old = certs.make_ca("Old Root")
    (tmp_path / "ca.pem").write_bytes(old.pem + old.key_pem)
    with pytest.raises(CommandError, match="newest CRL of this CA"):
        run("import_ca", tmp_path / "ca.pem")
    (tmp_path / "old.crl").write_bytes(old.crl(number=7).public_bytes(Encoding.PEM))
    named = ("--name", "Taken Over", "--crl", tmp_path / "old.crl")
    said = run("import_ca", tmp_path / "ca.pem", *named)
    assert said.startswith("taken-over: CN=Old Root, SHA-256 ")
    assert CertificateAuthority.objects.get().next_crl_number == 8
    with pytest.raises(CommandError, match="here already"):
        run("import_ca", tmp_path / "ca.pem", "--discard-revocations")
    with pytest.raises(CommandError, match="cannot be read"):
        run("import_ca", tmp_path / "nothing.pem")


def test_request_and_complete_ca(db: None, tmp_path: Path) -> None:
    csr, signed = tmp_path / "asked.csr", tmp_path / "signed.pem"
    assert "staff-ca" in run("request_ca", "Staff CA", "--out", csr)
    with pytest.raises(CommandError, match="exists already"):
        run("request_ca", "Other", "--out", csr)
    assert "waiting for complete_ca staff-ca" in run("list_cas")
    elsewhere = certs.make_ca("Elsewhere")
    (tmp_path / "root.pem").write_bytes(elsewhere.pem)
    request = x509.load_pem_x509_csr(csr.read_bytes())
    key_usage = request.extensions.get_extension_for_class(x509.KeyUsage).value
    signed.write_bytes(_certified(elsewhere, request, key_usage))
    with pytest.raises(CommandError, match="no request for a CA 'nowhere'"):
        run("complete_ca", "nowhere", signed)
    with pytest.raises(CommandError, match="CAs above"):
        run("complete_ca", "staff-ca", signed)
    said = run("complete_ca", "staff-ca", signed, "--chain", tmp_path / "root.pem")
    assert said.startswith("staff-ca: CN=Staff CA, SHA-256 ")
    listed = run("list_cas")
    assert "staff-ca | CN=Staff CA | " in listed
    assert "elsewhere | CN=Elsewhere | " in listed
    assert "kept elsewhere | P-256, kept elsewhere | root | no anchor" in listed


def test_renew_what_an_outside_ca_signed(db: None, tmp_path: Path) -> None:
    csr, signed = tmp_path / "asked.csr", tmp_path / "signed.pem"
    elsewhere = certs.make_ca("Elsewhere")
    (tmp_path / "root.pem").write_bytes(elsewhere.pem)
    key_usage = _usage_asked(run("request_ca", "Staff CA", "--out", csr), csr)
    signed.write_bytes(_certified(elsewhere, x509.load_pem_x509_csr(csr.read_bytes()), key_usage))
    before = run("complete_ca", "staff-ca", signed, "--chain", tmp_path / "root.pem")
    with pytest.raises(CommandError, match="Request its renewal"):
        run("renew_ca", "staff-ca")
    with pytest.raises(CommandError, match="exists already"):
        run("renew_ca", "staff-ca", "--csr", csr)
    again = tmp_path / "again.csr"
    assert "then complete_ca staff-ca" in run("renew_ca", "staff-ca", "--csr", again)
    signed.write_bytes(_certified(elsewhere, x509.load_pem_x509_csr(again.read_bytes()), key_usage))
    assert run("complete_ca", "staff-ca", signed) != before
    assert CertificateAuthority.objects.filter(slug="staff-ca").count() == 1


def _usage_asked(_: str, csr: Path) -> x509.KeyUsage:
    request = x509.load_pem_x509_csr(csr.read_bytes())
    return request.extensions.get_extension_for_class(x509.KeyUsage).value


def test_import_server_certificate(pki: PKI, tmp_path: Path, settings) -> None:  # type: ignore[no-untyped-def]
    settings.SIGNET_HOSTS = ["chat.example.org"]
    endpoint = make_endpoint(pki, pki.truststore)
    root = certs.make_ca("Elsewhere", path_length=2)
    leaf = root.make_ca("Below").issue("a", purposes=certs.SERVER, hosts=["chat.example.org"])
    sealing = BestAvailableEncryption(b"secret words")
    above = list(leaf.issuers[:1])
    (tmp_path / "site.p12").write_bytes(
        pkcs12.serialize_key_and_certificates(b"a", leaf.key, leaf.certificate, above, sealing)
    )
    (tmp_path / "password").write_text("secret words\n")
    (tmp_path / "root.pem").write_bytes(root.pem)
    given = ("import_server_certificate", "main", tmp_path / "site.p12")
    password = ("--password-file", tmp_path / "password")
    with pytest.raises(CommandError, match="There are: main"):
        run("import_server_certificate", "nowhere", tmp_path / "site.p12")
    with pytest.raises(CommandError, match="CAs above"):
        run(*given, *password)
    err = io.StringIO()
    said = run(*given, *password, "--chain", tmp_path / "root.pem", stderr=err)
    assert said.startswith("main: CN=a, valid until ")
    assert err.getvalue() == ""
    endpoint.refresh_from_db()
    assert endpoint.certificate is not None
    assert bytes(endpoint.certificate.der) == leaf.der
    settings.SIGNET_HOSTS = ["other.example.org"]
    run(*given, *password, stderr=err)
    assert "does not name other.example.org" in err.getvalue()


def test_renew_roll_over_retire_and_restore(pki: PKI) -> None:
    assert ", 30 days, SHA-256 " in run("renew_ca", "test-issuing", "--days", 30)
    assert ", 3650 days, as long as its profile gives (see --days), SHA-256 " in run(
        "renew_ca", "test-issuing"
    )
    assert run("rollover_ca", "test-issuing", "--in-days", 3).startswith("test-issuing-g2: ")
    listed = run("list_cas")
    assert "retires on" in listed
    assert "| P-256 | root | trusted in chat" in listed
    later = timezone.now() + dt.timedelta(days=30)
    assert run("retire_ca", "test-issuing", "--in-days", 30) == (
        f"test-issuing: retires on {later:%Y-%m-%d}"
    )
    assert run("retire_ca", "test-issuing", "--undo") == "test-issuing: issues again"
    assert run("retire_ca", "test-issuing") == "test-issuing: retired"
    with pytest.raises(CommandError, match=r"retired already.*Restore it first"):
        run("retire_ca", "test-issuing", "--in-days", 3)
    with pytest.raises(CommandError, match="goes without --in-days"):
        run("retire_ca", "test-issuing", "--undo", "--in-days", 3)
    with pytest.raises(CommandError, match="from 0 to 9150 days"):
        run("retire_ca", "test-issuing", "--in-days=-1")
    with pytest.raises(CommandError, match="the only CA"):
        run("retire_ca", "test-issuing-g2")
    assert run("retire_ca", "test-issuing-g2", "--last") == "test-issuing-g2: retired"


def test_rewrap_keys(db: None, at: dt.datetime, settings, tmp_path: Path) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "home" / "master.key"
    masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    make_pki(at=at)
    with pytest.raises(CommandError, match="Name the file"):
        run("rewrap_keys")
    new = tmp_path / "new.key"
    assert run("rewrap_keys", "--new-master-key", new).splitlines()[-1].startswith("2 keys are")
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    wrapped_by = set(PrivateKey.objects.values_list("wrapped_by", flat=True))
    assert wrapped_by == {masterkey.load(new).identifier}


def _certified(
    elsewhere: certs.Authority, request: x509.CertificateSigningRequest, usage: x509.KeyUsage
) -> bytes:
    builder = x509.CertificateBuilder(
        elsewhere.certificate.subject,
        request.subject,
        request.public_key(),
        x509.random_serial_number(),
        elsewhere.certificate.not_valid_before_utc,
        elsewhere.certificate.not_valid_after_utc,
    )
    for value in (
        x509.BasicConstraints(ca=True, path_length=0),
        usage,
        x509.SubjectKeyIdentifier.from_public_key(request.public_key()),
    ):
        is_critical = not isinstance(value, x509.SubjectKeyIdentifier)
        builder = builder.add_extension(value, critical=is_critical)
    return builder.sign(elsewhere.key, SHA256()).public_bytes(Encoding.PEM)
