from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path

import pytest

from pki import audit, audit_head
from pki.admin import audit as pages
from pki.errors import StateError
from pki.models import AuditBacklog, AuditEntry, AuditHead, Operation
from tests.operations import finished
from tests.pki.admin.conftest import entry_of, said, text_of

AUDIT = "/console/pki/auditentry/"


def test_audit_trail_is_filtered_and_searched(console, pki):
    by_action = console.get(f"{AUDIT}?action=authority.created").context["cl"].queryset
    by_words = console.get(f"{AUDIT}?q=test-issuing").context["cl"].queryset

    assert {entry.target for entry in by_action} == {"CA test-root", "CA test-issuing"}
    assert {entry.action for entry in by_words} == {"authority.created", "crl.published"}


def test_serial_number_is_found_as_tools_print_it(console, pki):
    serial = pki.issuing.certificate.serial
    whole = serial.zfill(len(serial) + len(serial) % 2).upper()
    pairs = [whole[at : at + 2] for at in range(0, len(whole), 2)]
    for words in (serial, whole, ":".join(pairs), " ".join(pairs), f" 00:{':'.join(pairs)} "):
        found = console.get(AUDIT, data={"q": words}).context["cl"].queryset
        assert {entry.target for entry in found} == {f"certificate {serial}"}, words


def test_audit_entry_shows_its_detail_and_its_place_in_the_chain(console, pki):
    entry = AuditEntry.objects.get(action="authority.created", target="CA test-issuing")

    shown = text_of(console.get(f"{AUDIT}{entry.pk}/change/"))

    assert "<b>parent</b><span>test-root</span>" in shown
    assert entry.hash in shown
    assert entry.previous in shown


def test_chain_is_verified_by_a_button(console, pki):
    count = AuditEntry.objects.count()
    assert "Verify the audit trail?" in text_of(console.get(f"{AUDIT}verify/"))
    whole = said(console, console.post(f"{AUDIT}verify/"))
    assert count == AuditEntry.objects.count()
    assert whole == [f"The chain is whole: {AuditEntry.objects.count()} entries, none was changed."]

    AuditEntry.objects.filter(sequence=2).update(actor="mallory")

    (sentence,) = said(console, console.post(f"{AUDIT}verify/"))
    assert "Audit entry 2 has been changed" in sentence


@pytest.mark.django_db(transaction=True)
def test_long_chain_is_verified_beside_the_console(console, pki, monkeypatch):
    monkeypatch.setattr(pages, "MANY", 3)
    AuditEntry.objects.filter(sequence=2).update(actor="mallory")

    console.get(f"{AUDIT}verify/")
    assert not Operation.objects.exists()  # only looked at
    response = console.post(f"{AUDIT}verify/")

    operation = finished(Operation.objects.get())
    assert response.url == f"/console/pki/operation/{operation.pk}/change/"
    assert (operation.actor, operation.state) == ("admin", "failed")
    assert operation.outcome == "Audit entry 2 has been changed."


@pytest.mark.django_db(transaction=True)
def test_one_verification_runs_at_a_time(console, pki, monkeypatch):
    monkeypatch.setattr(pages, "MANY", 3)
    go_on = threading.Event()
    monkeypatch.setattr(pages, "_verified", lambda progress: str(go_on.wait(10)))
    assert console.post(f"{AUDIT}verify/").status_code == 302

    refused = console.post(f"{AUDIT}verify/")

    assert refused.status_code == 409
    assert "being verified already" in text_of(refused)
    go_on.set()
    finished(Operation.objects.get())
    assert console.post(f"{AUDIT}verify/").status_code == 302
    for operation in Operation.objects.all():
        finished(operation)


@pytest.mark.parametrize("page", ["verify", "export-head"])
def test_form_of_another_site_starts_nothing(console, pki, page):
    before = AuditEntry.objects.count()
    console.client.handler.enforce_csrf_checks = True
    assert console.post(f"{AUDIT}{page}/").status_code == 400
    assert (AuditEntry.objects.count(), Operation.objects.count()) == (before, 0)


def test_signed_head_is_taken_away(console, pki):
    before = AuditEntry.objects.count()
    assert "Content-Disposition" not in console.get(f"{AUDIT}export-head/")
    assert AuditEntry.objects.count() == before
    response = console.post(f"{AUDIT}export-head/")

    assert response["Content-Type"] == "application/zip"
    assert audit_head.NAME in zipfile.ZipFile(io.BytesIO(response.content)).namelist()
    assert audit_head.compare(response.content) == AuditHead.objects.get().sequence - 1
    assert entry_of("audit.head_exported").actor == "admin"


def test_refusal_is_marked_as_one(console, pki, at):
    audit.record_refusal(StateError("No."), actor="bob", action="certificate.issue")
    listed = text_of(console.get(AUDIT))
    assert 'certificate.issue</span> <span class="sg-badge sg-warn">refused' in listed


def test_refusals_that_wait_are_told_of(console, pki, at, settings):
    assert "wait to be recorded" not in text_of(console.get(AUDIT))
    AuditBacklog.objects.create(at=at, actor="bob", action="x.refused", target="y")
    assert "1 refused attempts wait to be recorded" in text_of(console.get(AUDIT))


def test_refused_form_leaves_an_entry(console, people, pki, at, monkeypatch):
    """What an undecorated verb refuses to a button is recorded by the console itself, once."""

    def refuse(**arguments):
        raise StateError("Not in this state.")

    monkeypatch.setattr(pages.audit_head, "export", refuse)
    assert console.get(f"{AUDIT}export-head/").status_code == 200
    assert not AuditEntry.objects.filter(action__endswith=".refused").exists()  # only looked at

    assert console.post(f"{AUDIT}export-head/").status_code == 409
    entry = entry_of("console.refused")
    assert (entry.actor, entry.target) == ("admin", f"{AUDIT}export-head/")
    assert entry.detail == {"reason": "Not in this state.", "error": "StateError"}


def test_console_without_the_master_key_keeps_what_it_refused(console, pki, settings):
    settings.SIGNET_MASTER_KEY_FILE = Path("missing.key")
    assert console.post(f"{AUDIT}export-head/").status_code == 409
    assert AuditBacklog.objects.get().detail["error"] == "MasterKeyMissingError"


def test_audit_trail_is_not_written_here(console, pki):
    entry = AuditEntry.objects.get(sequence=1)
    assert console.get(f"{AUDIT}add/").status_code == 404
    console.post(f"{AUDIT}{entry.pk}/change/", {"actor": "mallory"})
    assert console.post(f"{AUDIT}{entry.pk}/delete/", {"post": "yes"}).status_code == 404
    assert AuditEntry.objects.get(pk=entry.pk).actor == "tests"


def test_audit_trail_needs_the_right(clerk, pki):
    assert clerk("view_auditentry").get(AUDIT).status_code == 200
    looker = clerk("view_certificate")
    for path in (AUDIT, f"{AUDIT}verify/", f"{AUDIT}export-head/"):
        assert looker.get(path).status_code == 404
