"""The audit trail, and whoever tampers with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from threading import Thread

import pytest
from django.db import connection, transaction
from django.db.models import F, QuerySet

from pki import audit, crl, masterkey
from pki.errors import AuditError
from pki.models import AuditEntry, AuditHead, Certificate, User
from pki.revocation import revoke
from tests.factories import PKI, People, make_device, make_people, make_pki


@pytest.fixture
def trail(db: None, at: dt.datetime) -> None:
    for number in range(1, 6):
        _record(at, target=f"thing {number}", detail={"number": number, "text": "äöü 🔑"})


def _record(at: dt.datetime, *, target: str = "thing", detail: dict | None = None) -> AuditEntry:
    return audit.record(actor="alice", action="tested", target=target, detail=detail or {}, at=at)


def test_verify_sound_trail(trail: None) -> None:
    assert audit.verify() == 5


def test_verify_empty_trail(db: None) -> None:
    assert audit.verify() == 0


def test_verify_trail_of_a_pki(pki: PKI, people: People) -> None:
    make_device(people.alice, pki.issuing)
    assert audit.verify() == AuditEntry.objects.count() > 5


def _entry(number: int) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(sequence=number)


def _swap_two() -> None:
    AuditEntry.objects.filter(sequence=2).update(sequence=99)
    AuditEntry.objects.filter(sequence=3).update(sequence=2)
    AuditEntry.objects.filter(sequence=99).update(sequence=3)


def _shorten() -> None:
    AuditEntry.objects.filter(sequence__gt=3).delete()


def _remove_and_renumber() -> None:
    AuditEntry.objects.filter(sequence=3).delete()
    for number in (4, 5):
        AuditEntry.objects.filter(sequence=number).update(sequence=F("sequence") - 1)


def _replay_last() -> None:
    last = AuditEntry.objects.get(sequence=5)
    last.pk, last.sequence = None, 6
    last.save(force_insert=True)


TAMPERING: list[tuple[str, Callable[[], object], str]] = [
    ("actor", lambda: _entry(2).update(actor="mallory"), "entry 2 has been changed"),
    ("action", lambda: _entry(2).update(action="else"), "entry 2 has been changed"),
    ("target", lambda: _entry(3).update(target="other"), "entry 3 has been changed"),
    ("detail", lambda: _entry(4).update(detail={"number": 5}), "entry 4 has been changed"),
    ("time", lambda: _entry(1).update(at=F("at") + dt.timedelta(microseconds=1)), "entry 1 has"),
    ("hash", lambda: _entry(5).update(hash="0" * 64), "entry 5 has been changed"),
    ("previous", lambda: _entry(2).update(previous="0" * 64), "entry 2 does not follow entry 1"),
    ("first removed", lambda: _entry(1).delete(), "entry 1 is missing"),
    ("one removed", lambda: _entry(3).delete(), "entry 3 is missing"),
    ("last removed", lambda: _entry(5).delete(), "entry 5 is missing"),
    ("all removed", lambda: AuditEntry.objects.all().delete(), "entry 1 is missing"),
    ("end cut off", _shorten, "entry 4 is missing"),
    ("two swapped", _swap_two, "entry 2 does not follow"),
    ("removed and renumbered", _remove_and_renumber, "entry 3 does not follow"),
    ("replayed", _replay_last, "entry 6 does not follow"),
    ("head removed", lambda: AuditHead.objects.all().delete(), "entry 5 is not the one"),
    ("head moved back", lambda: AuditHead.objects.update(sequence=4), "entry 5 is not the one"),
]


@pytest.mark.parametrize(
    ("tamper", "sentence"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING]
)
def test_verify_tampered_trail(trail: None, tamper: Callable[[], object], sentence: str) -> None:
    assert audit.verify() == 5
    tamper()
    with pytest.raises(AuditError, match=sentence):
        audit.verify()


def test_verify_while_entries_are_appended(trail: None, at: dt.datetime, monkeypatch) -> None:
    """The head moves on between the walk and the look at it; that is no fault."""
    walk, appended = audit._walk, iter(range(1))

    def walk_slowly(*arguments):
        outcome = walk(*arguments)
        if next(appended, None) is not None:
            _record(at)
        return outcome

    monkeypatch.setattr(audit, "_walk", walk_slowly)
    assert audit.verify() == 5
    assert audit.verify() == 6


def test_verify_while_an_entry_is_appended_in_mid_walk(
    trail: None, at: dt.datetime, monkeypatch
) -> None:
    """The head was read before, and the walk reads further than that."""
    head, appended = audit._head, iter(range(1))

    def head_before():
        found = head()
        if next(appended, None) is not None:
            _record(at)
        return found

    monkeypatch.setattr(audit, "_head", head_before)
    assert audit.verify() == 6


def test_verify_trail_of_who_lacks_the_master_key(trail: None, settings, tmp_path) -> None:
    """Who can write the database but not the key cannot make a chain that holds."""
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "other.key"
    masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    with pytest.raises(AuditError, match="entry 1 has been changed"):
        audit.verify()


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


def test_nothing_is_issued_that_cannot_be_recorded(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    """The next entry's number is taken, so that the entry cannot be written."""
    before = Certificate.objects.count()
    AuditHead.objects.update(sequence=F("sequence") - 1)
    with pytest.raises(AuditError, match="cannot be written"):
        make_device(people.alice, pki.issuing, at=at)
    assert Certificate.objects.count() == before
    assert not people.alice.certificates.exists()


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
