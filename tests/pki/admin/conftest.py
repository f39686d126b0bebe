"""Admin is in the console; Bob is nobody there until a test gives him rights."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pki.models import AuditEntry
from tests.factories import make_device
from tests.pki.client import PASSWORD, ConsoleVisitor


@pytest.fixture(autouse=True)
def no_lockouts():
    cache.clear()


@pytest.fixture
def console(pki, people):
    visitor = ConsoleVisitor(make_device(people.admin, pki.issuing).chain)
    visitor.unlock()
    return visitor


@pytest.fixture
def clerk(pki, people):
    """Bob uses the console with the rights he is given: clerk("view_user", …)."""

    def with_rights(*codenames):
        people.bob.is_staff = True
        people.bob.set_password(PASSWORD)
        people.bob.save()
        rights = Permission.objects.filter(codename__in=codenames)
        assert {right.codename for right in rights} == set(codenames)
        people.bob.user_permissions.set(rights)
        visitor = ConsoleVisitor(make_device(people.bob, pki.issuing).chain)
        visitor.unlock()
        return visitor

    return with_rights


def entry_of(action):
    """The newest entry of the audit trail about such an action."""
    return AuditEntry.objects.filter(action=action)[0]


def text_of(response):
    return response.content.decode()


def said(visitor, response):
    """The messages on the page that a redirect leads to."""
    assert response.status_code == 302, text_of(response)
    return [str(message) for message in visitor.get(response.url).context["messages"]]


def queries_of(visitor, path):
    """How many queries a page takes, once what is looked up once per process is known."""
    visitor.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert visitor.get(path).status_code == 200
    return len(captured)
