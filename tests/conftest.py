"""Fixtures everybody uses: a moment, a PKI, and the cast (see tests/factories.py)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from django.utils import timezone

from chat import pictures
from pki import bundles, identity_files
from pki.models import User
from pki.views import health
from tests import factories

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take long to start a process."""
    monkeypatch.setattr(identity_files, "SECONDS", 120)
    monkeypatch.setattr(pictures, "SECONDS", 120)
    monkeypatch.setattr(bundles, "TOOL_SECONDS", 120)
    monkeypatch.setattr(health, "ANSWER_SECONDS", 30)


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker waits for another at the end."""
    first = [TESTS / "test_backends.py", TESTS / "e2e"]
    items.sort(key=lambda item: not any(item.path.is_relative_to(path) for path in first))
    items.sort(key=lambda item: item.path != first[0])
