"""Messages on their way: kept, sent one by one and in order, never twice and never forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { Outbox } = outbox;
const { Refusal } = protocol;
const clock = new cast.Clock();
const storage = new cast.MemoryStorage();
const sent = [];       // what went out, in order
const answers = [];    // what to do with each: undefined waits for ever
const log = [];        // what the page was told
const make = (options = {}) => new Outbox({
  storage, user: "alice", clock, locks: null,
  send(post) {
    sent.push(post);
    const answer = answers.shift() ?? "ok";
    if (answer === "ok") return Promise.resolve();
    return answer === "silence" ? new Promise(() => {}) : Promise.reject(answer);
  },
  on: Object.fromEntries(["added", "changed", "stored", "deleted"].map((name) =>
    [name, (entry) => log.push(`${entry.body} ${name === "changed" ? entry.state : name}`)])),
  ...options,
});
const bodies = () => sent.map((post) => post.body);
const ids = () => sent.map((post) => post.client_id);
const states = (box) => box.entries.map((entry) => `${entry.body} ${entry.state}`);
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(outbox="chat/outbox.js", protocol="chat/protocol.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_a_message_waits_until_there_is_a_connection(run: Run) -> None:
    assert run("""
        const box = make();
        box.add({room: "general", body: "hello"});
        const before = [...states(box)];
        box.resume();
        await cast.settled();
        return [before, states(box), storage.length, log];
    """) == [
        ["hello waiting"],
        [],
        0,
        ["hello added", "hello sending", "hello stored"],
    ]


def test_one_message_of_a_room_is_under_way_at_a_time_and_rooms_do_not_wait_for_each_other(
    run: Run,
) -> None:
    assert run("""
        const box = make();
        answers.push("silence", "silence");
        box.resume();
        box.add({room: "general", body: "first"});
        box.add({room: "general", body: "second"});
        box.add({room: "other", body: "elsewhere"});
        await cast.settled();
        return [bodies(), states(box)];
    """) == [
        ["first", "elsewhere"],
        ["first sending", "second waiting", "elsewhere sending"],
    ]


def test_a_thread_and_its_room_do_not_wait_for_each_other(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("not_found", "There is no such message."));
        box.add({room: "general", thread: "m1", body: "under what is gone"});
        box.add({room: "general", body: "in the room"});
        box.add({room: "general", thread: "m1", body: "behind it"});
        box.add({room: "general", thread: "m2", body: "in another thread"});
        box.resume();
        await cast.settled();
        return [bodies(), states(box)];
    """) == [
        ["under what is gone", "in the room", "in another thread"],
        ["under what is gone failed", "behind it waiting"],
    ]


def test_a_broken_connection_means_the_same_client_id_again(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("disconnected"));
        box.resume();
        box.add({room: "general", body: "hello"});
        box.pause();
        await cast.settled();
        const between = states(box);
        box.resume();
        await cast.settled();
        return [between, bodies(), ids()[0] === ids()[1], states(box)];
    """) == [["hello waiting"], ["hello", "hello"], True, []]


def test_a_passing_refusal_is_tried_again_after_the_time_the_server_names(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("rate_limited", "", 7));
        box.resume();
        box.add({room: "general", body: "hello"});
        box.add({room: "general", body: "second"});
        await clock.pass(6900);
        const before = [...bodies()];
        await clock.pass(200);
        return [before, bodies(), new Set(ids()).size];
    """) == [["hello"], ["hello", "hello", "second"], 2]


def test_a_lasting_refusal_stays_and_nothing_overtakes_it(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("not_allowed", "You may only read here."));
        box.resume();
        box.add({room: "general", body: "first"});
        box.add({room: "general", body: "second"});
        await clock.pass(60_000);
        return [bodies(), states(box), box.entries[0].error, storage.length];
    """) == [["first"], ["first failed", "second waiting"], "You may only read here.", 2]


def test_trying_again_keeps_the_order_and_the_client_id(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("not_allowed"));
        box.resume();
        const first = box.add({room: "general", body: "first"});
        box.add({room: "general", body: "second"});
        await cast.settled();
        box.retry(first.clientId);
        await cast.settled();
        return [bodies(), ids()[0] === ids()[1], states(box)];
    """) == [["first", "first", "second"], True, []]


