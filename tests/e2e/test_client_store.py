"""The client's reducer: one rule of numbers gives order, no repeats and no holes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { ALICE, BOB, message, note, ready } = cast;
const { reduce, initial, roomOf, unread, behind } = store;
const fold = (...actions) => actions.reduce(reduce, initial());
const event = (event) => ({ type: "event", event });
const start = (rooms, options) => ({ type: "ready", ready: ready(rooms, options) });
const seqs = (state, slug = "general") => roomOf(state, slug).events.map((event) => event.seq);
const echo = (clientId, body = "hello") => ({ type: "echo.added", entry:
  { clientId, body, room: "general", at: 0, state: "sending" } });
const waiting = (state) => roomOf(state, "general").waiting.map((entry) => entry.clientId);
const view = (state, slug = "general") => {
  const { first, last, head, read, divider } = roomOf(state, slug);
  return { first, last, head, read, divider, unread: unread(state, roomOf(state, slug)) };
};
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(store="chat/store.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_events_in_order_are_applied(run: Run) -> None:
    assert run("""
        return seqs(fold(start({general: {}}), event(message(1)), event(message(2))));
    """) == [1, 2]


def test_a_repeated_event_is_ignored(run: Run) -> None:
    assert run("""
        return seqs(fold(start({general: {}}), event(message(1)), event(message(1)),
          event(message(2)), event(message(1))));
    """) == [1, 2]


def test_an_event_beyond_a_hole_is_held_and_the_room_is_behind(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), event(message(1)), event(message(4)));
        return [seqs(state), behind(state)];
    """) == [[1], {"general": 1}]


def test_held_events_follow_when_the_hole_is_filled(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), event(message(5)), event(message(4)),
          event(message(1)),
          {type: "sync", rooms: {general: {events: [message(2), message(3)], more: false, head: 5}}});
        return [seqs(state), behind(state)];
    """) == [[1, 2, 3, 4, 5], {}]


def test_a_lost_event_is_noticed_by_the_heartbeat(run: Run) -> None:
    assert run("""
        return behind(fold(start({general: {}}), event(message(1)),
          {type: "heads", rooms: {general: 3, unknown: 9}}));
    """) == {"general": 1}


def test_shuffled_and_repeated_events_end_as_the_log(run: Run) -> None:
    assert run("""
        const random = cast.dice(7);
        const log = Array.from({length: 60}, (_, index) => message(index + 1));
        const deliveries = [...log, ...log.filter(() => random() < 0.5)];
        for (let i = deliveries.length - 1; i > 0; i -= 1) {
          const j = Math.floor(random() * (i + 1));
          [deliveries[i], deliveries[j]] = [deliveries[j], deliveries[i]];
        }
        return seqs(fold(start({general: {}}), ...deliveries.map(event)));
    """) == list(range(1, 61))


def test_a_local_echo_gives_way_to_its_event(run: Run) -> None:
    assert run("""
        const before = fold(start({general: {}}), echo("mine"));
        const after = reduce(before, event(message(1, ALICE, {client_id: "mine"})));
        return [waiting(before), waiting(after), seqs(after)];
    """) == [["mine"], [], [1]]


def test_an_echo_stays_while_its_event_is_held(run: Run) -> None:
    assert run("""
        const held = fold(start({general: {}}), echo("mine"),
          event(message(2, ALICE, {client_id: "mine"})));
        const filled = reduce(held, event(message(1)));
        return [waiting(held), waiting(filled), seqs(filled)];
    """) == [["mine"], [], [1, 2]]


def test_somebody_elses_client_id_takes_no_echo_away(run: Run) -> None:
    assert run("""
        return waiting(fold(start({general: {}}), echo("mine"),
          event(message(1, BOB, {client_id: "mine"}))));
    """) == ["mine"]


def test_an_echo_of_what_is_stored_already_does_not_appear(run: Run) -> None:
    assert (
        run("""
        return waiting(fold(start({general: {}}),
          event(message(1, ALICE, {client_id: "mine"})), echo("mine")));
    """)
        == []
    )


def test_an_answer_to_a_repeated_post_ends_the_echo_though_its_number_is_old(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {head: 9, read: 9}}), echo("mine"),
          event(message(4, ALICE, {client_id: "mine"})));
        return [waiting(state), view(state).last];
    """) == [[], 9]


