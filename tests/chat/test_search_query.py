"""What somebody types into the search box."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequestError
from chat.search_query import Query, Term, folded, parse

TODAY = dt.date(2026, 11, 21)


def read(text):
    return parse(text, today=TODAY)


@pytest.mark.parametrize(
    ("text", "terms", "without"),
    [
        ("plan", ["plan*"], []),
        ("big plan", ["big", "plan*"], []),
        ('"big plan" now', ["big plan", "now*"], []),
        ('now "big plan"', ["now", "big plan"], []),
        ("“big plan”", ["big plan"], []),
        ('"never closed', ["never closed"], []),
        ("plan -old", ["plan*"], ["old"]),
        ('plan -"old one"', ["plan*"], ["old one"]),
        ("plan from:bob", ["plan*"], []),
        ("a", ["a"], []),
        ("é", ["é"], []),
        ("a.", ["a."], []),
        ("京", ["京*"], []),
        ("https://example.org/x", ["https://example.org/x*"], []),
        ("std::sort 12:30", ["std::sort", "12:30*"], []),
        ("well :-) done", ["well", "done*"], []),
        ("- -- plan", ["plan*"], []),
        ("\u037a plan -\u037a", ["plan*"], []),  # compared without case and accents it is a blank
    ],
)
def test_words_phrases_and_what_must_not_be_there(text, terms, without):
    query = read(text)
    assert [term.text + "*" * term.goes_on for term in query.terms] == terms
    assert [term.text for term in query.without] == without


def test_filters_say_who_where_when_and_what():
    query = read(
        "from:bob from:@alice in:#den before:2026-11-20 after:yesterday has:link HAS:Pin x"
    )
    assert query == Query(
        terms=(Term("x"),),
        people=("bob", "alice"),
        rooms=("den",),
        before=dt.date(2026, 11, 20),
        after=dt.date(2026, 11, 20),
        has=frozenset({"link", "pin"}),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("form:bob", "no filter “form:”"),
        ("-from:bob", "cannot be left out"),
        ("before:soon", "needs a day such as before:2026-11-21"),
        ("after:2026-02-30", "needs a day"),
        ("after:0001-01-01", "needs a day"),
        ("has:love", "“has:love” is none of has:link"),
        ("", "Say what to look for"),
        (" :-) !! ", "Say what to look for"),
        ('""', "Say what to look for"),
        ("-\u037a", "Say what to look for"),
    ],
)
def test_what_is_no_query_is_refused_in_words(text, sentence):
    with pytest.raises(BadRequestError, match=sentence):
        read(text)


@given(st.text(max_size=60) | st.text(alphabet="\":-*()^'\\ ab\x00\ud800", max_size=40))
def test_any_text_is_a_query_or_is_refused(text):
    with suppress(BadRequestError):
        read(text)


@pytest.mark.parametrize(
    ("text", "same"), [("Ärger", "arger"), ("CAFE\u0301", "café"), ("ﬁn", "fin"), ("ПЛАН", "план")]
)
def test_letters_compare_without_case_and_accents(text, same):
    assert folded(text) == folded(same)
