"""Who may do what."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import Permission

from pki.models import User
from pki.permissions import (
    may_give_rights,
    may_issue,
    may_manage,
    may_revoke,
    may_set_password,
    may_switch,
    may_take_console,
    people_to_issue_for,
)
from tests.factories import PKI, People, make_device, make_person, make_server_certificate


def _officer(*codenames: str, **fields: object) -> User:
    user = make_person("officer", is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_admin_may_issue(people: People) -> None:
    assert may_issue(people.admin)


def test_staff_with_the_right_may_issue(db: None) -> None:
    assert may_issue(_officer("issue_certificate"))


@pytest.mark.parametrize(
    ("codename", "fields"),
    [
        ("view_certificate", {}),
        ("revoke_certificate", {}),
        ("issue_certificate", {"is_active": False}),
        ("issue_certificate", {"is_staff": False}),
    ],
)
def test_others_may_not_issue(db: None, codename: str, fields: dict[str, bool]) -> None:
    user = _officer(codename)
    User.objects.filter(pk=user.pk).update(**fields)
    assert not may_issue(User.objects.get(pk=user.pk))


def test_owner_may_revoke_own(pki: PKI, people: People, at: dt.datetime) -> None:
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    assert may_revoke(people.alice, certificate)
    assert not may_revoke(people.bob, certificate)
    people.alice.is_active = False
    assert not may_revoke(people.alice, certificate)


def test_staff_with_the_right_may_revoke(pki: PKI, people: People, at: dt.datetime) -> None:
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    assert may_revoke(people.admin, certificate)
    assert may_revoke(_officer("revoke_certificate"), certificate)


def test_staff_without_the_right_may_not_revoke(pki: PKI, people: People, at: dt.datetime) -> None:
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    assert not may_revoke(_officer("issue_certificate"), certificate)


def test_nobody_owns_what_has_no_owner(pki: PKI, at: dt.datetime) -> None:
    """A user without a primary key is not the owner of a server's certificate."""
    server = make_server_certificate(pki.issuing, at=at)
    assert not may_revoke(User(username="ghost"), server)


def test_administrators_manage_everybody_and_others_nobody_of_the_console(people: People) -> None:
    clerk = _officer()
    assert may_manage(people.admin, people.admin)
    assert may_manage(people.admin, clerk)
    assert may_manage(clerk, people.alice)
    assert not may_manage(clerk, people.admin)
    assert not may_manage(clerk, clerk)


def test_nobody_disables_or_disarms_themselves(people: People) -> None:
    clerk = _officer()
    assert may_switch(people.admin, clerk)
    assert may_take_console(people.admin, clerk)
    assert not may_switch(people.admin, people.admin)
    assert not may_take_console(people.admin, people.admin)
    assert not may_take_console(clerk, people.alice)


def test_administrators_alone_give_rights_and_passwords(people: People) -> None:
    clerk = _officer()
    assert may_give_rights(people.admin)
    assert not may_give_rights(clerk)
    assert may_set_password(people.admin, clerk)
    assert not may_set_password(people.admin, people.alice)
    assert not may_set_password(clerk, clerk)


def test_certificates_for_people_of_the_console_are_made_by_administrators(people: People) -> None:
    clerk = _officer()
    User.objects.filter(pk=people.bob.pk).update(is_active=False)
    assert set(people_to_issue_for(people.admin)) == {
        people.admin,
        clerk,
        people.alice,
        people.charlie,
    }
    assert set(people_to_issue_for(clerk)) == {people.alice, people.charlie}
