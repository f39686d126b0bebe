"""The cast with their certificates, a room of Alice's, and sockets without a network."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from chat import services
from pki.identity import Identity
from tests import factories


@dataclass(frozen=True)
class Cast:
    """Alice owns, Bob is a member, Charlie is a stranger."""

    alice: Identity
    bob: Identity
    charlie: Identity


@pytest.fixture
def cast(pki: factories.PKI, people: factories.People, at: dt.datetime) -> Cast:
    return Cast(
        alice=factories.make_identity(people.alice, pki.issuing, at=at),
        bob=factories.make_identity(people.bob, pki.issuing, at=at),
        charlie=factories.make_identity(people.charlie, pki.issuing, at=at),
    )


@pytest.fixture
def den(cast: Cast, at: dt.datetime) -> str:
    """A private room: Alice owns it, Bob is in it. Its log has two events."""
    services.create_room(
        actor=cast.alice, room="den", name="Den", kind="private", members=["bob"], at=at
    )
    return "den"


@pytest.fixture
def square(cast: Cast, at: dt.datetime) -> str:
    """A public room with Alice alone in it. Its log has one event."""
    services.create_room(actor=cast.alice, room="square", name="Square", kind="public", at=at)
    return "square"


@pytest.fixture(autouse=True)
def no_connection_left_in_the_thread() -> Iterator[None]:
    """Database work of async code has a thread of its own, whose connection outlives the test."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
