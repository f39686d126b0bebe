"""Answers in memory: bounded, and given out only while they are known to be right."""

from __future__ import annotations

import datetime as dt

import pytest

from pki.answers import Answer, AnswerCache, Kept

AT = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
HALF_AN_HOUR = dt.timedelta(minutes=30)


@pytest.fixture
def cache() -> AnswerCache:
    return AnswerCache(room=3)


def key(serial: int) -> tuple[int, str, int]:
    return (1, "sha1", serial)


def kept(der: bytes = b"good") -> Kept:
    return Kept(Answer(der, AT, AT + 2 * HALF_AN_HOUR), (None, "", "signer"), AT + HALF_AN_HOUR)


def fill(cache: AnswerCache, *serials: int) -> None:
    for serial in serials:
        assert cache.put(key(serial), kept(), generation=cache.generation)


def is_given(cache: AnswerCache, serial: int, at: dt.datetime = AT) -> bool:
    return cache.get(key(serial), at=at) is not None


def test_an_answer_is_given_until_its_time_is_over(cache):
    fill(cache, 1)
    assert cache.get(key(1), at=AT) == kept().answer
    assert is_given(cache, 1, AT + HALF_AN_HOUR - dt.timedelta(seconds=1))
    assert not is_given(cache, 1, AT + HALF_AN_HOUR)


def test_an_answer_of_the_future_is_not_given(cache):
    fill(cache, 1)
    assert not is_given(cache, 1, AT - dt.timedelta(seconds=1))


def test_nothing_is_given_after_a_change(cache):
    fill(cache, 1, 2)
    cache.outdate()
    assert not is_given(cache, 1)
    assert not is_given(cache, 2)


def test_an_answer_from_before_a_change_does_not_come_in_after_it(cache):
    generation = cache.generation
    cache.outdate()
    assert not cache.put(key(1), kept(), generation=generation)
    assert not is_given(cache, 1)


def test_what_still_holds_is_put_again(cache):
    fill(cache, 1)
    cache.outdate()
    cache.put(key(1), cache.recall(key(1)), generation=cache.generation)
    assert cache.get(key(1), at=AT) == kept().answer


def test_the_one_not_asked_for_the_longest_goes(cache):
    fill(cache, 1, 2, 3)
    assert is_given(cache, 1)
    fill(cache, 4)
    assert len(cache) == 3
    assert [serial for serial in (1, 2, 3, 4) if is_given(cache, serial)] == [1, 3, 4]


def test_another_version_is_a_change(cache):
    cache.compare(5, read_at=1.0)
    fill(cache, 1)
    cache.compare(5, read_at=2.0)
    assert is_given(cache, 1)
    cache.compare(6, read_at=3.0)
    assert not is_given(cache, 1)


def test_a_comparison_is_known_by_its_time(cache):
    assert not cache.is_compared(since=0.0)
    cache.compare(5, read_at=2.0)
    cache.compare(5, read_at=1.0)  # a slow thread comes late
    assert cache.is_compared(since=2.0)
    assert not cache.is_compared(since=2.1)