def test_what_others_write_is_unread_and_what_i_write_is_not(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}, other: {}}), event(message(1)),
          event(message(2, ALICE)), event(note(3, "member.joined")), event(message(4)));
        return [view(state).unread, store.unreadInAll(state)];
    """) == [2, 2]


def test_who_looks_at_the_end_reads_what_arrives(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), {type: "opened", room: "general"},
          {type: "attending", value: true}, event(message(1)), event(message(2)));
        return view(state);
    """) == {"first": 1, "last": 2, "head": 2, "read": 2, "divider": None, "unread": 0}


def test_the_line_new_stays_where_reading_stopped(run: Run) -> None:
    assert run("""
        const away = fold(start({general: {}}), {type: "opened", room: "general"},
          {type: "attending", value: true}, event(message(1)), {type: "away"},
          event(message(2)), event(message(3)));
        const back = reduce(away, {type: "attending", value: true});
        return [view(away).divider, view(away).unread, view(back).divider, view(back).unread];
    """) == [1, 2, 1, 0]


def test_the_line_new_goes_when_one_writes_or_leaves(run: Run) -> None:
    assert run("""
        const away = fold(start({general: {}, other: {}}), {type: "opened", room: "general"},
          event(message(1)));
        const wrote = reduce(away, echo("mine"));
        const left = reduce(away, {type: "opened", room: "other"});
        return [view(away).divider, view(wrote).divider, view(left).divider];
    """) == [0, None, None]


def test_a_mark_from_another_device_counts_and_never_goes_back(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), event(message(1)), event(message(2)),
          {type: "read", room: "general", seq: 2}, {type: "read", room: "general", seq: 1});
        return [view(state).read, view(state).unread];
    """) == [2, 0]


def test_history_is_put_in_front_and_only_where_it_joins(run: Run) -> None:
    assert run("""
        const page = (events, more) => ({type: "history", room: "general", events, more});
        const state = fold(start({general: {head: 5, read: 5}}), event(message(6)),
          page([message(4), message(5)], true), page([message(1)], false));
        const whole = reduce(state, page([message(1), message(2), message(3)], false));
        return [seqs(state), seqs(whole), roomOf(whole, "general").more];
    """) == [[4, 5, 6], [1, 2, 3, 4, 5, 6], False]


def test_a_new_connection_keeps_the_log_and_asks_for_the_rest(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), event(message(1)), event(message(2)),
          start({general: {head: 7}}));
        return [seqs(state), behind(state)];
    """) == [[1, 2], {"general": 2}]


