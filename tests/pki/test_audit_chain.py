"""The chain of entries, and whoever tampers with it."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable

import pytest
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from pki import audit, audit_chain, crl, masterkey
from pki.errors import AuditError, ClockError, MasterKeyInvalidError
from pki.models import AuditEntry, AuditHead, Certificate, User
from pki.revocation import revoke
from tests.factories import PKI, People, make_device


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


def _forge(number: int) -> None:
    previous = AuditEntry.objects.get(sequence=number - 1).hash
    forged = AuditEntry(sequence=number, actor="mallory", action="x", target="x", previous=previous)
    forged.at, forged.hash = timezone.now(), "f" * 64
    forged.save()


def _add_between() -> None:
    for number in (5, 4, 3):
        AuditEntry.objects.filter(sequence=number).update(sequence=number + 1)
    _forge(3)


TAMPERING: list[tuple[str, Callable[[], object], str]] = [
    ("actor", lambda: _entry(2).update(actor="mallory"), "entry 2 has been changed"),
    ("action", lambda: _entry(2).update(action="else"), "entry 2 has been changed"),
    ("target", lambda: _entry(3).update(target="other"), "entry 3 has been changed"),
    ("detail", lambda: _entry(4).update(detail={"number": 5}), "entry 4 has been changed"),
    ("time", lambda: _entry(1).update(at=F("at") + dt.timedelta(microseconds=1)), "entry 1 has"),
    ("hash", lambda: _entry(5).update(hash="0" * 64), "entry 5 has been changed"),
    ("previous", lambda: _entry(2).update(previous="0" * 64), "entry 2 has been changed"),
    ("first removed", lambda: _entry(1).delete(), "entry 1 is missing"),
    ("one removed", lambda: _entry(3).delete(), "entry 3 is missing"),
    ("last removed", lambda: _entry(5).delete(), "entry 5 is missing"),
    ("all removed", lambda: AuditEntry.objects.all().delete(), "entry 1 is missing"),
    ("end cut off", _shorten, "entry 4 is missing"),
    ("two swapped", _swap_two, "entry 2 is in the wrong place: it was written as entry 3"),
    (
        "removed and renumbered",
        _remove_and_renumber,
        "entry 3 is in the wrong place: .* as entry 4",
    ),
    ("replayed", _replay_last, "entry 6 is in the wrong place: .* as entry 5"),
    ("one added at the end", lambda: _forge(6), "entry 6 was added"),
    ("one added between", _add_between, "entry 3 was added"),
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
    walk, appended = audit_chain._Walk.onward, iter(range(1))

    def walk_slowly(*arguments):
        outcome = walk(*arguments)
        if next(appended, None) is not None:
            _record(at)
        return outcome

    monkeypatch.setattr(audit_chain._Walk, "onward", walk_slowly)
    assert audit.verify() == 5
    assert audit.verify() == 6


def test_verify_while_an_entry_is_appended_in_mid_walk(
    trail: None, at: dt.datetime, monkeypatch
) -> None:
    """The head was read before, and the walk reads further than that."""
    head, appended = audit_chain.head, iter(range(1))

    def head_before():
        found = head()
        if next(appended, None) is not None:
            _record(at)
        return found

    monkeypatch.setattr(audit_chain, "head", head_before)
    assert audit.verify() == 6


def test_verify_trail_of_who_lacks_the_master_key(trail: None, settings, tmp_path) -> None:
    """Who can write the database but not the key cannot make a chain that holds."""
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "other.key"
    other = masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    with pytest.raises(MasterKeyInvalidError, match="another one"):
        audit.verify()
    AuditHead.objects.update(key_id=other.identifier)
    with pytest.raises(AuditError, match="entry 1 has been changed"):
        audit.verify()


# --- The clock ------------------------------------------------------------------------------


@pytest.fixture
def set_clock(monkeypatch, at: dt.datetime) -> Callable[[dt.timedelta], None]:
    def by(difference: dt.timedelta) -> None:
        monkeypatch.setattr(audit_chain.timezone, "now", lambda: at + difference)

    return by


def test_head_keeps_the_time_of_the_clock_and_not_that_of_the_entry(db, at, set_clock) -> None:
    set_clock(dt.timedelta())
    _record(at - dt.timedelta(days=400))
    assert AuditHead.objects.get().at == at


def test_clock_set_back_stops_every_change(pki: PKI, people: People, at, set_clock) -> None:
    device = make_device(people.alice, pki.issuing)
    before = Certificate.objects.count(), AuditEntry.objects.count()
    set_clock(dt.timedelta(minutes=-6))

    for change in (
        lambda: make_device(people.bob, pki.issuing, at=at),
        lambda: revoke(actor="x", certificate=device.certificate, reason="superseded", at=at),
        lambda: crl.publish(authority=pki.issuing, actor="x", at=at),
    ):
        with pytest.raises(ClockError, match="Set the clock"):
            change()

    assert (Certificate.objects.count(), AuditEntry.objects.count()) == before
    assert Certificate.objects.get(pk=device.certificate.pk).revoked_at is None


def test_clock_a_little_behind_stops_nothing_and_creeps_no_further(trail, at, set_clock) -> None:
    set_clock(dt.timedelta(minutes=-4))
    _record(at)
    set_clock(dt.timedelta(minutes=-8))
    with pytest.raises(ClockError):
        _record(at)


def test_clock_that_was_ahead_is_accepted_by_word(trail, at, set_clock) -> None:
    AuditHead.objects.update(at=at + dt.timedelta(days=3650))
    with pytest.raises(ClockError):
        _record(at)

    audit.accept_clock(actor="alice", at=at)

    _record(at)
    assert AuditEntry.objects.get(action="clock.accepted").detail["before"] > at.isoformat()
    assert audit.verify() == 7


# --- Another master key ---------------------------------------------------------------------


@pytest.fixture
def other_key(settings, tmp_path) -> tuple[masterkey.MasterKey, masterkey.MasterKey]:
    """The master key of now, and the one that is put in its place."""
    old = masterkey.load(settings.SIGNET_MASTER_KEY_FILE)
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "new.key"
    return old, masterkey.create(settings.SIGNET_MASTER_KEY_FILE)


def test_reseal_lets_old_and_new_entries_verify(trail, at, other_key) -> None:
    old, new = other_key
    with pytest.raises(MasterKeyInvalidError):
        _record(at)

    audit.reseal(actor="alice", old=old, new=new, at=at)
    audit.reseal(actor="alice", old=old, new=new, at=at)  # once done it does nothing

    _record(at)
    assert audit.verify() == 7
    assert AuditEntry.objects.get(sequence=6).action == "master_key.changed"


def test_reseal_twice_keeps_the_first_secret(trail, at, other_key, settings, tmp_path) -> None:
    old, new = other_key
    audit.reseal(actor="alice", old=old, new=new, at=at)
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "third.key"
    third = masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    audit.reseal(actor="alice", old=new, new=third, at=at)

    assert audit.verify() == 7
    _entry(2).update(actor="mallory")
    with pytest.raises(AuditError, match="entry 2 has been changed"):
        audit.verify()


def test_reseal_of_a_trail_from_before_heads_named_their_key(trail, at, other_key) -> None:
    AuditHead.objects.update(key_id="", at=None)
    old, new = other_key
    audit.reseal(actor="alice", old=old, new=new, at=at)
    assert audit.verify() == 6


def test_reseal_refuses_a_key_the_trail_was_not_written_under(trail, at, other_key) -> None:
    with pytest.raises(MasterKeyInvalidError):
        audit.reseal(
            actor="x", old=masterkey.MasterKey(b"1" * 32), new=masterkey.MasterKey(b"2" * 32), at=at
        )
    assert AuditHead.objects.get().former_secrets == []


def test_stolen_former_master_key_changes_nothing(trail, at, other_key) -> None:
    """Mallory hashes entry 5 anew under the old key, but the next one holds the old hash."""
    old, new = other_key
    audit.reseal(actor="alice", old=old, new=new, at=at)
    entry = AuditEntry.objects.get(sequence=5)
    entry.actor = "mallory"
    entry.hash = audit_chain._hash_of(old.derive(audit_chain.PURPOSE), entry, 5)
    entry.save()
    with pytest.raises(AuditError, match="entry 6 does not follow entry 5"):
        audit.verify()


def test_changed_former_secret_is_found(trail, at, other_key) -> None:
    old, new = other_key
    audit.reseal(actor="alice", old=old, new=new, at=at)
    (one,) = AuditHead.objects.get().former_secrets
    for changed in ({**one, "until": 4}, {**one, "sealed": "AAAA"}, {"until": 5}, "text"):
        AuditHead.objects.update(former_secrets=[changed])
        with pytest.raises(AuditError, match="former secret"):
            audit.verify()
    AuditHead.objects.update(former_secrets=[])
    with pytest.raises(AuditError, match="entry 1 has been changed"):
        audit.verify()


def test_verify_tells_how_far_it_is(trail, monkeypatch) -> None:
    monkeypatch.setattr(audit_chain, "STEP", 2)
    told: list[tuple[int, int]] = []
    audit.verify(progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_who_swallows_that_nothing_was_recorded_changes_nothing(
    trail: None, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that is written out tells Django of no failure by itself."""
    monkeypatch.setattr(audit_chain, "MOVE_END", audit_chain.MOVE_END.replace("SET", "SET no, "))
    with transaction.atomic():
        User.objects.create(username="eve")
        with contextlib.suppress(AuditError):
            _record(at)
    assert not User.objects.filter(username="eve").exists()
    assert audit.verify() == 5
