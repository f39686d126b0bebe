"""Fixtures everybody uses: a moment, a PKI, and the cast (see tests/factories.py)."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from pki.models import User
from tests import factories


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
