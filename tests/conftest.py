"""Fixtures everybody uses: a moment, a PKI, and the cast (see tests/factories.py)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from django.utils import timezone

from pki.models import User
from tests import factories

TESTS = Path(__file__).parent


@pytest.fixture
def at() -> dt.datetime:
    return timezone.now().replace(microsecond=0)


@pytest.fixture
def pki(db: None, at: dt.datetime) -> factories.PKI:
    """A root, an issuing CA below it, and the trust store "chat"."""
    return factories.make_pki(at=at)


@pytest.fixture
def people(db: None) -> factories.People:
    return factories.make_people()


@pytest.fixture
def alice(people: factories.People) -> User:
    return people.alice


@pytest.fixture
def bob(people: factories.People) -> User:
    return people.bob


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several workers share the tests. Those that share a server, Chromium's policy or a database stay
    together on one of them, and begin first, because they take longest."""
    for item in items:
        if item.path == TESTS / "test_backends.py":
            item.add_marker(pytest.mark.xdist_group("backends"))
        elif item.path.is_relative_to(TESTS / "e2e"):
            item.add_marker(pytest.mark.xdist_group("e2e"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
