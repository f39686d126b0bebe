"""The audit trail: what is recorded of changes and refusals."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from threading import Thread

import pytest
from django.db import DatabaseError, connection, transaction

from pki import audit, crl, upkeep
from pki.errors import (
    AuditError,
    CertificateExpiredError,
    MasterKeyMissingError,
    NotAllowedError,
    PKIError,
    StoppedError,
)
from pki.models import (
    AuditBacklog,
    AuditEntry,
    User,
)
from pki.revocation import revoke
from tests.factories import PKI, People, make_device, make_people, make_pki


@pytest.fixture
def trail(db: None, at: dt.datetime) -> None:
    for number in range(1, 6):
        _record(at, target=f"thing {number}", detail={"number": number, "text": "äöü 🔑"})


def _record(at: dt.datetime, *, target: str = "thing", detail: dict | None = None) -> AuditEntry:
    return audit.record(actor="alice", action="tested", target=target, detail=detail or {}, at=at)


@pytest.mark.django_db(transaction=True)
def test_record_outside_a_transaction(at: dt.datetime) -> None:
    with pytest.raises(AuditError, match="transaction"):
        _record(at)
    assert AuditEntry.objects.count() == 0


@pytest.mark.parametrize("detail", [{"x": object()}, {"x": float("nan")}, {"x": b"bytes"}])
def test_record_what_is_not_json(db: None, at: dt.datetime, detail: dict) -> None:
    with pytest.raises(AuditError, match="cannot be written"):
        _record(at, detail=detail)


def test_record_rolled_back_leaves_no_hole(trail: None, at: dt.datetime) -> None:
    with transaction.atomic():
        _record(at)
        transaction.set_rollback(True)
    assert _record(at).sequence == 6
    assert audit.verify() == 6


# --- Refusals -------------------------------------------------------------------------------


@audit.refusals("door.open")
def open_door(
    *, actor: str, name: str, at: dt.datetime, error: Exception | None = None, **rest: object
) -> str:
    with transaction.atomic():
        _record(at, target=name)
        raise error or NotAllowedError("This door is not yours.")


@audit.refusals("house.enter")
def enter_house(*, actor: str, at: dt.datetime, is_within_transaction: bool = False) -> None:
    if not is_within_transaction:
        open_door(actor=actor, name="front", at=at)
    with transaction.atomic():
        open_door(actor=actor, name="front", at=at)


def test_refusal_is_recorded_and_goes_on(trail: None, at: dt.datetime) -> None:
    with pytest.raises(NotAllowedError, match="not yours"):
        open_door(actor="mallory", name="front", at=at)

    assert AuditEntry.objects.count() == 6  # what the verb itself had written is gone
    entry = AuditEntry.objects.get(sequence=6)
    assert (entry.actor, entry.action, entry.target) == ("mallory", "door.open.refused", "front")
    assert entry.detail == {"reason": "This door is not yours.", "error": "NotAllowedError"}
    assert entry.at == at
    assert audit.verify() == 6


@pytest.mark.parametrize("is_within_transaction", [True, False])
def test_refusal_of_a_verb_within_a_verb_is_recorded_once(
    db: None, at: dt.datetime, is_within_transaction: bool
) -> None:
    with pytest.raises(NotAllowedError):
        enter_house(actor="mallory", at=at, is_within_transaction=is_within_transaction)
    assert [entry.action for entry in AuditEntry.objects.all()] == ["house.enter.refused"]


@pytest.mark.django_db(transaction=True)
def test_refusal_within_a_foreign_transaction_is_left_to_the_door(at: dt.datetime) -> None:
    with pytest.raises(NotAllowedError) as caught, transaction.atomic():
        open_door(actor="mallory", name="front", at=at)
    assert not AuditEntry.objects.exists()

    audit.record_refusal(caught.value, actor="the door", action="else")
    audit.record_refusal(caught.value)

    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action) == ("mallory", "door.open.refused")


def test_refusal_by_a_verb_that_notes_nothing_is_recorded_by_the_door(db: None) -> None:
    error = NotAllowedError("No.")
    for _ in range(2):
        audit.record_refusal(error, actor="alice", action="command.open", target="front")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == ("alice", "command.open.refused", "front")


@pytest.mark.parametrize("error", [CertificateExpiredError(), StoppedError(1, 2), ValueError("x")])
def test_what_is_no_refusal_is_not_recorded(db: None, at: dt.datetime, error: Exception) -> None:
    with pytest.raises(type(error)):
        open_door(actor="alice", name="front", at=at, error=error)
    assert not AuditEntry.objects.exists()


def test_refusal_to_nobody_is_not_recorded(db: None, at: dt.datetime) -> None:
    """Who is not known by name may not fill the trail."""
    with pytest.raises(NotAllowedError):
        open_door(actor="", name="front", at=at)
    assert not AuditEntry.objects.exists()


def test_refusal_names_certificates_and_authorities_as_other_entries_do(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    mine = make_device(people.alice, pki.issuing).certificate
    for about in ({"certificate": mine, "authority": pki.issuing}, {"authority": pki.issuing}):
        with pytest.raises(NotAllowedError):
            open_door(actor="alice", name="front", at=at, **about)
    targets = AuditEntry.objects.filter(action="door.open.refused").values_list("target", flat=True)
    assert list(targets) == ["CA test-issuing", f"certificate {mine.serial}"]


def test_refusal_is_recorded_in_short(db: None, at: dt.datetime) -> None:
    error = NotAllowedError("no\0 " * 400)
    with pytest.raises(NotAllowedError):
        open_door(actor="a" * 99, name="front", endpoint="n" * 999, at=at, error=error)
    entry = AuditEntry.objects.get()
    assert (len(entry.actor), len(entry.target), len(entry.detail["reason"])) == (64, 255, 500)
    assert "\0" not in entry.detail["reason"]


def test_refusals_to_one_actor_end_for_a_minute(db: None, at: dt.datetime, caplog) -> None:
    for _ in range(audit.MOST_A_MINUTE + 3):
        with pytest.raises(NotAllowedError):
            open_door(actor="mallory", name="front", at=at)
    assert AuditEntry.objects.count() == audit.MOST_A_MINUTE
    assert caplog.text.count("beyond what the audit trail takes") == 3

    for actor, moment in (("alice", at), ("mallory", at + dt.timedelta(seconds=61))):
        with pytest.raises(NotAllowedError):
            open_door(actor=actor, name="front", at=moment)
    assert AuditEntry.objects.count() == audit.MOST_A_MINUTE + 2


# --- What cannot be sealed ------------------------------------------------------------------


def test_refusal_without_the_master_key_waits_and_is_swept_in(
    trail: None, at: dt.datetime, settings, caplog
) -> None:
    key = settings.SIGNET_MASTER_KEY_FILE
    settings.SIGNET_MASTER_KEY_FILE = Path("missing.key")
    with pytest.raises(MasterKeyMissingError), caplog.at_level(logging.ERROR, logger="pki"):
        open_door(actor="mallory", name="front", at=at)
    assert AuditBacklog.objects.get().action == "door.open.refused"
    assert "cannot be sealed" in caplog.text
    with pytest.raises(MasterKeyMissingError):
        audit.sweep_backlog(at=at)
    assert AuditBacklog.objects.count() == 1

    settings.SIGNET_MASTER_KEY_FILE = key
    later = at + dt.timedelta(hours=1)
    assert audit.sweep_backlog(at=later) == 1

    assert not AuditBacklog.objects.exists()
    entry = AuditEntry.objects.get(sequence=6)
    assert (entry.actor, entry.at) == ("mallory", later)
    assert entry.detail["happened_at"] == at.isoformat()
    assert audit.verify() == 6
    assert audit.sweep_backlog(at=later) == 0


def test_upkeep_sweeps_the_backlog(db: None, at: dt.datetime) -> None:
    AuditBacklog.objects.create(at=at, actor="mallory", action="x.refused", target="y")
    upkeep.carry_out(at=at)
    assert AuditEntry.objects.get().action == "x.refused"


def test_backlog_is_bounded(db: None, at: dt.datetime, settings, monkeypatch) -> None:
    monkeypatch.setattr(audit, "MOST_IN_BACKLOG", 2)
    settings.SIGNET_MASTER_KEY_FILE = Path("missing.key")
    for _ in range(4):
        with pytest.raises(PKIError):
            open_door(actor="mallory", name="front", at=at)
    assert AuditBacklog.objects.count() == 2


def test_refusal_reaches_whoever_asked_even_if_nothing_can_be_written(
    db: None, at: dt.datetime, monkeypatch, caplog
) -> None:
    def broken(**fields: object) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(audit, "record", broken)
    error = NotAllowedError("No.")
    audit.record_refusal(error, actor="mallory", action="door.open")
    assert "could not be recorded" in caplog.text
    assert "mallory" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_many_doors_at_once_leave_one_chain(at: dt.datetime) -> None:
    """Issuing, revoking and publishing at once: no dead-lock, no hole, no CRL number twice."""
    pki, people = make_pki(at=at), make_people()
    failures: list[Exception] = []

    def work(owner: User) -> None:
        try:
            for _ in range(3):
                certificate = make_device(owner, pki.issuing, at=at).certificate
                revoke(actor="x", certificate=certificate, reason="superseded", at=at)
                crl.publish(authority=pki.issuing, actor="x", at=at)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [Thread(target=work, args=(one,)) for one in (people.alice, people.bob, people.admin)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert audit.verify() == AuditEntry.objects.count()
    numbers = pki.issuing.crls.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, 20))
    assert pki.issuing.crls.order_by("-number").values_list("entries", flat=True)[0] == 9
