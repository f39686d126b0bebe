"""A flood of bad handshakes becomes a few entries with counts, whatever it varies."""

from __future__ import annotations

import datetime as dt

from project.tls.overheard import Overheard
from project.tls.sample import MOST_A_MINUTE, MOST_WAITING, SEVERAL, Sample

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def add(sample, *, peer="192.0.2.1:1", reason="certificate revoked", after=0, heard=None):
    at = NOON + dt.timedelta(seconds=after)
    heard = heard or Overheard()
    sample.add(endpoint="main", peer=peer, reason=reason, advice="Do.", at=at, heard=heard)


def test_same_kind_within_a_minute_is_one_entry():
    sample = Sample()
    add(sample, peer="192.0.2.1:1", heard=Overheard(certificate=b"first"))
    add(sample, peer="192.0.2.1:2", after=59)
    add(sample, peer="192.0.2.2:1", after=59)

    first, second = sample.take()

    assert (first.peer, first.count, first.heard.certificate) == ("192.0.2.1:1", 2, b"first")
    assert first.at == NOON + dt.timedelta(seconds=59)
    assert (second.peer, second.count) == ("192.0.2.2:1", 1)
    assert sample.take() == []


def test_next_minute_begins_anew():
    sample = Sample()
    add(sample)
    add(sample, after=60)

    assert [one.count for one in sample.take()] == [1, 1]


def test_many_addresses_are_counted_together():
    sample = Sample()
    for number in range(1000):
        add(sample, peer=f"192.0.{number // 256}.{number % 256}:1", after=number / 100)

    entries = sample.take()

    assert len(entries) == MOST_A_MINUTE + 1
    assert (entries[-1].peer, entries[-1].count) == (SEVERAL, 1000 - MOST_A_MINUTE)
    assert sum(one.count for one in entries) == 1000


def test_entry_that_was_taken_counts_against_its_minute():
    """Writing twice a second must not give a flood sixty entries each time."""
    sample = Sample()
    taken = []
    for number in range(1000):
        add(sample, peer=f"192.0.{number // 256}.{number % 256}:1", after=number / 100)
        taken += sample.take()

    assert len({one.key for one in taken}) == MOST_A_MINUTE + 1


def test_what_waits_is_bounded():
    sample = Sample()
    for number in range(10 * MOST_WAITING):
        add(sample, reason=f"reason {number}", after=number)

    assert len(sample) == MOST_WAITING
    assert sample.lost == 9 * MOST_WAITING


def test_what_could_not_be_written_waits_on_and_is_counted_on():
    sample = Sample()
    add(sample)
    taken = sample.take()
    add(sample, after=1)
    sample.put_back(taken)

    (one,) = sample.take()

    assert (one.count, one.at) == (2, NOON + dt.timedelta(seconds=1))


def test_clock_that_goes_back_begins_a_minute():
    sample = Sample()
    add(sample)
    add(sample, after=-10)

    assert len(sample) == 2