def test_deleting_a_failed_message_lets_the_next_one_go(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("not_allowed"));
        box.resume();
        const first = box.add({room: "general", body: "first"});
        box.add({room: "general", body: "second"});
        await cast.settled();
        box.discard(first.clientId);
        await cast.settled();
        return [bodies(), states(box), storage.length];
    """) == [["first", "second"], [], 0]


def test_what_is_under_way_cannot_be_called_back(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push("silence");
        box.resume();
        const entry = box.add({room: "general", body: "hello"});
        await cast.settled();
        box.discard(entry.clientId);
        return states(box);
    """) == ["hello sending"]


def test_the_event_ends_a_message_even_where_the_answer_is_lost(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push("silence");
        box.resume();
        const entry = box.add({room: "general", body: "first"});
        box.add({room: "general", body: "second"});
        await cast.settled();
        box.settle(entry.clientId);
        await cast.settled();
        return [bodies(), states(box)];
    """) == [["first", "second"], []]


def test_after_a_reload_the_messages_go_out_in_their_order(run: Run) -> None:
    assert run("""
        const before = make();
        for (const body of ["first", "second", "third"]) before.add({room: "general", body});
        const written = before.entries.map((entry) => entry.clientId);
        const after = make();
        after.restore();
        after.resume();
        await cast.settled();
        return [bodies(), ids().join() === written.join(), storage.length];
    """) == [["first", "second", "third"], True, 0]


def test_people_who_share_a_browser_do_not_send_each_others_messages(run: Run) -> None:
    assert run("""
        make().add({room: "general", body: "of Alice"});
        const other = make({user: "bob"});
        other.restore();
        return [states(other), storage.length];
    """) == [[], 1]


def test_what_another_tab_is_done_with_is_not_sent_again(run: Run) -> None:
    assert run("""
        const box = make();
        const entry = box.add({room: "general", body: "hello"});
        box.heard({key: `signet.outbox.alice.${entry.clientId}`, newValue: null});
        box.resume();
        await cast.settled();
        return [bodies(), states(box)];
    """) == [[], []]


def test_a_garbled_entry_in_the_storage_is_passed_over(run: Run) -> None:
    assert (
        run("""
        storage.setItem("signet.outbox.alice.x", "{");
        storage.setItem("signet.outbox.alice.y", '{"clientId": 5}');
        const box = make();
        box.restore();
        return states(box);
    """)
        == []
    )


def test_without_storage_messages_are_still_sent(run: Run) -> None:
    assert run("""
        const full = { get length() { throw new Error("denied"); },
          setItem() { throw new Error("full"); }, removeItem() { throw new Error("denied"); } };
        for (const storage of [full, null]) {
          const box = make({storage});
          box.restore();
          box.resume();
          box.add({room: "general", body: "hello"});
          await cast.settled();
        }
        return bodies();
    """) == ["hello", "hello"]


def test_a_message_carries_what_it_answers_and_says_nothing_of_what_it_has_not(run: Run) -> None:
    assert run("""
        const box = make();
        box.resume();
        box.add({room: "general", body: "plain"});
        box.add({room: "general", body: "answer", reply_to: "m1", thread: "m2",
                 attachments: [{id: "f1", name: "a.png"}]});
        await cast.settled();
        return sent.map(({client_id, ...post}) => post);
    """) == [
        {"room": "general", "body": "plain"},
        {
            "room": "general",
            "body": "answer",
            "reply_to": "m1",
            "thread": "m2",
            "attachments": ["f1"],
        },
    ]


PARCEL = """
let arrive, fail, tries = 0, cancelled = 0;
const parcel = { names: ["a.png"], cancel: () => (cancelled += 1), whole: () => {
  tries += 1;
  return new Promise((resolve, reject) => { arrive = resolve; fail = reject; });
} };
"""


def test_a_message_waits_for_its_files_and_nothing_overtakes_it(run: Run) -> None:
    assert run(
        PARCEL
        + """
        const box = make();
        box.resume();
        box.add({room: "general", body: "with a file", parcel});
        box.add({room: "general", body: "second"});
        await cast.settled();
        const before = [bodies(), states(box)];
        arrive([{id: "f1", name: "a.png"}]);
        await cast.settled();
        return [...before, bodies(), sent[0].attachments];
    """
    ) == [
        [],
        ["with a file uploading", "second waiting"],
        ["with a file", "second"],
        ["f1"],
    ]


def test_what_was_uploaded_is_not_lost_with_the_page(run: Run) -> None:
    assert run(
        PARCEL
        + """
        const box = make();
        answers.push("silence");
        box.resume();
        box.add({room: "general", body: "with a file", parcel});
        await cast.settled();
        arrive([{id: "f1", name: "a.png"}]);
        await cast.settled();
        const after = make();
        after.restore();
        after.resume();
        await cast.settled();
        return sent.map(({attachments}) => attachments);
    """
    ) == [["f1"], ["f1"]]


def test_what_was_not_uploaded_before_the_page_was_closed_is_named(run: Run) -> None:
    assert run(
        PARCEL
        + """
        make().add({room: "general", body: "with a file", parcel});
        const after = make();
        after.restore();
        after.resume();
        await cast.settled();
        const [entry] = after.entries;
        const before = [entry.state, entry.error, bodies()];
        after.retry(entry.clientId);
        await cast.settled();
        return [...before, sent.map(({body, attachments}) => [body, attachments ?? null])];
    """
    ) == [
        "failed",
        "The page was closed before “a.png” had been uploaded. Attach it again, or send the rest.",
        [],
        [["with a file", None]],
    ]


def test_what_another_tab_uploads_is_left_to_it_until_that_tab_is_closed(run: Run) -> None:
    """The other tab is a frame with the browser's own storage and locks."""
    assert run("""
        localStorage.clear();
        const tab = document.createElement("iframe");
        const begun = new Promise((resolve) => (globalThis.begun = resolve));
        tab.srcdoc = `<script type="module">
          import { Outbox } from "/static/chat/outbox.js";
          const on = { added() {}, changed() {} };
          const box = new Outbox({ storage: localStorage, user: "alice", send() {}, on });
          const parcel = { names: ["a.png"], whole: () => new Promise(() => {}), cancel() {} };
          box.add({ room: "general", body: "elsewhere" });
          box.add({ room: "den", body: "with a file", parcel });
          box.add({ room: "den", body: "behind it" });
          navigator.locks.query().then(parent.begun);
        </script>`;
        document.body.append(tab);
        await begun;
        const box = make({ storage: localStorage, locks: navigator.locks });
        box.resume();
        box.restore();
        while ((await navigator.locks.query()).pending.length === 0) await cast.settled();
        const before = [bodies(), states(box)];
        tab.remove();
        while (box.entries.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
        return [...before, states(box), bodies()];
    """) == [
        ["elsewhere"],
        [],
        ["with a file failed", "behind it waiting"],
        ["elsewhere"],
    ]


def test_a_file_that_is_refused_fails_its_message_and_may_be_tried_again(run: Run) -> None:
    assert run(
        PARCEL
        + """
        const box = make();
        box.resume();
        const {clientId} = box.add({room: "general", body: "with a file", parcel});
        await cast.settled();
        fail(new Refusal("too_large", "Too large."));
        await cast.settled();
        const before = [states(box), box.entries[0].error];
        box.retry(clientId);
        await cast.settled();
        arrive([{id: "f1"}]);
        await cast.settled();
        return [...before, tries, bodies()];
    """
    ) == [["with a file failed"], "Too large.", 2, ["with a file"]]


def test_deleting_a_message_stops_its_uploads(run: Run) -> None:
    assert run(
        PARCEL
        + """
        const box = make();
        box.resume();
        const {clientId} = box.add({room: "general", body: "with a file", parcel});
        await cast.settled();
        box.discard(clientId);
        arrive([{id: "f1"}]);
        await cast.settled();
        return [cancelled, states(box), bodies()];
    """
    ) == [1, [], []]


def test_the_wait_that_the_server_asks_for_is_known(run: Run) -> None:
    assert run("""
        const box = make();
        answers.push(new Refusal("rate_limited", "", 7));
        box.resume();
        box.add({room: "general", body: "hello"});
        await cast.settled();
        const wait = box.waitOf("general") - clock.now();
        await clock.pass(7100);
        return [wait, box.waitOf("general")];
    """) == [7000, None]