def test_another_epoch_forgets_the_log_and_keeps_what_waits(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), event(message(1)), event(message(2)), echo("mine"),
          start({general: {head: 1, read: 1}}, {epoch: "second"}));
        return [seqs(state), waiting(state), view(state).last];
    """) == [[], ["mine"], 1]


def test_after_a_long_absence_a_room_starts_at_its_newest(run: Run) -> None:
    assert run("""
        const state = fold(start({general: {}}), event(message(1)),
          start({general: {head: 5000, read: 1}}));
        return [view(state), behind(state), store.needsHistory(roomOf(state, "general"))];
    """) == [
        {"first": 5001, "last": 5000, "head": 5000, "read": 1, "divider": None, "unread": 4999},
        {},
        True,
    ]


def test_rooms_come_and_go(run: Run) -> None:
    assert run("""
        const added = {type: "room.added", room: {room: "new", name: "New", kind: "direct",
          head: 3, read: 3, role: "member"}};
        const state = fold(start({general: {}}), added,
          event({...note(4, "member.joined", BOB, {user: ALICE}), room: "new"}));
        const gone = reduce(state, {type: "room.removed", room: "new"});
        const left = reduce(state, event(note(1, "member.left", ALICE)));
        const refused = reduce(state, {type: "sync", rooms: {new: {error: {code: "not_found"}}}});
        return [store.listed(state).map((room) => room.name), seqs(state, "new"),
          ...[gone, left, refused].map((state) => Object.keys(state.rooms))];
    """) == [["general", "New"], [4], ["general"], ["new"], ["general"]]


def test_who_is_taken_out_of_a_room_can_be_told_by_whom(run: Run) -> None:
    assert run("""
        const parting = note(1, "member.left", BOB, {user: ALICE, banned: true, reason: "spam"});
        const state = fold(start({general: {name: "All of us"}}), event(parting));
        const { name, event: { by, data } } = state.parted;
        return [Object.keys(state.rooms), name, by.name, data.reason];
    """) == [[], "All of us", "Bob", "spam"]


def test_a_room_one_was_brought_into_waits_until_it_is_opened(run: Run) -> None:
    assert run("""
        const given = {room: "den", name: "Den", kind: "private", head: 3, read: 4, role: "member"};
        const joined = (by) => event({...note(4, "member.joined", by, {user: ALICE}), room: "den"});
        const told = (by) => fold(start({}), {type: "room.added", room: given}, joined(by));
        const opened = fold(told(BOB), {type: "opened", room: "den"}, {type: "attending", value: true});
        return [told(BOB), opened, told(ALICE)].map((state) => store.unreadInAll(state));
    """) == [1, 0, 0]


def test_a_list_beside_the_room_knows_what_is_quoted_from_the_room(run: Run) -> None:
    assert run("""
        const root = message(2, BOB, {data: {reply_to: "event-1"}});
        const state = fold(start({general: {}}), event(message(1)), event(root));
        const part = store.excerpt(roomOf(state, "general"), {events: [root]}, {thread: root.id});
        return [part.events.map(({ seq }) => seq), Object.keys(part.messages).sort()];
    """) == [[2], ["event-1", "event-2"]]


def test_a_room_is_known_from_its_event_before_the_server_describes_it(run: Run) -> None:
    assert run("""
        const state = fold(start({}),
          event({...note(1, "room.created", ALICE, {name: "Fresh", kind: "private"}), room: "fresh"}),
          {type: "room.added", room: {room: "fresh", name: "Fresh", kind: "private", head: 0, read: 1}});
        return [roomOf(state, "fresh").name, seqs(state, "fresh"), view(state, "fresh").unread];
    """) == ["Fresh", [1], 0]


def test_events_of_rooms_that_are_not_mine_are_ignored(run: Run) -> None:
    assert run("""
        const strange = {...message(1), room: "constructor"};
        const state = fold(start({general: {}}), event(strange));
        return Object.keys(state.rooms);
    """) == ["general"]


def test_typing_ends_with_time_or_with_the_message(run: Run) -> None:
    assert run("""
        const types = (user) => ({type: "typing", room: "general", user, at: 1000});
        const state = fold(start({general: {}}), types(BOB), types(ALICE));
        const names = (state, at) => store.typists(roomOf(state, "general"), at);
        return [names(state, 2000), names(state, 9000),
          names(reduce(state, event(message(1))), 2000)];
    """) == [["Bob"], [], []]


def test_a_long_log_lets_go_of_its_oldest_part(run: Run) -> None:
    assert run("""
        const log = Array.from({length: 700}, (_, index) => event(message(index + 1)));
        const state = fold(start({general: {}}), ...log, {type: "trimmed", room: "general"});
        const {events, first, more} = roomOf(state, "general");
        return [events.length, first, more];
    """) == [320, 381, True]


def test_the_reducer_changes_no_state_it_was_given(run: Run) -> None:
    assert run("""
        const freeze = (value) => {
          if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
            Object.freeze(value);
            Object.values(value).forEach(freeze);
          }
          return value;
        };
        const actions = [start({general: {}}), {type: "opened", room: "general"}, event(message(3)),
          event(message(1)), event(message(2)), echo("mine"), {type: "attending", value: true},
          event(message(4, ALICE, {client_id: "mine"})), {type: "away"}];
        return seqs(actions.reduce((state, action) => freeze(reduce(state, action)), initial()));
    """) == [1, 2, 3, 4]


PAST = """
const page = (from, to, more = true) => ({ type: "history", room: "general", more,
  events: Array.from({ length: to - from + 1 }, (_, index) => message(from + index)) });
