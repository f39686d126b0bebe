from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from pki import enrolment, people
from pki.changes import current_version
from pki.errors import RequestError
from pki.models import USERNAME, AuditEntry, Invitation, TrustStore, User

REPOSITORY = Path(__file__).parents[2]


def done():
    """What the trail says was done; what was refused stands there too."""
    return list(AuditEntry.objects.exclude(action__endswith=".refused"))


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
    assert not done()


def test_who_is_created_where_a_store_recognises_is_told(pki, at):
    made = people.create_person(actor="admin", username="dora", email="d@example.org", at=at)
    assert people.recognised_by(made) == []
    for way, name in (("subject", "dora"), ("email", "d@example.org")):
        TrustStore.objects.update(recognises=way)
        (said,) = people.recognised_by(made)
        assert said.startswith(f"Whoever has a certificate for {name!r} that trust store ")
    made.is_staff = True
    assert people.recognised_by(made) == []


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
    assert not done()


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
    assert not done()


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


@pytest.mark.parametrize("username", ["signet", "check", "upkeep", "bootstrap", "command"])
def test_nobody_is_called_what_the_trail_calls_this_machine(db, at, username):
    with pytest.raises(RequestError, match="audit trail calls this machine"):
        people.create_person(actor="admin", username=username, at=at)
    assert not User.objects.exists()


def machine_actors():
    """Who acts where no person does: constants given as `actor`, also by default, that could be
    usernames."""
    for package in ("pki", "chat", "project"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for value in actors_in(ast.parse(path.read_text())):
                module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
                if isinstance(value, ast.Name):
                    found = getattr(import_module(module), value.id, None)
                else:
                    found = getattr(value, "value", None)
                if isinstance(found, str) and USERNAME.regex.match(found):
                    yield found


def actors_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "actor":
            yield node.value
        elif isinstance(node, ast.arguments):
            named = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            yield from (value for argument, value in named if argument.arg == "actor")


def test_every_machine_of_the_trail_is_reserved():
    found = set(machine_actors())
    assert {"signet", "bootstrap", "retention", "upkeep"} <= found
    assert found <= people.RESERVED


@pytest.mark.parametrize(
    "rights", [{"is_staff": True}, {"is_staff": True, "is_superuser": True}], ids=["some", "all"]
)
def test_open_links_end_when_the_person_is_given_the_console(alice, bob, at, rights):
    for user in (alice, bob):
        enrolment.invite(actor="lesser", user=user, device="laptop", at=at)
    changed(alice, at, **rights)

    assert [link.user for link in Invitation.objects.open(at)] == [bob]
    entry = AuditEntry.objects.get(action="invitation.withdrawn")
    assert (entry.actor, entry.target, entry.detail["device"]) == ("admin", "alice", "laptop")


def test_links_stay_when_the_console_is_taken_or_nothing_is_given(people, alice, at):
    enrolment.invite(actor="admin", user=alice, device="laptop", at=at)
    changed(alice, at, name="Alicia")
    enrolment.invite(actor="admin", user=people.admin, device="laptop", at=at)
    changed(people.admin, at, is_superuser=False)
    assert Invitation.objects.open(at).count() == 2


def link_with_password(user, at, hashed="md5$a$b"):
    invitation = enrolment.invite(actor="admin", user=user, device="laptop", at=at)[0]
    people.hold_console_password(
        actor="alice", user=user, hashed=hashed, invitation=invitation, at=at
    )
    return {"actor": "alice", "user": user, "invitation": invitation, "at": at}


def test_held_password_opens_nothing_until_it_is_released(alice, at):
    hashed = people.hash_console_password(user=alice, password="correct horse battery")
    held = link_with_password(alice, at, hashed)
    alice.refresh_from_db()
    assert not alice.has_usable_password()
    assert not alice.check_password("correct horse battery")

    people.release_console_password(**held)

    alice.refresh_from_db()
    assert alice.check_password("correct horse battery")


def test_only_the_last_link_releases_or_drops_what_it_chose(alice, at):
    first, second = link_with_password(alice, at), link_with_password(alice, at, "md5$c$d")
    before = User.objects.get(pk=alice.pk).password
    people.release_console_password(**first)
    people.drop_console_password(**first)
    assert User.objects.get(pk=alice.pk).password == before

    people.drop_console_password(**second)
    people.release_console_password(**second)
    assert not User.objects.get(pk=alice.pk).has_usable_password()


def test_password_that_was_set_meanwhile_is_neither_replaced_nor_dropped(alice, at):
    held = link_with_password(alice, at)
    people.set_console_password(actor="admin", user=alice, password="correct horse battery", at=at)
    people.release_console_password(**held)
    people.drop_console_password(**held)
    alice.refresh_from_db()
    assert alice.check_password("correct horse battery")
