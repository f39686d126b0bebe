"""The cast with their certificates, a room of Alice's, and sockets without a network."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections

from chat import company, fanout, hub, lanes, lookalikes, rooms
from chat.standing import standings
from pki.identity import Identity
from tests import factories
from tests.chat.ears import Ear


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
    rooms.create_room(
        actor=cast.alice, room="den", name="Den", kind="private", members=["bob"], at=at
    )
    return "den"


@pytest.fixture
def square(cast: Cast, at: dt.datetime) -> str:
    """A public room with Alice alone in it. Its log has one event."""
    rooms.create_room(actor=cast.alice, room="square", name="Square", kind="public", at=at)
    return "square"


@pytest.fixture(autouse=True)
def no_names_remembered() -> None:
    """The accounts of another test are none of this one's."""
    lookalikes.forget()


@pytest.fixture(autouse=True)
def no_connection_left_in_a_thread() -> Iterator[None]:
    """Database work of async code has threads of its own, whose connections outlive the test."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
    for lane in lanes.LANES:
        wait(close_all(lane, Barrier(lane.threads)))


def close_all(lane: lanes.Lane, everybody: Barrier) -> list[Future[None]]:
    """Once in each of its threads: none is done before all are at it."""

    def close() -> None:
        connections.close_all()
        everybody.wait()

    return [lane.executor.submit(close) for _ in range(lane.threads)]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, which tells nobody who is there: see test_fanout and test_company for these."""
    monkeypatch.setattr(fanout, "_layer", lambda: None)
    monkeypatch.setattr(company, "GATHER", 3600)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """News is lost: whatever is announced reaches no hub."""
    monkeypatch.setattr(fanout, "announce", lambda _news: None)


@pytest.fixture
async def listening(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A hub of the test's own, and a way to put ears into it."""
    monkeypatch.setattr(fanout, "_layer", lambda: None)
    subject = hub.Hub(heartbeat=3600)
    ears = []

    async def listen(identity: Identity, **options: Any) -> Ear:
        ear = Ear(identity, **options)
        subject.admit(ear.connection)
        ears.append(ear)
        subject.open(ear.connection, await sync_to_async(standings)([identity.user_id]))
        return ear

    listen.hub = subject  # type: ignore[attr-defined]
    yield listen
    for ear in ears:
        subject.remove(ear.connection)
    await asyncio.sleep(0)
