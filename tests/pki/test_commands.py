"""The commands: doors that people and scripts use in a shell."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management import CommandError, call_command

from pki import crl, files, people, truststore
from pki.errors import BadFileError
from pki.management import base
from tests import certs
from tests.factories import make_device


@pytest.fixture
def laptop(pki, alice, tmp_path):
    device = make_device(alice, pki.issuing)
    (tmp_path / "laptop.pem").write_bytes(bytes(device.certificate.der))
    return device


def verdict(path, capsys, *options):
    call_command("verify_certificate", str(path), *options)
    return capsys.readouterr().out


def test_verify_says_who_signs_in(laptop, tmp_path, capsys):
    said = verdict(tmp_path / "laptop.pem", capsys, "--truststore", "chat")
    assert "signs in: alice" in said
    assert "trusted: CN=alice" in said


def test_verify_refuses_a_disabled_account_as_the_endpoint_does(
    laptop, alice, at, tmp_path, capsys
):
    path = tmp_path / "laptop.pem"
    people.disable_person(actor="admin", user=alice, at=at)
    with pytest.raises(CommandError, match="account has been disabled"):
        verdict(path, capsys, "--truststore", "chat")


def test_verify_refuses_who_is_trusted_and_not_ours(pki, at, tmp_path, capsys):
    """A partner's root in the store lets the handshake pass; nobody signs in with it."""
    partner = certs.make_ca("Partner Root")
    truststore.add_anchor(actor="admin", truststore=pki.truststore, certificate=partner.der, at=at)
    path, root, listed = (tmp_path / name for name in ("mallory.cer", "root.cer", "root.crl"))
    path.write_bytes(partner.issue("mallory").der)
    root.write_bytes(partner.der)
    listed.write_bytes(partner.crl().public_bytes(Encoding.PEM))

    assert "trusted" in verdict(path, capsys, "--anchor", str(root))
    with pytest.raises(CommandError, match="not issued here"):
        verdict(path, capsys, "--truststore", "chat", "--crl", str(listed))


def test_crl_may_be_as_large_as_its_reader_takes(laptop, pki, tmp_path, capsys, monkeypatch):
    read, asked = base.read_file, {}

    def noted(path, *, most=base.FILE_MAXIMUM):
        asked[path] = most
        return read(path, most=most)

    module = "pki.management.commands.verify_certificate.read_file"
    monkeypatch.setattr(module, noted)
    listed, anchor = tmp_path / "issuing.crl", tmp_path / "root.cer"
    listed.write_bytes(bytes(crl.latest(pki.issuing).der))
    anchor.write_bytes(bytes(pki.root.certificate.der))
    with pytest.raises(CommandError):  # the root's CRL is missing
        verdict(tmp_path / "laptop.pem", capsys, "--anchor", str(anchor), "--crl", str(listed))
    assert asked[str(listed)] == files.LARGEST_CRL


def test_other_files_are_small(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * (base.FILE_MAXIMUM + 1))
    with pytest.raises(BadFileError, match="larger than"):
        base.read_file(str(path))
    assert len(base.read_file(str(path), most=files.LARGEST_CRL)) == base.FILE_MAXIMUM + 1


@pytest.mark.parametrize(
    "shape", [str.upper, lambda text: f"00{text}", lambda t: f"{t[:2]}:{t[2:]}"]
)
def test_revoke_finds_a_serial_however_it_is_typed(laptop, capsys, shape):
    typed = shape(laptop.certificate.serial)
    call_command("revoke_certificate", serial=typed, reason="superseded")
    laptop.certificate.refresh_from_db()
    assert laptop.certificate.revoked_at is not None


def test_published_crl_is_written_as_pem_or_der(pki, tmp_path, capsys):
    pem, der = tmp_path / "out.pem", tmp_path / "out.crl"
    call_command("publish_crl", ca=pki.issuing.slug, out=str(pem))
    call_command("publish_crl", ca=pki.issuing.slug, out=str(der))
    assert x509.load_pem_x509_crl(pem.read_bytes()).issuer
    assert x509.load_der_x509_crl(der.read_bytes()).issuer
