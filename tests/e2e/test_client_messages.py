"""What a room's messages come to: the fold of its log, and of the pages of its past."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { ALICE, BOB, message, note, ready } = cast;
const about = (seq, type, by, target, data = {}) =>
  note(seq, type, by, { message: `event-${target}`, ...data });
const fold = (...events) => messagestate.fold({}, events);
const edit = (seq, target, body, by = BOB) =>
  about(seq, "message.edited", by, target, { body, html: `<p>${body}</p>` });
const start = (...log) => {
  const head = log.length;
  const state = store.reduce(store.initial(), { type: "ready", ready: ready({ general: {} }) });
  return log.reduce((now, event) => store.reduce(now, { type: "event", event }), state);
};
const room = (state) => store.roomOf(state, "general");
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(messagestate="chat/messagestate.js", store="chat/store.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_an_edit_keeps_the_versions_before_it(run: Run) -> None:
    assert run("""
        const { "event-1": state } = fold(message(1), edit(2, 1, "second"), edit(3, 1, "third"));
        return [state.body, state.html, state.versions.map((version) => version.body),
          state.edited !== null];
    """) == ["third", "<p>third</p>", ["message 1", "second", "third"], True]


def test_reactions_say_who_and_count_each_person_once(run: Run) -> None:
    assert run("""
        const react = (seq, by, emoji) => about(seq, "reaction.added", by, 1, { emoji });
        const all = fold(message(1), react(2, ALICE, "👍"), react(3, BOB, "👍"), react(4, BOB, "👍"),
          react(5, BOB, "🎉"), about(6, "reaction.removed", BOB, 1, { emoji: "🎉" }));
        return all["event-1"].reactions.map(({ emoji, users }) => [emoji, users.map((u) => u.name)]);
    """) == [["👍", ["Alice", "Bob"]]]


def test_pins_come_and_go(run: Run) -> None:
    assert run("""
        const pinned = fold(message(1), about(2, "message.pinned", ALICE, 1));
        const taken = messagestate.fold(pinned, [about(3, "message.unpinned", ALICE, 1)]);
        return [pinned["event-1"].pinned.by.name, taken["event-1"].pinned];
    """) == ["Alice", None]


def test_a_deleted_message_says_who_took_it_away_and_nothing_else(run: Run) -> None:
    assert run("""
        const { "event-1": state } = fold(message(1, BOB, { body: "secret" }),
          edit(2, 1, "secret too"), about(3, "reaction.added", ALICE, 1, { emoji: "👍" }),
          about(4, "message.deleted", ALICE, 1, { reason: "spam" }), edit(5, 1, "secret again"));
        const { by, reason } = state.deleted;
        return [by.name, reason, state.reactions, JSON.stringify(state).includes("secret")];
    """) == ["Alice", "spam", [], False]


def test_messages_expire_up_to_a_number(run: Run) -> None:
    assert run("""
        const all = fold(message(1), message(2), message(3), edit(4, 1, "new"),
          note(5, "messages.expired", BOB, { upto: 2 }));
        return Object.values(all).map(({ expired, body }) => [expired, body]);
    """) == [[True, ""], [True, ""], [False, "message 3"]]


def test_an_event_counts_once_however_often_it_comes(run: Run) -> None:
    assert run("""
        const once = fold(message(1), edit(2, 1, "new"));
        return messagestate.fold(once, [message(1), edit(2, 1, "new")]) === once;
    """)


def test_a_thread_counts_the_answers_that_are_there(run: Run) -> None:
    assert run("""
        const answer = (seq) => message(seq, BOB, { data: { thread: "event-1" } });
        const all = fold(message(1), answer(2), answer(3), about(4, "message.deleted", BOB, 2));
        const { count, last } = messagestate.threadSummary(all["event-1"]);
        return [count, last === message(3).at, messagestate.threadSummary(all["event-3"])];
    """) == [1, True, None]


def test_the_log_loses_the_words_of_a_deleted_message_in_all_versions(run: Run) -> None:
    assert run("""
        const state = start(message(1, BOB, { data: { reply_to: "x" } }), edit(2, 1, "new"),
          message(3), about(4, "message.deleted", BOB, 1));
        return room(state).events.map((event) => event.data);
    """) == [
        {"client_id": "bob-1", "reply_to": "x", "deleted": True},
        {"message": "event-1", "deleted": True},
        {"body": "message 3", "html": "<p>message 3</p>", "client_id": "bob-3"},
        {"message": "event-1"},
    ]


def test_the_log_loses_the_words_of_what_expired(run: Run) -> None:
    assert run("""
        const state = start(message(1), message(2), edit(3, 1, "new"), edit(4, 2, "kept"),
          note(5, "messages.expired", BOB, { upto: 1 }));
        return room(state).events.slice(0, 4).map((event) => event.data.body ?? event.data);
    """) == [
        {"client_id": "bob-1", "expired": True},
        "message 2",
        {"message": "event-1", "expired": True},
        "kept",
    ]


def test_a_page_of_the_past_comes_with_what_became_of_it(run: Run) -> None:
    assert run("""
        const state = [
          { type: "ready", ready: ready({ general: { head: 9, read: 9 } }) },
          { type: "event", event: about(10, "reaction.added", ALICE, 5, { emoji: "👍" }) },
          { type: "history", room: "general", more: true, events: [
              ...[1, 2, 3, 4].map((seq) => note(seq + 4, "room.changed", BOB, { name: "x" })),
              message(9)].map((event) => (event.seq === 5 ? message(5) : event)),
            later: [edit(10, 9, "never: another event has this number")] },
        ].reduce(store.reduce, store.initial());
        const five = store.messageOf(room(state), "event-5");
        return [five.reactions.length, five.upto];
    """) == [1, 10]


def test_what_was_told_with_a_page_is_not_taken_twice(run: Run) -> None:
    """A page may know more than the log: its events come again, as news."""
    assert run("""
        const later = [edit(6, 5, "new"), about(7, "reaction.added", BOB, 5, { emoji: "👍" })];
        const actions = [
          { type: "ready", ready: ready({ general: { head: 5, read: 5 } }) },
          { type: "history", room: "general", events: [message(5)], later, more: true },
          ...later.map((event) => ({ type: "event", event })),
        ];
        const { versions, reactions } = store.messageOf(
          room(actions.reduce(store.reduce, store.initial())), "event-5");
        return [versions.length, reactions[0].users.length];
    """) == [2, 1]


def test_answers_from_beyond_a_page_count_and_are_not_kept(run: Run) -> None:
    assert run("""
        const answer = message(9, BOB, { data: { thread: "event-5" } });
        const state = [
          { type: "ready", ready: ready({ general: { head: 9, read: 9 } }) },
          { type: "window.opened", room: "general", more: true,
            events: [message(4), message(5)], later: [answer] },
        ].reduce(store.reduce, store.initial());
        const gone = store.reduce(state,
          { type: "event", event: about(10, "message.deleted", BOB, 9) });
        return [store.threadOf(room(state), "event-5").count, store.messageOf(room(state), "event-9"),
          store.threadOf(room(gone), "event-5")];
    """) == [1, None, None]


def test_an_excerpt_follows_the_log(run: Run) -> None:
    assert run("""
        const answer = (seq) => message(seq, BOB, { data: { thread: "event-1" } });
        const state = start(message(1), answer(2), answer(3), edit(4, 2, "new"),
          about(5, "message.deleted", BOB, 3), answer(6));
        const part = store.excerpt(room(state), { events: [message(1), answer(2), answer(3)] },
          { thread: "event-1" });
        return part.events.map(({ id }) => [part.messages[id].body, Boolean(part.messages[id].deleted)]);
    """) == [["message 1", False], ["new", False], ["", True], ["message 6", False]]
