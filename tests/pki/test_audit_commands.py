"""The commands about the audit trail, and what all commands do with refusals and Ctrl-C."""

from __future__ import annotations

import datetime as dt
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pki import audit
from pki.errors import NotAllowedError
from pki.management.base import VerbCommand
from pki.models import AuditBacklog, AuditEntry, AuditHead
from tests.factories import PKI


def said(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    call_command(*command)
    return capsys.readouterr().out


def test_verify_audit_counts_the_entries_and_sweeps_the_backlog(pki: PKI, at, capsys) -> None:
    AuditBacklog.objects.create(at=at, actor="mallory", action="x.refused", target="y")
    assert said(capsys, "verify_audit") == f"{AuditEntry.objects.count()} entries, unbroken\n"
    assert AuditEntry.objects.filter(action="x.refused").exists()


def test_verify_audit_names_the_entry(pki: PKI) -> None:
    AuditEntry.objects.filter(sequence=3).delete()
    with pytest.raises(CommandError, match="entry 3 is missing"):
        call_command("verify_audit")
    assert not AuditEntry.objects.filter(action__endswith=".refused").exists()


def test_head_is_exported_and_compared(pki: PKI, tmp_path: Path, capsys) -> None:
    out, count = str(tmp_path / "head.zip"), AuditEntry.objects.count()
    assert f"{count} entries, signed by Test Issuing" in said(
        capsys, "export_audit_head", "--out", out
    )
    assert f"entry {count} is the one" in said(capsys, "verify_audit", "--head", out)

    AuditEntry.objects.filter(sequence__gte=count).delete()
    last = AuditEntry.objects.get(sequence=count - 1)
    AuditHead.objects.update(sequence=last.sequence, hash=last.hash)

    assert "unbroken" in said(capsys, "verify_audit")
    with pytest.raises(CommandError, match="its end was cut off"):
        call_command("verify_audit", "--head", out)


def test_head_is_signed_by_the_ca_that_is_named(pki: PKI, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "head.zip")
    options = ("export_audit_head", "--out", out, "--ca", "test-root")
    assert "signed by Test Root" in said(capsys, *options)


def test_head_cannot_be_written(pki: PKI, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_audit_head", "--out", str(tmp_path / "no" / "head.zip"))


def test_verify_audit_accepts_the_clock(pki: PKI, tmp_path: Path, capsys) -> None:
    AuditHead.objects.update(at=timezone.now() + dt.timedelta(days=3650))
    with pytest.raises(CommandError, match="verify_audit --accept-clock"):
        call_command("publish_crl")
    said(capsys, "verify_audit", "--accept-clock")
    assert "CRL 2" in said(capsys, "publish_crl", "--ca", "test-issuing")


class Opening(VerbCommand):
    error: BaseException = NotAllowedError("This is not yours.")

    def handle(self, *args: object, **options: object) -> None:
        raise self.error


def test_command_records_what_no_verb_recorded(db: None) -> None:
    with pytest.raises(CommandError, match="not yours"):
        call_command(Opening())
    entry = AuditEntry.objects.get()
    assert entry.action == "command.test_audit_commands.refused"
    assert entry.actor.startswith("command")


def test_command_records_nothing_twice(db: None) -> None:
    error = NotAllowedError("No.")
    audit.record_refusal(error, actor="alice", action="door.open")
    command = Opening()
    command.error = error
    with pytest.raises(CommandError):
        call_command(command)
    assert AuditEntry.objects.get().action == "door.open.refused"


COUNTING = """
import django, time
django.setup()
from pki.management.base import VerbCommand
class Command(VerbCommand):
    def handle(self, *args, **options):
        with self.progress("Counting") as progress:
            for done in range(100_000):
                progress(done, 100_000)
                time.sleep(0.01)
Command().run_from_argv(["manage.py", "count"])
"""


def test_command_is_ended_by_ctrl_c_with_one_sentence() -> None:
    """In a terminal of its own, where its progress is drawn."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING],
        stderr=theirs,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        # Where the tests run in the background of a shell, Ctrl-C is ignored from birth on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    shown = b""
    while b"/100000 (0%), " not in shown:
        shown += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    try:
        while more := os.read(ours, 1000):
            shown += more
    except OSError:
        pass  # the terminal's other end is closed
    text = shown.decode()
    assert text.rstrip().splitlines()[-1].endswith("of 100000. Run it again to go on.")
    assert "Traceback" not in text
