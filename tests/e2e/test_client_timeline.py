"""How a room's log becomes what is on screen: groups, days, the line "New", notes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { ALICE, BOB, message, note } = cast;
const at = (hour, minute, day = 3) => new Date(2026, 2, day, hour, minute).toISOString();
const show = (events, { divider = null, waiting = [] } = {}) =>
  timeline.timeline({ events, divider, waiting }, ALICE, new Date(2026, 2, 3, 18));
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(timeline="chat/timeline.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_messages_of_one_author_within_five_minutes_are_one_group(run: Run) -> None:
    heads = run("""
        return show([
          message(1, BOB, {at: at(9, 0)}), message(2, BOB, {at: at(9, 4)}),
          message(3, BOB, {at: at(9, 8)}), message(4, BOB, {at: at(9, 14)}),
          message(5, ALICE, {at: at(9, 15)}), message(6, BOB, {at: at(9, 16)}),
        ]).map((item) => item.isHead);
    """)
    assert heads == [True, False, False, True, True, True]


def test_days_are_named(run: Run) -> None:
    days = run("""
        return show([
          message(1, BOB, {at: new Date(2025, 11, 31, 12).toISOString()}),
          message(2, BOB, {at: at(12, 0, 1)}), message(3, BOB, {at: at(23, 59, 2)}),
          message(4, BOB, {at: at(0, 1, 3)}), message(5, BOB, {at: at(0, 2, 3)}),
        ]).map((item) => [item.day.replace(",", ""), item.isHead]);
    """)
    assert days == [
        ["Wednesday 31 December 2025", True],
        ["Sunday 1 March", True],
        ["Yesterday", True],
        ["Today", True],
        ["", False],
    ]


def test_new_begins_at_the_first_unread_message_of_somebody_else(run: Run) -> None:
    first = run("""
        const items = show([message(1), message(2, ALICE), note(3, "member.joined"), message(4),
          message(5)], {divider: 1});
        return items.filter((item) => item.isFirstNew).map((item) => item.seq);
    """)
    assert first == [4]


def test_notes_say_what_happened_and_unknown_events_nothing(run: Run) -> None:
    notes = run("""
        return show([
          note(1, "room.created"), note(2, "member.joined", BOB, {user: BOB}),
          note(3, "member.joined", BOB, {user: ALICE}), note(4, "member.left", BOB),
          note(5, "reaction.added"),
        ]).map((item) => `${item.author} ${item.note}`);
    """)
    assert notes == ["Bob made this room", "Bob joined", "Bob brought Alice in", "Bob left"]


def test_a_message_keeps_its_key_from_the_echo_to_the_event(run: Run) -> None:
    keys = run("""
        const echo = {clientId: "mine", body: "hello", at: 0, state: "sending"};
        const [waiting] = show([], {waiting: [echo]});
        const [stored] = show([message(1, ALICE, {client_id: "mine"})]);
        const [foreign] = show([message(1, BOB, {client_id: "mine"})]);
        return [waiting.key === stored.key, stored.key === foreign.key, waiting.state, stored.state];
    """)
    assert keys == [True, False, "sending", "sent"]
