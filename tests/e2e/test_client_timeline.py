"""How a room's log becomes what is on screen: groups, days, the line "New", notes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { ALICE, BOB, message, note } = cast;
const at = (hour, minute, day = 3) => new Date(2026, 2, day, hour, minute).toISOString();
const now = new Date(2026, 2, 3, 18);
const show = (events, { divider = null, waiting = [], ...rest } = {}) => {
  const messages = messagestate.fold({}, events);
  const room = { slug: "general", role: "member", kind: "public", events, messages, divider, waiting };
  return timeline.timeline({ ...room, ...rest }, ALICE, now);
};
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(timeline="chat/timeline.js", messagestate="chat/messagestate.js") as evaluate:
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


def test_answers_in_a_thread_show_as_one_line_under_their_message(run: Run) -> None:
    assert run("""
        const answer = (seq, time) => message(seq, BOB, { at: time, data: { thread: "event-1" } });
        const log = [message(1, BOB, {at: at(9, 0)}), answer(2, at(9, 1)), answer(3, at(14, 2)),
          message(4, BOB, {at: at(9, 3)})];
        const room = show(log);
        const inside = timeline.timeline({ slug: "general", events: log.slice(0, 3), divider: null,
          messages: messagestate.fold({}, log), waiting: [] }, ALICE, now, { thread: "event-1" });
        return [room.map((item) => [item.seq, item.isHead, item.thread]),
          inside.map((item) => [item.seq, item.isHead])];
    """) == [
        [[1, True, {"count": 2, "last": "14:02"}], [4, False, None]],
        [[1, True], [2, True], [3, True]],
    ]


def test_an_answer_quotes_what_it_answers(run: Run) -> None:
    quotes = run("""
        const answer = (seq, to) => message(seq, ALICE, { data: { reply_to: to } });
        return show([message(1, BOB, { body: "**Look** at\\n`this`" }), answer(2, "event-1"),
          answer(3, "elsewhere"), note(4, "message.deleted", BOB, { message: "event-1" })])
          .slice(1).map(({ quote, isHead }) => [quote.seq, quote.author, quote.words, isHead]);
    """)
    assert quotes == [
        [1, "Bob", "a message that was deleted", True],
        [None, "", "an earlier message", True],
    ]


def test_a_quotation_is_plain_words(run: Run) -> None:
    assert (
        run("""
        return timeline.wordsOf({ body: "**Look** at\\n`this`:\\n```py\\nx = 1\\n```" });
    """)
        == "Look at this: x = 1"
    )


def test_notes_say_what_changed_and_who_may_do_what(run: Run) -> None:
    notes = run("""
        const user = ALICE;
        return show([
          note(1, "room.changed", BOB, { name: "Plans" }),
          note(2, "room.changed", BOB, { archived: true, slow_seconds: 0 }),
          note(3, "room.changed", BOB, { slow_seconds: 90, posting: "moderators", description: "" }),
          note(4, "room.changed", BOB, { retention_days: 1 }),
          note(5, "member.left", BOB, { user, banned: true, reason: "spam" }),
          note(6, "member.left", BOB, { user }), note(7, "member.role", BOB, { user, role: "moderator" }),
          note(8, "member.role", BOB, { user: BOB, role: "member" }), message(9),
          note(10, "message.pinned", BOB, { message: "event-9" }),
          note(11, "messages.expired", BOB, { upto: 0 }),
        ]).filter((item) => !item.isMessage)
          .map((item) => item.note + (item.about ? ` (${item.about.seq})` : ""));
    """)
    assert notes == [
        "named the room “Plans”",
        "turned off slow mode and archived the room",
        "took the description away, let only moderators write here and turned on slow mode: "
        "one message in 90 seconds",
        "lets messages expire after 1 day",
        "banned Alice: spam",
        "took Alice out",
        "made Alice a moderator",
        "is a member now",
        "pinned a message (9)",
    ]


def test_messages_that_expired_one_after_the_other_are_one_line(run: Run) -> None:
    assert run("""
        return show([message(1), message(2), message(3),
          note(4, "messages.expired", BOB, { upto: 2 })]).map((item) => item.note ?? item.body);
    """) == ["2 messages have expired", "message 3"]


def test_new_is_not_said_of_a_place_where_the_log_does_not_reach_back(run: Run) -> None:
    assert run("""
        const log = [message(30), message(31)];
        return [10, 29].map((divider) => show(log, { divider }).map((item) => item.isFirstNew));
    """) == [[False, False], [True, False]]


def test_a_message_that_names_me_is_marked(run: Run) -> None:
    assert run("""
        const names = (seq, data, by = BOB) => message(seq, by, { data });
        return show([names(1, { mentions: [1] }), names(2, { mentions: [2] }), names(3, { everyone: true }),
          names(4, { everyone: true }, ALICE)]).map((item) => item.isForMe);
    """) == [True, False, True, False]


def test_an_item_is_drawn_again_only_when_something_of_it_changed(run: Run) -> None:
    assert run("""
        const log = [message(1), message(2, ALICE, { data: { reply_to: "event-1" } }), message(3)];
        const stamps = (events) => show(events).slice(0, 3).map((item) => item.stamp);
        const messages = messagestate.fold({}, log);
        const of = (messages) => show(log, { messages }).map((item) => item.stamp);
        const before = of(messages);
        const after = of(messagestate.fold(messages, [
          note(4, "reaction.added", BOB, { message: "event-1", emoji: "👍" })]));
        return [of(messages), after].map((all) => all.map((stamp, at) => stamp === before[at]));
    """) == [[True, True, True], [False, False, True]]


@pytest.mark.parametrize(
    ("more", "own", "others"),
    [
        ({}, "react reply thread edit delete link unread", "react reply thread link unread report"),
        (
            {"role": "moderator"},
            "react reply thread edit delete pin link unread",
            "react reply thread delete pin link unread report",
        ),
        ({"posting": "moderators"}, "react delete link unread", "react link unread report"),
        ({"archived": True}, "delete link unread", "link unread report"),
        (
            {"kind": "direct"},
            "react reply thread edit delete pin link unread",
            "react reply thread pin link unread report",
        ),
    ],
)
def test_what_may_be_done_with_a_message_follows_from_the_room(
    run: Run, more: dict[str, object], own: str, others: str
) -> None:
    rights = run(f"""
        return show([message(1, ALICE), message(2)], {json.dumps(more)})
          .map((item) => [...item.rights].filter((name) => name !== "certificate").join(" "));
    """)
    assert rights == [own, others]