const open = (from, to, target = null) => ({ ...page(from, to), type: "window.opened", target });
const shown = (state) => {
  const { first, last, events } = store.shown(roomOf(state, "general"));
  const whole = events.every((event, index) => event.seq === first + index);
  return [first, last, events.length, whole];
};
"""


def test_a_window_grows_on_both_sides_until_it_reaches_the_log(run: Run) -> None:
    assert run(
        PAST
        + """
        const start_ = start({ general: { head: 500, read: 500 } });
        const far = fold(start_, page(451, 500), open(100, 149, 120));
        const grown = [page(50, 99), page(150, 199), page(300, 310)].reduce(reduce, far);
        const joined = [page(200, 299), page(300, 400), page(401, 455)].reduce(reduce, grown);
        const back = reduce(far, { type: "window.closed", room: "general" });
        return [shown(far), roomOf(far, "general").target.seq, shown(grown), shown(joined),
          roomOf(joined, "general").window, shown(back)];
    """
    ) == [
        [100, 149, 50, True],
        120,
        [50, 199, 150, True],
        [256, 500, 245, True],
        None,
        [451, 500, 50, True],
    ]


def test_news_come_while_one_reads_far_back_and_stay_unread(run: Run) -> None:
    assert run(
        PAST
        + """
        const state = fold(start({ general: { head: 500, read: 500 } }), page(451, 500),
          { type: "opened", room: "general" }, open(100, 149), { type: "attending", value: true },
          event(message(501)));
        return [shown(state), view(state).unread, state.attending];
    """
    ) == [[100, 149, 50, True], 1, False]


def test_a_log_that_is_read_far_back_stays_bounded(run: Run) -> None:
    outcome = run(
        PAST
        + """
        let state = fold(start({ general: { head: 5000, read: 5000 } }));
        let most = 0;
        for (let to = 5000; to > 1000; to = store.shown(roomOf(state, "general")).first - 1) {
          state = reduce(state, page(to - 49, to));
          const { events, window, messages } = roomOf(state, "general");
          most = Math.max(most, events.length + (window?.events.length ?? 0));
        }
        const { messages } = roomOf(state, "general");
        return [most, Object.keys(messages).length, shown(state).slice(0, 1), shown(state)[3]];
    """
    )
    most, messages, first, whole = outcome
    assert most <= 1000
    assert messages <= most
    assert (first, whole) == ([1001], True)


@pytest.mark.parametrize(
    "unseen",
    [
        "message(seq, BOB, { data: { thread: 'event-1' } })",
        "message(seq, BOB, { data: { expired: true } })",
        "note(seq, 'reaction.added', BOB, { message: 'event-1', emoji: '👍' })",
    ],
)
def test_what_does_not_show_takes_no_space_from_what_does(run: Run, unseen: str) -> None:
    """What is let go of on one side would be asked for again, and push out the other side."""
    assert run(
        PAST
        + f"""
        const unseen = (seq) => {unseen};
        const part = (from, to) => ({{ ...page(from, to), events: page(from, to).events.map(({{ seq }}) =>
          seq > 4000 ? unseen(seq) : message(seq)) }});
        const older = [4801, 4601, 4401, 4201, 4001, 3801].map((from) => part(from, from + 199));
        const state = fold(start({{ general: {{ head: 5000, read: 5000 }} }}), ...older,
          {{ type: "trimmed", room: "general" }});
        const window = fold(start({{ general: {{ head: 9000, read: 9000 }} }}),
          {{ ...part(4701, 4900), type: "window.opened" }}, ...older, part(4901, 5000));
        return [state, window].map((each) => [shown(each), roomOf(each, "general").window !== null]);
    """
    ) == [[[3801, 5000, 1200, True], False], [[3801, 5000, 1200, True], True]]


def test_a_part_of_which_little_shows_is_not_kept_without_end(run: Run) -> None:
    assert run(
        PAST
        + """
        const page_ = page(1, 20_000);
        const events = page_.events.map(({ seq }) => note(seq, "reaction.added", BOB, { message: "x" }));
        const full = fold(start({ general: { head: 20_000, read: 20_000 } }), { ...page_, events },
          { type: "opened", room: "general" });
        const more = [1, 2, 3].map((step) => event(note(20_000 + step, "reaction.added", BOB, {})));
        const grown = [...more, { type: "trimmed", room: "general" }].reduce(reduce, full);
        return [shown(grown), store.isFull(roomOf(grown, "general"))];
    """
    ) == [[4, 20_003, 20_000, True], True]


def test_who_is_at_the_end_stays_there_however_much_comes_above(run: Run) -> None:
    assert run(
        PAST
        + """
        const state = fold(start({ general: { head: 5000, read: 5000 } }), page(4701, 5000),
          { type: "opened", room: "general" }, { type: "attending", value: true }, page(4601, 4700));
        const away = reduce(state, { type: "attending", value: false });
        return [state, reduce(away, page(4600, 4600))].map((each) => roomOf(each, "general").window !== null);
    """
    ) == [False, True]


def test_writing_leads_back_to_the_newest(run: Run) -> None:
    assert run(
        PAST
        + """
        const far = fold(start({ general: { head: 500, read: 500 } }), page(451, 500), open(1, 50));
        return shown(reduce(far, echo("mine")));
    """
    ) == [451, 500, 50, True]


def test_mentions_are_counted_until_they_are_read(run: Run) -> None:
    assert run("""
        const names = (seq, data) => event(message(seq, BOB, { data }));
        const state = fold(start({ general: { head: 900, read: 5, mentions: 4 }, other: {} }),
          names(901, { mentions: [1] }), names(902, { everyone: true }), names(903, { mentions: [2] }));
        const near = [message(1, BOB, { data: { mentions: [1] } }), message(2)].map((given) =>
          event({ ...given, room: "other" })).reduce(reduce, state);
        const read = reduce(near, { type: "read", room: "general", seq: 903 });
        const badges = (state) => ["general", "other"].map((slug) =>
          store.badgeOf(roomOf(state, slug)).mentions);
        return [badges(near), badges(read)];
    """) == [[6, 1], [0, 1]]


@pytest.mark.parametrize(
    ("level", "badge"), [("all", [2, 1]), ("mentions", [0, 1]), ("nothing", [0, 0])]
)
def test_a_badge_shows_what_one_wants_to_hear_of(run: Run, level: str, badge: list[int]) -> None:
    assert (
        run(f"""
        const state = fold(start({{ general: {{ notify: "{level}" }} }}), event(message(1)),
          event(message(2, BOB, {{ data: {{ mentions: [1] }} }})));
        const badge = store.badgeOf(roomOf(state, "general"));
        return [badge.unread, badge.mentions];
    """)
        == badge
    )


def test_an_answer_in_a_thread_is_no_news_unless_it_names_one(run: Run) -> None:
    assert (
        run("""
        const answer = (seq, data) => event(message(seq, BOB, { data: { thread: "event-1", ...data } }));
        const state = fold(start({ general: {} }), event(message(1)), answer(2),
          answer(3, { mentions: [1] }));
        return view(state).unread;
    """)
        == 2
    )


def test_a_deleted_message_is_no_news(run: Run) -> None:
    assert (
        run("""
        const state = fold(start({ general: {} }), event(message(1)),
          event(note(2, "message.deleted", BOB, { message: "event-1" })));
        return view(state).unread;
    """)
        == 0
    )


def test_what_is_marked_unread_stays_so_until_the_room_is_opened_again(run: Run) -> None:
    assert run("""
        const look = { type: "attending", value: true };
        const opened = { type: "opened", room: "general" };
        const marked = fold(start({ general: {}, other: {} }), opened, look, event(message(1)),
          event(message(2)), event(message(3)), { type: "unread", room: "general", seq: 2 }, look,
          event(message(4)));
        const again = [{ type: "opened", room: "other" }, opened].reduce(reduce, marked);
        const read = reduce(again, look);
        return [marked, again, read].map((state) => [view(state).unread, view(state).divider]);
    """) == [[3, 1], [3, 1], [0, 1]]


def test_a_room_that_is_left_keeps_little_of_its_log(run: Run) -> None:
    assert run(
        PAST
        + """
        const state = fold(start({ general: { head: 500, read: 500 }, other: {} }),
          { type: "opened", room: "general" }, page(201, 500), { type: "opened", room: "other" });
        return [shown(state), Object.keys(roomOf(state, "general").messages).length];
    """
    ) == [[401, 500, 100, True], 100]
