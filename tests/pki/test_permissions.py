"""Who may do what."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import Permission

from pki.models import User
from pki.permissions import may_issue, may_revoke
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
