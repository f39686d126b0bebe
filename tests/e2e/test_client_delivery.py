"""Whole clients against a server that loses pushes and connections: all end with exactly the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { Client } = client;
const make = (server, clock, user, storage = new cast.MemoryStorage()) => new Client({
  url: "wss://chat.test/ws/chat/", user: user.username, storage, clock,
  WebSocket: server.sockets(user),
  on: { changed() {}, ready() {}, arrived() {}, stopped() {}, failing() {} },
});
const room = (client, slug = "general") => client.state.rooms[slug];
const bodies = (client) => room(client).events.filter((event) => event.type === "message.posted")
  .map((event) => event.data.body);
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(client="chat/client.js", store="chat/store.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_nothing_is_lost_doubled_or_out_of_order(run: Run, seed: int) -> None:
    outcome = run(f"""
        const clock = new cast.Clock({{ seed: {seed} }});
        const server = new cast.Server({{ clock, loses: () => clock.random() < 0.2 }});
        const people = [cast.ALICE, cast.BOB, {{ id: 3, username: "carol", name: "Carol" }}];
        const clients = people.map((user) => make(server, clock, user));
        for (const each of clients) each.start();
        await clock.pass(500);
        for (const each of clients) each.open("general");
        const codes = [1006, 1012, 1013, 4001, 4008, 4030];
        for (let step = 0; step < 120; step += 1) {{
          const author = clients[Math.floor(clock.random() * 3)];
          author.outbox.add({{ room: "general", body: `${{author.state.me?.username}} ${{step}}` }});
          if (clock.random() < 0.15) {{
            const sockets = [...server.open];
            const victim = sockets[Math.floor(clock.random() * sockets.length)];
            if (victim) server.close(codes[Math.floor(clock.random() * codes.length)], victim);
          }}
          if (clock.random() < 0.1) {{
            server.refusals.push({{ code: "rate_limited", detail: "", retry_after: 0.5 }});
          }}
          if (step % 20 === 0) server.beat();
          await clock.pass(clock.random() * 400);
        }}
        server.loses = () => false;
        for (let beat = 0; beat < 6; beat += 1) {{
          await clock.pass(25_000);
          server.beat();
        }}
        await clock.pass(1000);
        const log = server.logs.general.map((event) => event.data.body);
        return {{
          log,
          seen: clients.map(bodies),
          left: clients.map((each) => each.outbox.entries.length + room(each).waiting.length),
        }};
    """)
    log = outcome["log"]
    assert len(log) == 120
    assert len(set(log)) == 120
    for author in ("alice", "bob", "carol"):
        own = [int(body.split()[1]) for body in log if body.startswith(author)]
        assert own == sorted(own)
    # A reconnection may start a log at what was read; what is there is the log's unbroken end.
    for seen in outcome["seen"]:
        assert seen == log[-len(seen) :]
        assert seen
    assert outcome["left"] == [0, 0, 0]


def test_a_message_written_offline_survives_the_reload(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        const storage = new cast.MemoryStorage();
        const before = make(server, clock, cast.ALICE, storage);
        before.start();
        await clock.pass(300);
        server.closesWith = 1013;
        server.close(1006);
        before.open("general");
        before.write("written offline");
        const shown = room(before).waiting.map((entry) => entry.state);
        const after = make(server, clock, cast.ALICE, storage);
        server.closesWith = null;
        after.start();
        await clock.pass(2000);
        return [shown, bodies(after), room(after).waiting.length, storage.length];
    """) == [["waiting"], ["written offline"], 0, 0]


def test_a_lost_answer_does_not_double_the_message(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock, loses: () => true });
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(300);
        alice.open("general");
        const post = server.post.bind(server);
        server.post = (socket, request) => {
          server.post = post;
          server.say(socket.user, request.body, request);   // stored, but the answer is lost
          server.close(1006, socket);
        };
        alice.write("once");
        await clock.pass(5000);
        return [server.logs.general.map((event) => event.data.body), bodies(alice),
          room(alice).waiting.length];
    """) == [["once"], ["once"], 0]


def test_what_was_seen_is_told_to_the_server_once(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 0; i < 5; i += 1) server.say(cast.BOB, `message ${i}`);
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(500);
        alice.open("general");
        await clock.pass(500);
        const unread = store.unread(alice.state, room(alice));
        alice.attend(true);
        await clock.pass(3000);
        const reads = server.requests.filter((request) => request.op === "read");
        return [unread, reads.map((request) => request.seq), store.unread(alice.state, room(alice))];
    """) == [5, [5], 0]


