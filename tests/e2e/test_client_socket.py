"""The client's connection: what it says, when it comes back, and when it stays away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { Connection, waitBefore } = socket;
const clock = new cast.Clock();
const server = new cast.Server({ clock });
const log = [];
const connect = (server_ = server) => {
  const connection = new Connection({
    url: "wss://chat.test/ws/chat/", clock, WebSocket: server_.sockets(cast.ALICE),
    on: {
      state: (state) => log.push(state.name === "stopped" ? `stopped ${state.verdict.code}` : state.name),
      ready: (ready, { forget }) => log.push(forget ? "ready, forgetting" : "ready"),
      event: ({ event }) => log.push(`event ${event.seq}`),
      heads: ({ rooms }) => log.push(`heads ${rooms.general}`),
    },
  });
  connection.connect();
  return connection;
};
const ops = () => server.requests.map((request) => request.op);
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(socket="chat/socket.js", protocol="chat/protocol.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_it_offers_the_subprotocol_and_hears_ready_and_events(run: Run) -> None:
    assert run("""
        let offered;
        const Plain = server.sockets(cast.ALICE);
        const connection = new Connection({ url: "wss://chat.test/", clock, on: {},
          WebSocket: class extends Plain { constructor(...all) { super(...all); offered = all[1]; } } });
        connection.connect();
        connect();
        await clock.pass(200);
        server.say(cast.BOB, "hello");
        await clock.pass(200);
        return [offered, log];
    """) == [["signet.v1.json"], ["connecting", "open", "ready", "event 1"]]


def test_each_request_gets_its_own_answer(run: Run) -> None:
    assert run("""
        const connection = connect();
        await clock.pass(200);
        const outcomes = Promise.allSettled([
          connection.request("ping"), connection.request("dance"),
          connection.request("history", {room: "general", before: 1, limit: 5}),
        ]);
        await clock.pass(500);
        const [ping, dance, history] = await outcomes;
        return [ping.value.ok, dance.reason.code, dance.reason.message, history.value.events];
    """) == [True, "unknown_op", "No.", []]


def test_a_request_without_an_answer_ends_after_a_time(run: Run) -> None:
    assert run("""
        const connection = connect();
        await clock.pass(200);
        server.isMute = true;
        const outcome = connection.request("ping").catch((refusal) => [refusal.code, refusal.passing]);
        await clock.pass(21_000);
        return outcome;
    """) == ["timeout", True]


def test_a_broken_connection_ends_the_requests_and_comes_back(run: Run) -> None:
    assert run("""
        const connection = connect();
        await clock.pass(200);
        server.isMute = true;
        const outcome = connection.request("ping").catch((refusal) => refusal.code);
        server.close(1006);
        await clock.pass(5000);
        return [await outcome, log];
    """) == [
        "disconnected",
        ["connecting", "open", "ready", "waiting", "connecting", "open", "ready"],
    ]


def test_waits_grow_are_drawn_at_random_and_stay_below_half_a_minute(run: Run) -> None:
    assert run("""
        const longest = [0, 1, 2, 3, 20].map((attempt) => waitBefore(attempt, 0, () => 1));
        const shortest = waitBefore(9, 0, () => 0);
        return [longest, shortest, waitBefore(0, 5, () => 0)];
    """) == [[500, 1000, 2000, 4000, 30000], 0, 5000]


def test_a_crash_right_after_ready_does_not_reset_the_wait(run: Run) -> None:
    assert run("""
        clock.random = () => 1;
        const connection = connect();
        const waits = [];
        for (let round = 0; round < 4; round += 1) {
          await clock.pass(200);
          const before = clock.now();
          server.close(1006);
          waits.push(connection.state.until - before);
          await clock.pass(connection.state.until - before);
        }
        await clock.pass(12_000);
        const before = clock.now();
        server.close(1006);
        return [waits, connection.state.until - before];
    """) == [[500, 1000, 2000, 4000], 500]


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 4504, 4505, 4506, 4510, 4599])
def test_codes_from_4500_on_stop_it_for_good(run: Run, code: int) -> None:
    assert run(f"""
        const connection = connect();
        await clock.pass(200);
        server.close({code});
        await clock.pass(3_600_000);
        connection.retryNow();
        connection.probe();
        connection.connect();
        const {{ title, sentence, steps }} = connection.state.verdict;
        return [log.at(-1), server.open.size, [title, sentence, ...steps].every(Boolean)];
    """) == [f"stopped {code}", 0, True]


@pytest.mark.parametrize(
    ("code", "floor"),
    [(1001, 1), (1012, 1), (1013, 5), (4008, 0), (4029, 10), (4030, 3), (4321, 0)],
)
def test_other_codes_bring_it_back_not_before_their_time(run: Run, code: int, floor: int) -> None:
    assert run(f"""
        clock.random = () => 0;
        const connection = connect();
        await clock.pass(200);
        const before = clock.now();
        server.close({code});
        const wait = connection.state.until - before;
        await clock.pass(wait + 200);
        return [wait, connection.isOpen];
    """) == [floor * 1000, True]


def test_resync_forgets_the_logs_once(run: Run) -> None:
    assert run("""
        connect();
        await clock.pass(200);
        server.close(4001);
        await clock.pass(5000);
        server.close(1006);
        await clock.pass(5000);
        return log.filter((line) => line.startsWith("ready"));
    """) == ["ready", "ready, forgetting", "ready"]


def test_two_missed_beats_mean_a_dead_connection(run: Run) -> None:
    assert run("""
        connect();
        await clock.pass(200);
        await clock.pass(54_000);
        const before = [...log];
        await clock.pass(5_000);
        return [before.at(-1), log.slice(before.length)];
    """) == ["ready", ["waiting", "connecting", "open", "ready"]]


def test_beats_keep_it_alive_and_are_answered(run: Run) -> None:
    assert run("""
        connect();
        for (let beat = 0; beat < 8; beat += 1) {
          await clock.pass(25_000);
          server.beat();
        }
        await clock.pass(200);
        return [log.filter((line) => line === "ready").length, ops().length >= 7, new Set(ops()).size];
    """) == [1, True, 1]


def test_after_sleep_a_dead_connection_is_found_at_once(run: Run) -> None:
    assert run("""
        const connection = connect();
        await clock.pass(200);
        server.isMute = true;
        connection.probe();
        await clock.pass(5_001);
        return log.at(-1);
    """) in ("waiting", "connecting")


def test_a_handshake_that_leads_nowhere_is_given_up(run: Run) -> None:
    assert run("""
        const connection = new Connection({ url: "wss://chat.test/", clock,
          on: { state: (state) => log.push([state.name, state.failures ?? 0]) },
          WebSocket: class { close() {} } });
        connection.connect();
        await clock.pass(15_001);
        return log;
    """) == [["connecting", 0], ["waiting", 1]]


def test_unknown_words_of_the_server_are_passed_over(run: Run) -> None:
    assert (
        run("""
        connect();
        await clock.pass(200);
        for (const frame of [{ev: "constructor"}, {ev: "dance"}, {ev: "event", room: "general"}, [],
          {ref: 999, ok: true}, {}]) server.push(frame);
        for (const socket of server.open) socket.onmessage({ data: "{" });
        server.say(cast.BOB, "still here");
        await clock.pass(200);
        return log.at(-1);
    """)
        == "event 1"
    )
