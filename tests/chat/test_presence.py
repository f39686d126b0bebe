"""Leases that expire, on a clock that is wound by hand."""

from __future__ import annotations

import pytest

from chat.presence import GRACE, PAUSE, Presence, State, best

ACTIVE, AWAY, OFFLINE = State
EVER = float("inf")
ALICE, BOB = 1, 2


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def presence(clock):
    return Presence(clock=clock, store={})


def test_best_of_many_states_counts():
    assert best([AWAY, ACTIVE, OFFLINE]) is ACTIVE
    assert best([OFFLINE, AWAY]) is AWAY
    assert best([]) is OFFLINE


def test_person_is_as_present_as_the_best_that_is_said(presence):
    presence.hold("here", {ALICE: AWAY}, until=EVER)
    presence.hold("there", {ALICE: ACTIVE, BOB: AWAY}, until=EVER)
    assert presence.changes() == {ALICE: ACTIVE, BOB: AWAY}
    assert presence.changes() == {}


def test_who_was_seen_and_gone_at_once_is_not_told_of(presence):
    presence.hold("here", {ALICE: ACTIVE}, until=EVER)
    presence.hold("here", {ALICE: OFFLINE}, until=EVER)
    assert presence.changes() == {}
    assert presence.next_at() is None


def test_offline_is_told_after_a_grace(presence, clock):
    presence.hold("here", {ALICE: ACTIVE}, until=EVER)
    presence.changes()
    clock.now += 60
    presence.hold("here", {ALICE: OFFLINE}, until=EVER)
    assert presence.changes() == {}
    assert presence.next_at() == clock.now + GRACE
    clock.now += GRACE
    assert presence.changes() == {ALICE: OFFLINE}
    assert presence.shown(ALICE) is OFFLINE


def test_reload_does_not_blink(presence, clock):
    presence.hold("here", {ALICE: ACTIVE}, until=EVER)
    presence.changes()
    presence.hold("here", {ALICE: OFFLINE}, until=EVER)
    clock.now += GRACE - 0.1
    assert presence.changes() == {}
    presence.hold("there", {ALICE: ACTIVE}, until=EVER)
    clock.now += 60
    assert presence.changes() == {}
    presence.hold("there", {ALICE: OFFLINE}, until=EVER)
    assert presence.changes() == {}, "the grace begins anew"


def test_flapping_person_changes_once_in_a_pause(presence, clock):
    told = []
    for turn in range(100):
        presence.hold("here", {ALICE: AWAY if turn % 2 else ACTIVE}, until=EVER)
        told += presence.changes().values()
        clock.now += 0.1
    assert len(told) == 100 * 0.1 / PAUSE
    clock.now += PAUSE
    told += presence.changes().values()
    assert told[-1] is AWAY, "what is so in the end is told"


def test_lease_that_is_not_renewed_takes_its_people_along(presence, clock):
    presence.hold("there", {ALICE: ACTIVE, BOB: ACTIVE}, until=clock.now + 62.5)
    presence.hold("here", {BOB: AWAY}, until=EVER)
    presence.changes()
    clock.now += 62.4
    presence.expire()
    assert presence.changes() == {}
    clock.now += 0.1
    presence.expire()
    assert presence.changes() == {BOB: AWAY}
    clock.now += GRACE
    assert presence.changes() == {ALICE: OFFLINE}


def test_renewed_lease_without_somebody_lets_them_go(presence, clock):
    presence.hold("there", {ALICE: ACTIVE, BOB: ACTIVE}, until=clock.now + 10)
    presence.changes()
    presence.hold("there", {BOB: ACTIVE}, until=clock.now + 20, is_all=True)
    clock.now += GRACE
    assert presence.changes() == {ALICE: OFFLINE}
    assert presence.held_by_others("here") == {BOB}


def test_next_look_is_when_a_lease_ends_or_something_may_be_told(presence, clock):
    presence.hold("there", {ALICE: ACTIVE}, until=clock.now + 10)
    presence.changes()
    assert presence.next_at() == clock.now + 10
    presence.hold("there", {ALICE: AWAY}, until=clock.now + 10)
    assert presence.next_at() == clock.now + PAUSE


def test_nothing_is_kept_of_who_is_gone_for_long(presence, clock):
    for person in range(1000):
        presence.hold("here", {person: ACTIVE}, until=EVER)
        presence.changes()
        presence.hold("here", {person: OFFLINE}, until=EVER)
        clock.now += GRACE
        presence.changes()
    assert (presence._shown, presence._gone_at, presence._unsettled) == ({}, {}, set())
    assert len(presence._told_at) <= 101