def test_a_room_opened_far_behind_begins_where_reading_stopped(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 900; i += 1) server.say(cast.BOB, `message ${i}`);
        server.reads["1.general"] = 200;
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(500);
        alice.open("general");
        const early = store.isFilled(room(alice));
        await clock.pass(500);
        const { first, last } = store.shown(room(alice));
        alice.attend(true);
        const { read } = room(alice);
        for (let page = 0; page < 40 && room(alice).window; page += 1) {
          alice.catchUp.newer();
          await clock.pass(500);
        }
        alice.attend(true);
        return [early, first, last, read, room(alice).window, room(alice).read, bodies(alice).at(-1)];
    """) == [False, 177, 226, 200, None, 900, "message 900"]


def test_a_message_far_back_is_gone_to_and_left_again(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 500; i += 1) server.say(cast.BOB, `message ${i}`);
        server.say(cast.BOB, "below", { data: { thread: "event-40" } });
        server.reads["1.general"] = 501;
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        alice.goTo("general", 100); // before there is a connection
        await clock.pass(1000);
        const first = [store.shown(room(alice)).first, room(alice).target.seq];
        const going = alice.goTo("general", 501);
        await clock.pass(1000);
        const { thread } = await going;
        const root = room(alice).target.seq;
        alice.toNewest();
        await clock.pass(500);
        return [first, thread, root, bodies(alice).length, bodies(alice).at(-2), room(alice).window];
    """) == [[76, 100], "event-40", 40, 50, "message 500", None]


def test_a_deleted_message_leaves_the_memory_of_everybody(run: Run) -> None:
    """Each client's log is what the database would answer, whichever way it came by the events."""
    outcome = run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        const alice = make(server, clock, cast.ALICE);
        const bob = make(server, clock, cast.BOB);
        for (const each of [alice, bob]) each.start();
        await clock.pass(500);
        for (const each of [alice, bob]) each.open("general");
        const one = server.say(cast.BOB, "secret one");
        await clock.pass(500);
        bob.edit(one, "secret two");
        await clock.pass(500);
        const known = JSON.stringify(alice.state).includes("secret two");
        bob.remove(one);
        await clock.pass(500);
        const left = [alice, bob].map((each) => JSON.stringify(each.state).includes("secret"));
        return [known, left, room(alice).events, server.logs.general,
          store.messageOf(room(alice), one.id).deleted.by.name];
    """)
    known, left, events, log, who = outcome
    assert (known, left, who) == (True, [False, False], "Bob")
    assert events == log


def test_a_quoted_message_that_lies_elsewhere_is_asked_for_once(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 300; i += 1) server.say(cast.BOB, `message ${i}`);
        server.say(cast.BOB, "an answer", { data: { reply_to: "event-5" } });
        server.say(cast.BOB, "a lost one", { data: { reply_to: "nothing" } });
        server.reads["1.general"] = 302;
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(300);
        alice.open("general");
        await clock.pass(2000);
        const asked = server.requests.filter((request) => request.op === "thread");
        return [asked.map((request) => request.message),
          store.messageOf(room(alice), "event-5").body];
    """) == [["event-5", "nothing"], "message 5"]


def test_a_room_read_to_its_end_shows_its_newest_and_reaches_back_by_pages(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 400; i += 1) server.say(cast.BOB, `message ${i}`);
        server.reads["1.general"] = 400;
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(500);
        alice.open("general");
        await clock.pass(500);
        const first = bodies(alice).length;
        alice.catchUp.history();
        await clock.pass(500);
        return [first, bodies(alice).at(-1), bodies(alice).length];
    """) == [50, "message 400", 75]


def test_a_restored_database_starts_everybody_afresh(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 9; i += 1) server.say(cast.BOB, `message ${i}`);
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(500);
        server.logs.general = [];
        server.say(cast.BOB, "after the restore");
        server.epoch = "second";
        server.close(1012);
        await clock.pass(5000);
        return bodies(alice);
    """) == ["after the restore"]


