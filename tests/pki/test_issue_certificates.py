"""The command that issues a whole list: files, one line for each, and again after an interruption."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from django.core.management import CommandError, call_command

from pki import roster
from pki.models import AuditEntry, Certificate, User
from tests import certs
from tests.factories import PKI, People
from tests.openssl import openssl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def issue(tmp_path: Path, folder: Path, capsys, django_capture_on_commit_callbacks) -> Any:
    def issued(text: str, *options: str) -> list[str]:
        (tmp_path / "list.csv").write_text(text)
        try:
            with django_capture_on_commit_callbacks(execute=True):
                call_command(
                    "issue_certificates",
                    *(str(tmp_path / "list.csv"), "--out", str(folder), "--create-users", *options),
                )
        finally:
            issued.said = capsys.readouterr().out.splitlines()  # type: ignore[attr-defined]
        return issued.said  # type: ignore[attr-defined, no-any-return]

    return issued


def request(path: Path, username: str) -> None:
    path.write_bytes(certs.make_csr(username).public_bytes(Encoding.PEM))


def test_keys_made_here(pki: PKI, issue, folder: Path, tmp_path: Path) -> None:
    issue("username,name,email,device\ndora,Dora D.,dora@example.org,laptop\nemil,,,Emil's phone\n")
    assert sorted(os.listdir(folder)) == ["dora-laptop.p12", "emil-emils-phone.p12"]
    # Each line is printed after its commit; within a test the last commit comes at its end.
    for name in os.listdir(folder):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    said = "\n".join(issue.said)
    password = re.search(r"dora-laptop\.p12: serial .*, password (\S+)$", said, re.M)
    assert password
    opened = pkcs12.load_pkcs12((folder / "dora-laptop.p12").read_bytes(), password[1].encode())
    assert opened.cert
    assert opened.cert.certificate.subject.rfc4514_string() == "CN=dora"
    (tmp_path / "password").write_text(password[1])
    shown = openssl(
        *("pkcs12", "-in", folder / "dora-laptop.p12", "-nokeys", "-clcerts"),
        *("-passin", f"file:{tmp_path / 'password'}"),
    )
    assert "CN = dora" in shown


def test_requests_from_beside_the_list(pki: PKI, issue, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "requests").mkdir()
    request(tmp_path / "requests" / "dora.csr", "dora")
    issue("\ufeffdevice;username;csr\nlaptop;dora;requests/dora.csr\n")
    assert os.listdir(folder) == ["dora-laptop.pem"]
    found = x509.load_pem_x509_certificate((folder / "dora-laptop.pem").read_bytes())
    asked = x509.load_pem_x509_csr((tmp_path / "requests" / "dora.csr").read_bytes())
    assert found.public_key() == asked.public_key()


def test_one_password_for_all(pki: PKI, issue, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("one for all of them\n")
    issue("username,device\ndora,laptop\n", "--password-file", str(tmp_path / "password"))
    pkcs12.load_pkcs12((folder / "dora-laptop.p12").read_bytes(), b"one for all of them")


def test_again_after_it_was_done(pki: PKI, issue, folder: Path) -> None:
    issue("username,device\ndora,laptop\n")
    issue("username,device\ndora,laptop\nemil,laptop\n")
    assert "dora-laptop.p12: done before, serial" in issue.said[0]
    assert Certificate.objects.of_people().count() == 2
    (folder / "dora-laptop.p12").unlink()
    [line, _] = issue("username,device\ndora,laptop\n")
    assert "its file is not there" in line


def test_again_after_the_process_ended_behind_a_commit(pki: PKI, issue, folder: Path) -> None:
    """The file was written, the certificate committed, and the file not yet in its place."""
    issue("username,device\ndora,laptop\n")
    certificate = Certificate.objects.of_people().get()
    there = folder / "dora-laptop.p12"
    content = there.read_bytes()
    there.rename(folder / f"dora-laptop.p12.{certificate.serial}.part")
    [line, _] = issue("username,device\ndora,laptop\n")
    assert line.endswith("UTC")
    assert there.read_bytes() == content
    assert os.listdir(folder) == ["dora-laptop.p12"]


def test_again_after_the_process_ended_before_a_commit(
    pki: PKI, issue, folder: Path, monkeypatch
) -> None:
    """A file of a certificate that does not exist is left for nobody to take for one."""
    folder.mkdir()
    left = folder / "dora-laptop.p12.abc123.part"
    left.write_bytes(b"of a step that was undone")
    issue("username,device\ndora,laptop\n")
    assert os.listdir(folder) == ["dora-laptop.p12"]


def test_ctrl_c_undoes_the_step_and_says_how_far_it_was(
    pki: PKI, issue, folder: Path, monkeypatch
) -> None:
    monkeypatch.setattr(roster, "STEP_WITH_KEYS", 1)
    pack, packed = roster.handout.pack, list[str]()

    def interrupted(**fields: Any) -> Any:
        packed.append(fields["name"])
        if len(packed) == 2:
            raise KeyboardInterrupt
        return pack(**fields)

    text = "username,device\ndora,laptop\nemil,laptop\nfrida,laptop\n"
    monkeypatch.setattr(roster.handout, "pack", interrupted)
    with pytest.raises(CommandError, match=r"Stopped after 1 of 3\. Run it again to go on\."):
        issue(text)
    assert list(User.objects.values_list("username", flat=True)) == ["dora"]
    issue(text)
    assert sorted(os.listdir(folder)) == [
        f"{name}-laptop.p12" for name in ("dora", "emil", "frida")
    ]


def test_refused_rows_stop_all(pki: PKI, people: People, issue, folder: Path) -> None:
    text = "username,device,profile\nalice,laptop,\nDora,laptop,\nbob,laptop,code\n"
    with pytest.raises(CommandError) as refused:
        issue(text)
    assert str(refused.value).splitlines()[0] == "2 rows are refused, so none of these were issued."
    assert refused.match(r"row 3 \(Dora\): .*\nrow 4 \(bob\): Somebody must approve")
    assert os.listdir(folder) == []
    assert not Certificate.objects.of_people().exists()


def test_refused_rows_are_left_out_where_the_others_go_on(
    pki: PKI, people: People, issue, folder: Path
) -> None:
    with pytest.raises(CommandError, match=r"left out:\nrow 3 \(Dora\)"):
        issue("username,device\nalice,laptop\nDora,laptop\n", "--keep-going")
    assert os.listdir(folder) == ["alice-laptop.p12"]
    assert AuditEntry.objects.filter(action="certificate.issue.refused", target="Dora").exists()


def test_files_of_others_are_not_overwritten(pki: PKI, issue, folder: Path) -> None:
    folder.mkdir()
    (folder / "dora-laptop.p12").write_text("something else")
    with pytest.raises(CommandError, match=r"dora-laptop\.p12\. Move them away"):
        issue("username,device\ndora,laptop\n")
    assert (folder / "dora-laptop.p12").read_text() == "something else"
    assert not User.objects.filter(username="dora").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must name its columns, each once: username, device"),
        ("name,device\n", "must name its columns"),
        ("username,device,shoe\n", "must name its columns"),
        ("username,username,device\n", "must name its columns"),
        ("username,device\n", "this one has 0"),
        ("username,device\n\ndora\n", "Row 3 of this list has 1 fields, and there are 2 columns"),
        ('username,device\n"dora,laptop\n', "cannot be read"),
        ("username,device,csr\ndora,laptop,gone.csr\n", "Row 2, gone.csr: .* cannot be read"),
        ("username,device,csr\n\ndora,laptop,a\0b.csr\n", "Row 3 .* has a control character"),
        ("username,device\n\x1b[31mdora,laptop\n", "Row 2 .* has a control character"),
        ("username,device,name\ndora,laptop,D\x1b[2J\n", "Row 2 .* has a control character"),
        ("username,device\n" + "dora,laptop\n" * 10_001, "more than 10000 rows. Part it"),
        ("username,device,csr\ndora,laptop,list.csv\n", "Row 2, list.csv: This file is not"),
    ],
)
def test_lists_that_are_none(pki: PKI, issue, text: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        issue(text)
    assert not Certificate.objects.of_people().exists()
