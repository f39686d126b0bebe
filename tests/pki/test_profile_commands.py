"""Certificates of any profile, from a shell."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from pki.models import Certificate, CertificateProfile
from tests import certs


def _issue(tmp_path, capsys, *options):
    call_command("issue_certificate", "alice", "--out", str(tmp_path / "alice.pem"), *options)
    return capsys.readouterr().out


def _csr(tmp_path, name):
    path = tmp_path / "alice.csr"
    path.write_bytes(certs.make_csr(name).public_bytes(Encoding.PEM))
    return str(path)


def test_person_unless_said_otherwise(pki, alice, tmp_path, capsys):
    said = _issue(tmp_path, capsys)
    assert alice.certificates.get().profile == "person"
    assert "note:" not in said


def test_profile(pki, alice, tmp_path, capsys):
    _issue(tmp_path, capsys, "--profile", "mail")
    assert alice.certificates.get().profile == "mail"


@pytest.mark.django_db(transaction=True)
def test_no_file_is_left_of_a_certificate_that_was_not_committed(
    pki, alice, tmp_path, capsys, monkeypatch
):
    """A database that goes away at the last moment."""

    def fail():
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(connection, "_commit", fail)
    with pytest.raises(OperationalError):
        _issue(tmp_path, capsys)
    monkeypatch.undo()
    assert not alice.certificates.exists()
    assert not list(tmp_path.iterdir())

    said = _issue(tmp_path, capsys)
    [file] = tmp_path.iterdir()
    assert file.name == "alice.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in said
    assert alice.certificates.get()


def test_file_that_is_there_is_left_alone(pki, alice, tmp_path, capsys):
    (tmp_path / "alice.pem").write_text("mine")
    with pytest.raises(CommandError, match="exists already"):
        _issue(tmp_path, capsys)
    assert (tmp_path / "alice.pem").read_text() == "mine"
    assert not alice.certificates.exists()


def test_what_the_request_does_not_get_is_a_note(pki, alice, tmp_path, capsys):
    said = _issue(tmp_path, capsys, "--csr", _csr(tmp_path, "admin"))
    assert "note: The request asks for the subject CN=admin, which" in said
    assert alice.certificates.get().subject == "CN=alice"


def test_no_note_without_a_difference(pki, alice, tmp_path, capsys):
    assert "note:" not in _issue(tmp_path, capsys, "--csr", _csr(tmp_path, "alice"))


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        ("emperor", "There is no profile 'emperor'"),
        ("server", "is for no person"),
        ("code", "must approve each certificate of profile 'code'"),
    ],
)
def test_refused(pki, alice, tmp_path, capsys, profile, sentence):
    with pytest.raises(CommandError, match=sentence):
        _issue(tmp_path, capsys, "--profile", profile)
    assert not Certificate.objects.filter(owner=alice).exists()
    assert not (tmp_path / "alice.pem").exists()


def test_list(db, capsys):
    CertificateProfile.objects.filter(name="mail").update(enabled=False)
    call_command("list_profiles")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *("root", "intermediate", "ocsp", "server", "person", "mail", "code")
    ]
    assert "valid for 365 days, keys p256, p384, ed25519, rsa2048, approvals 1" in lines[-1]
    assert [line for line in lines if line.endswith("switched off")] == [lines[5]]
