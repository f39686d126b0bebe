from __future__ import annotations

import pytest

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