def test_a_quoted_message_is_looked_for_once_on_each_connection(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 300; i += 1) server.say(cast.BOB, `message ${i}`);
        server.say(cast.BOB, "an answer", { data: { reply_to: "event-5" } });
        server.reads["1.general"] = 301;
        const alice = make(server, clock, cast.ALICE);
        const request = alice.connection.request.bind(alice.connection);
        let asked = 0;
        alice.connection.request = (op, ...rest) =>
          op === "thread" && ++asked > 50 ? new Promise(() => {}) : request(op, ...rest);
        const { receive } = server;
        server.receive = (socket, asking) =>
          asking.op === "thread" ? null : receive.call(server, socket, asking);
        alice.start();
        alice.open("general");
        await clock.pass(1000);
        server.close(1012);
        await clock.pass(100);
        const before = asked;
        server.receive = receive;
        await clock.pass(5000);
        return [before, asked, store.messageOf(room(alice), "event-5").body];
    """) == [1, 2, "message 5"]


@pytest.mark.parametrize("op", ["history", "thread", "sync", "read"])
def test_what_is_refused_for_now_is_asked_again_when_the_server_said(run: Run, op: str) -> None:
    assert run(f"""
        const op = {op!r};
        const clock = new cast.Clock();
        const server = new cast.Server({{ clock }});
        for (let i = 1; i <= 100; i += 1) server.say(cast.BOB, `message ${{i}}`);
        server.say(cast.BOB, "an answer", {{ data: {{ reply_to: "event-5" }} }});
        server.reads["1.general"] = op === "sync" ? 98 : 101;
        const alice = make(server, clock, cast.ALICE);
        server.refused[op] = {{ code: "rate_limited", detail: "", retry_after: 3 }};
        alice.start();
        alice.open("general");
        await clock.pass(1000);
        if (op === "read") server.say(cast.BOB, "news");
        await clock.pass(100);
        alice.attend(true);
        const asked = () => server.requests.filter((request) => request.op === op).length;
        await clock.pass(1500);
        alice.attend(true);
        await clock.pass(100);
        const before = asked();
        await clock.pass(5000);
        return [before, asked() > 1, store.messageOf(room(alice), "event-5").body];
    """) == [1, True, "message 5"]


def test_what_was_read_on_the_way_is_told_of_every_room(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock, rooms: ["one", "two", "three"] });
        for (const room of ["one", "two", "three"]) server.say(cast.BOB, "hello", { room });
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(1000);
        for (const slug of ["one", "two", "three"]) {
          alice.open(slug);
          alice.attend(true);
        }
        await clock.pass(2000);
        return [server.reads["1.one"], server.reads["1.two"], server.reads["1.three"]];
    """) == [1, 1, 1]


def test_what_is_read_without_a_connection_is_told_later(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock, rooms: ["one", "two"] });
        for (const room of ["one", "two"]) server.say(cast.BOB, "hello", { room });
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(1000);
        server.close(1012);
        alice.readAll();
        await clock.pass(5000);
        return [server.reads["1.one"], server.reads["1.two"]];
    """) == [1, 1]


def test_a_message_that_came_with_the_page_is_gone_to_in_a_room_far_behind(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 900; i += 1) server.say(cast.BOB, `message ${i}`);
        server.reads["1.general"] = 200;
        const alice = make(server, clock, cast.ALICE);
        alice.goTo("general", 890);
        const history = server.history({ room: "general", before: 901, limit: 50 });
        alice.seed({ ...cast.ready({ general: { head: 900, read: 200 } }),
          log: { sync: { rooms: {} }, history: { room: "general", ...history } } });
        const early = store.isFilled(room(alice));
        alice.start();
        await clock.pass(1000);
        return [early, room(alice).target.seq, store.isFilled(room(alice))];
    """) == [False, 890, True]


def test_a_room_far_behind_that_was_read_elsewhere_meanwhile_shows_its_newest(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        for (let i = 1; i <= 900; i += 1) server.say(cast.BOB, `message ${i}`);
        server.reads["1.general"] = 200;
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        await clock.pass(500);
        server.close(1012);
        alice.open("general");
        const early = store.isFilled(room(alice));
        server.reads["1.general"] = 900;
        await clock.pass(5000);
        return [early, store.isFilled(room(alice)), bodies(alice).at(-1)];
    """) == [False, True, "message 900"]


def test_only_a_quoted_message_that_the_server_does_not_know_is_called_lost(run: Run) -> None:
    assert run("""
        const clock = new cast.Clock();
        const server = new cast.Server({ clock });
        server.say(cast.BOB, "hello");
        const alice = make(server, clock, cast.ALICE);
        alice.start();
        alice.open("general");
        await clock.pass(1000);
        const answers = [];
        alice.goToQuoted("general", "nothing").then((found) => answers.push(found));
        await clock.pass(1000);
        server.refused.thread = { code: "unavailable", detail: "" };
        alice.goToQuoted("general", "something").then((found) => answers.push(found));
        await clock.pass(1000);
        server.close(1012);
        alice.goToQuoted("general", "something").then((found) => answers.push(found));
        await clock.pass(0);
        return answers;
    """) == [False, True, True]
