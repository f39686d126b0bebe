"""The commands: doors that people and scripts use in a shell."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management import CommandError, call_command
from django.utils import timezone

from pki import crl, files, people, truststore
from pki.errors import BadFileError
from pki.management import base
from pki.models import Certificate, PlannedRevocation
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


def test_all_that_a_person_has_is_revoked_by_one_crl(pki, laptop, alice, capsys):
    phone = make_device(alice, pki.issuing, device="phone")
    before = pki.issuing.crls.count()
    call_command("revoke_certificate", user="alice", reason="keyCompromise")

    both = [laptop.certificate, phone.certificate]
    said = set(capsys.readouterr().out.splitlines())
    assert said == {f"{one.serial}: revoked (keyCompromise)" for one in both}
    assert pki.issuing.crls.count() == before + 1
    assert crl.latest(pki.issuing).entries == 2
    assert not Certificate.objects.filter(owner=alice, revoked_at=None).exists()
    with pytest.raises(CommandError, match="no valid certificate"):
        call_command("revoke_certificate", user="alice", reason="superseded")


def test_all_that_a_person_has_is_planned_and_cancelled(pki, laptop, alice, capsys):
    make_device(alice, pki.issuing, device="phone")
    when = (timezone.now() + dt.timedelta(days=1)).isoformat()
    call_command("revoke_certificate", user="alice", reason="superseded", at=when)
    assert PlannedRevocation.objects.count() == 2
    call_command("revoke_certificate", "--user", "alice", "--cancel")
    assert not PlannedRevocation.objects.exists()
    assert not Certificate.objects.filter(owner=alice, revoked_at__isnull=False).exists()


# --- Hold, release, plan --------------------------------------------------------------------


def test_hold_and_release(laptop, capsys):
    serial = laptop.certificate.serial
    call_command("revoke_certificate", serial=serial, reason="certificateHold")
    laptop.certificate.refresh_from_db()
    assert laptop.certificate.revocation_reason == "certificateHold"
    call_command("release_certificate", serial=serial)
    laptop.certificate.refresh_from_db()
    assert laptop.certificate.revoked_at is None
    assert capsys.readouterr().out.splitlines()[-1] == f"{serial}: released"
    with pytest.raises(CommandError, match="not on hold"):
        call_command("release_certificate", sha256=laptop.certificate.sha256)
    with pytest.raises(CommandError, match="No such certificate"):
        call_command("release_certificate", serial="ff")


def test_release_what_a_file_names_or_all_of_a_person(pki, laptop, alice, tmp_path):
    make_device(alice, pki.issuing, device="phone")
    call_command("revoke_certificate", "--user", "alice", "--reason", "certificateHold")
    call_command("release_certificate", "--file", str(tmp_path / "laptop.pem"))
    held = alice.certificates.filter(revoked_at__isnull=False)
    assert held.get().device == "phone"
    call_command("release_certificate", "--user", "alice")
    assert not held.exists()
    with pytest.raises(CommandError, match="on hold"):
        call_command("release_certificate", "--user", "alice")


def test_revocation_is_planned_and_cancelled(laptop, capsys):
    serial = laptop.certificate.serial
    when = (timezone.now() + dt.timedelta(days=1)).replace(microsecond=0)
    plan = {"serial": serial, "reason": "superseded"}
    call_command("revoke_certificate", **plan, at=when.replace(tzinfo=None).isoformat())
    assert laptop.certificate.planned.at == when
    assert "to be revoked at" in capsys.readouterr().out
    call_command("revoke_certificate", "--serial", serial, "--cancel")
    assert not PlannedRevocation.objects.exists()
    laptop.certificate.refresh_from_db()
    assert laptop.certificate.revoked_at is None
    with pytest.raises(CommandError, match="not a time"):
        call_command("revoke_certificate", **plan, at="tomorrow")


def test_crls_are_published_of_those_whose_key_is_here(pki, capsys):
    Certificate.objects.filter(pk=pki.issuing.certificate_id).update(key=None)
    call_command("publish_crl")
    shown = capsys.readouterr().out
    assert "test-root: CRL 2" in shown
    assert "test-issuing" not in shown
