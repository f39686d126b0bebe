"""Whom a notice tells of what: never more than the person wanted, and never what was read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { ALICE, BOB, message } = cast;
const room = (given = {}) =>
  ({ slug: "general", name: "General", kind: "public", notify: "all", read: 0, messages, ...given });
const messages = { mine: { id: "mine", author: ALICE }, his: { id: "his", author: BOB } };
const clock = new cast.Clock();
const shown = [];
class Api {
  static permission = "granted";
  constructor(title, options) {
    Object.assign(this, { title, ...options });
    shown.push(this);
  }
  close() { this.closed = true; }
}
const storage = new outbox.CarefulStorage(new cast.MemoryStorage());
const state = { me: ALICE, rooms: { general: room() } };
const opened = [];
let seen = false;
const teller = new notices.Notices({ storage, user: "alice", api: Api, clock, on: {
  state: () => state, isInView: () => seen, open: (...where) => opened.push(where),
} });
const secret = message(7, BOB, { body: "the secret" });
const told = () => shown.map(({ title, body }) => [title, body]);
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(notices="chat/notices.js", outbox="chat/outbox.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_a_room_tells_of_as_much_as_the_person_wants(run: Run) -> None:
    assert run("""
        const named = message(2, BOB, { data: { mentions: [ALICE.id] } });
        const all = message(3, BOB, { data: { everyone: true } });
        const other = message(4, BOB, { data: { mentions: [99] } });
        const levels = ["all", "mentions", "nothing"].map((notify) => [named, all, other].map((event) =>
          notices.noticeOf(event, { me: ALICE, room: room({ notify }) })?.title ?? null));
        const own = notices.noticeOf(message(5, ALICE), { me: ALICE, room: room() });
        const direct = notices.noticeOf(other, { me: ALICE, room: room({ kind: "direct" }) });
        return [...levels, own, direct.title];
    """) == [
        ["Bob named you in General", "Bob named you in General", "Bob wrote in General"],
        ["Bob named you in General", "Bob named you in General", None],
        [None, None, None],
        None,
        "Bob wrote to you",
    ]


def test_an_answer_is_meant_for_whom_it_answers(run: Run) -> None:
    assert run("""
        const quiet = room({ notify: "mentions" });
        const answers = [{ reply_to: "mine" }, { thread: "mine" }, { reply_to: "his" }, { thread: "gone" }];
        return answers.map((data) =>
          notices.noticeOf(message(2, BOB, { data }), { me: ALICE, room: quiet })?.title ?? null);
    """) == ["Bob answered you in General", "Bob answered you in General", None, None]


def test_a_notice_holds_no_text_unless_the_person_wants_it(run: Run) -> None:
    assert run("""
        teller.arrived(secret);
        await clock.pass(3000);
        teller.showText(true);
        teller.arrived(message(8, BOB, { body: "the secret" }));
        await clock.pass(3000);
        return [told(), shown.every(({ silent }) => silent)];
    """) == [[["Bob wrote in General", ""], ["Bob wrote in General", "the secret"]], True]


def test_what_is_in_view_or_read_on_another_device_meanwhile_is_not_told(run: Run) -> None:
    assert (
        run("""
        seen = true;
        teller.arrived(secret);
        await clock.pass(3000);
        seen = false;
        teller.arrived(secret);
        await clock.pass(500);
        state.rooms.general = room({ read: 7 });
        await clock.pass(3000);
        return told();
    """)
        == []
    )


def test_a_notice_goes_when_its_message_is_read_elsewhere(run: Run) -> None:
    assert run("""
        teller.arrived(secret);
        await clock.pass(3000);
        teller.follow(state);
        const before = Boolean(shown[0].closed);
        state.rooms.general = room({ read: 7 });
        teller.follow(state);
        return [before, shown[0].closed];
    """) == [False, True]


def test_a_click_leads_to_the_message(run: Run) -> None:
    assert run("""
        teller.arrived(secret);
        await clock.pass(3000);
        shown[0].onclick();
        return [opened, shown[0].closed];
    """) == [[["general", 7]], True]


def test_nobody_is_asked_or_told_who_did_not_want_it(run: Run) -> None:
    assert run("""
        teller.turnOff();
        teller.arrived(secret);
        Api.permission = "default";
        teller.arrived(secret);
        await clock.pass(3000);
        const asked = [];
        Api.requestPermission = async () => { asked.push(1); Api.permission = "granted"; };
        return [told(), await teller.turnOn(), asked.length, told()];
    """) == [[], True, 1, [["Signet shows notices here", None]]]


def test_where_pages_may_show_none_nothing_breaks(run: Run) -> None:
    """Chrome for Android has the interface, says that it is granted, and throws."""
    assert run("""
        const make = (api) => new notices.Notices({ storage, user: "alice", api, clock, on: {
          state: () => state, isInView: () => false, open() {} } });
        class Refusing { static permission = "granted"; constructor() { throw new TypeError("no"); } }
        const arriving = make(Refusing);
        arriving.arrived(secret);
        await clock.pass(3000);
        const reloaded = make(Refusing);
        const after = [arriving.permission, reloaded.permission];
        storage.set("signet.notices.alice.refused", "an older version");
        const updated = make(Refusing);
        return [
          [make(null).permission, make(null).isOn],
          after,
          [updated.permission, await updated.turnOn(), updated.permission],
        ];
    """) == [["missing", False], ["missing", "missing"], ["granted", False, "missing"]]


def test_the_icon_counts_mentions_and_marks_the_rest_with_a_dot(run: Run) -> None:
    assert run("""
        const icon = (unread, mentions) => decodeURIComponent(notices.markedIcon({ unread, mentions }));
        const [none, dot, three, many] = [icon(0, 0), icon(5, 0), icon(5, 3), icon(50, 12)];
        return [none, dot.includes("<text"), three.includes(">3<"), many.includes(">9+<")];
    """) == ["", False, True, True]
