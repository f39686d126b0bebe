from __future__ import annotations

import pytest
from django.contrib.auth.models import Group

from pki import people
from pki.changes import current_version
from pki.errors import RequestError
from pki.models import AuditEntry, User


def test_created_person_has_no_usable_password_and_no_rights(db, at):
    person = people.create_person(actor="admin", username="dora", name="Dora", at=at)

    assert not person.has_usable_password()
    assert not person.is_staff
    assert AuditEntry.objects.get().action == "person.created"


@pytest.mark.parametrize(
    "username", ["", "Dora", "do ra", "-dora", "dora!", "d" * 65, "dora\n", "dorа", "../etc"]
)
def test_bad_username_is_refused_and_nothing_is_written(db, at, username):
    with pytest.raises(RequestError):
        people.create_person(actor="admin", username=username, at=at)
    assert not User.objects.exists()
    assert not AuditEntry.objects.exists()


def test_taken_username_is_refused(alice, at):
    with pytest.raises(RequestError, match="exists already"):
        people.create_person(actor="admin", username="alice", at=at)


def test_disabling_is_announced_and_done_once(alice, at):
    before = current_version()
    people.disable_person(actor="admin", user=alice, at=at)

    assert current_version() == before + 1
    with pytest.raises(RequestError, match="disabled already"):
        people.disable_person(actor="admin", user=alice, at=at)
    people.enable_person(actor="admin", user=alice, at=at)
    alice.refresh_from_db()
    assert alice.is_active


def test_name_taken_at_the_same_time_is_a_sentence(alice, at, monkeypatch):
    """Both looked before either wrote: the database says who was second."""
    monkeypatch.setattr(User, "full_clean", lambda self: None)
    with pytest.raises(RequestError, match="exists already"):
        people.create_person(actor="admin", username="alice", at=at)
    assert not AuditEntry.objects.exists()


def changed(user, at, **changes):
    return people.change_person(actor="admin", user=user, changes=changes, at=at)


def test_change_is_saved_recorded_and_announced(alice, at):
    version, group = current_version(), Group.objects.create(name="clerks")
    changed(alice, at, name="Alicia", is_staff=True, groups=[group])

    alice.refresh_from_db()
    assert (alice.name, alice.is_staff, list(alice.groups.all())) == ("Alicia", True, [group])
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target) == ("person.changed", "alice")
    assert entry.detail == {"name": "Alicia", "is_staff": "True", "groups": "clerks"}
    assert current_version() == version + 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"is_superuser": True}, "needs the console"),
        ({"email": "no address"}, "valid email"),
        ({"name": "x" * 101}, "at most 100"),
        ({"username": "eve"}, "cannot be changed: username"),
        ({"is_active": False}, "cannot be changed: is_active"),
    ],
)
def test_bad_change_is_a_sentence_and_changes_nothing(alice, at, changes, sentence):
    before = User.objects.values().get(pk=alice.pk)
    with pytest.raises(RequestError, match=sentence):
        changed(alice, at, **changes)
    assert User.objects.values().get(pk=alice.pk) == before
    assert not AuditEntry.objects.exists()


def test_console_password_is_set_and_recorded_without_itself(alice, at):
    people.set_console_password(actor="admin", user=alice, password="correct horse battery", at=at)

    alice.refresh_from_db()
    assert alice.check_password("correct horse battery")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.detail) == ("admin", "person.password_set", {})


def test_weak_console_password_is_refused(alice, at):
    with pytest.raises(RequestError, match="password"):
        people.set_console_password(actor="admin", user=alice, password="12345678", at=at)
    alice.refresh_from_db()
    assert not alice.has_usable_password()


def test_of_two_console_passwords_set_at_once_one_counts(alice, at):
    other = User.objects.get(pk=alice.pk)
    people.set_console_password(actor="admin", user=alice, password="correct horse battery", at=at)
    with pytest.raises(RequestError, match="set meanwhile"):
        people.set_console_password(actor="chief", user=other, password="another good one", at=at)
    other.refresh_from_db()
    assert other.check_password("correct horse battery")
