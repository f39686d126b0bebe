from __future__ import annotations

import datetime as dt

import pytest

from pki.admin.columns import badge, day, distance


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (dt.timedelta(minutes=5), "in less than an hour"),
        (dt.timedelta(hours=30), "in 30 h"),
        (dt.timedelta(days=30, hours=1), "in 30 days"),
        (dt.timedelta(days=20 * 365), "in 20 years"),
        (-dt.timedelta(hours=3), "3 h ago"),
        (-dt.timedelta(days=15), "15 days ago"),
    ],
)
def test_distance_is_said_in_the_unit_that_helps(at, offset, words):
    assert distance(at + offset, at=at) == words


def test_day_has_no_leading_nought_and_may_be_missing():
    assert day(dt.datetime(2026, 3, 5, tzinfo=dt.UTC)) == "5 Mar 2026"
    assert day(None) == "–"


def test_text_in_a_badge_is_escaped():
    assert "<b>" not in badge("<b>bold</b>", "good")
