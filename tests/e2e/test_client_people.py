"""Who is here, whose certificate is behind a message, and whether somebody sits at this page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules, rendered

pytestmark = pytest.mark.browser
PRELUDE = """
const clock = new cast.Clock();
const asked = [];
const BOB = { id: 2, username: "bob", name: "Bob" };
const good = (serial, rest = {}) => ({
  serial, sha256: "ab12".repeat(16), subject: "CN=bob", issuer: "CN=Test Issuing", owner: BOB,
  device: "laptop", not_before: "2026-01-01T00:00:00.000Z", not_after: "2027-01-01T00:00:00.000Z",
  state: "good", ...rest,
});
const server = { certificates: {}, isThere: true, changes: 0 };
const ask = async (op, { serials }) => {
  if (!server.isThere) return null;
  asked.push(serials);
  const found = serials.filter((serial) => serial in server.certificates);
  return { certificates: Object.fromEntries(found.map((s) => [s, server.certificates[s]])) };
};
const known = new people.People({ ask, changed: () => (server.changes += 1), clock });
const written = new Date("2026-03-01T12:00:00Z");
const marks = (serial, at = written) => known.marksOf({ serial, at }).map(({ kind }) => kind);
const revoked = { state: "revoked", revoked_at: "2026-03-02T00:00:00.000Z", reason: "keyCompromise" };
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(
        people="chat/people.js", idle="chat/idle.js", card="chat/certificate_card.js"
    ) as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_presence_is_what_was_told_last(run: Run) -> None:
    assert run("""
        const states = [known.stateOf(2)];
        known.seen({people: {2: "active", 3: "away"}});
        states.push(known.stateOf(2), known.stateOf(3), known.stateOf(4));
        known.seen({people: {2: "away", 3: "offline"}});
        states.push(known.stateOf(2), known.stateOf(3));
        return states;
    """) == [None, "active", "away", "offline", "away", "offline"]


def test_after_a_break_what_is_told_first_is_everybody(run: Run) -> None:
    assert run("""
        known.seen({people: {2: "active", 3: "away"}});
        known.ready();
        const before = known.stateOf(3);
        known.seen({people: {2: "active"}});
        return [before, known.stateOf(2), known.stateOf(3)];
    """) == ["away", "active", "offline"]


def test_certificates_in_view_are_asked_for_once_and_together(run: Run) -> None:
    counts = run("""
        const serials = Array.from({length: 120}, (_, index) => `a${index}`);
        for (const serial of serials) server.certificates[serial] = good(serial);
        for (const _ of [1, 2, 3]) for (const serial of [...serials, "unseen", ""]) marks(serial);
        await clock.pass(1000);
        for (const serial of [...serials, "unseen"]) marks(serial);
        await clock.pass(1000);
        return asked.map((batch) => batch.length);
    """)
    assert counts == [50, 50, 21]


def test_question_without_an_answer_is_asked_again_with_the_next_connection(run: Run) -> None:
    assert run("""
        server.isThere = false;
        server.certificates.aa = good("aa", revoked);
        marks("aa");
        await clock.pass(60_000);
        server.isThere = true;
        known.ready();
        await clock.pass(1000);
        return [asked, marks("aa")];
    """) == [[["aa"]], ["revoked"]]


def test_push_marks_at_once_and_the_reason_follows(run: Run) -> None:
    before, at_once, later, released = run("""
        server.certificates.aa = good("aa");
        marks("aa");
        await clock.pass(100);
        const before = marks("aa");
        server.certificates.aa = good("aa", revoked);
        known.stands({serial: "aa", state: "revoked", at: revoked.revoked_at});
        const [{title: atOnce}] = known.marksOf({serial: "aa", at: written});
        await clock.pass(100);
        const [{title: later}] = known.marksOf({serial: "aa", at: written});
        server.certificates.aa = good("aa");
        known.stands({serial: "aa", state: "good", at: revoked.revoked_at});
        return [before, atOnce, later, marks("aa")];
    """)
    assert before == released == []
    assert at_once == "Revoked. It was good when this was written."
    assert later == "Revoked: the key was lost or stolen. It was good when this was written."


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{}", []),
        ("revoked", ["revoked"]),
        ('{...revoked, reason: "superseded"}', ["retired"]),
        ('{...revoked, state: "held", reason: "certificateHold"}', ["held"]),
        ('{state: "expired"}', []),
        ('{state: "unknown"}', ["unknown"]),
        ('{owner: {...BOB, flag: "mixed"}}', ["mixed"]),
        (
            '{...revoked, owner: {...BOB, flag: "lookalike", lookalike_of: "rob"}}',
            ["revoked", "lookalike"],
        ),
    ],
)
def test_marks_say_why_to_look_twice(run: Run, given: str, expected: list[str]) -> None:
    kinds = run(f"""
        server.certificates.aa = good("aa", {given});
        marks("aa");
        await clock.pass(100);
        return marks("aa");
    """)
    assert kinds == expected


def test_state_then_and_now_differ(run: Run) -> None:
    states = run("""
        const at = (day) => new Date(`${day}T12:00:00Z`);
        const days = ["2025-12-31", "2026-03-01", "2026-03-02", "2027-02-01"];
        return [good("aa"), good("aa", revoked)].map((certificate) =>
          days.map((day) => people.stateAt(certificate, at(day))));
    """)
    assert states == [
        ["not_yet_valid", "good", "good", "expired"],
        ["not_yet_valid", "good", "revoked", "revoked"],
    ]


def test_who_gives_no_sign_for_five_minutes_is_away(run: Run) -> None:
    told = run("""
        const told = [];
        const here = new idle.Idle({ tell: (state) => told.push([state, clock.now() - start]), clock });
        const start = clock.now();
        await clock.pass(4 * 60_000);
        here.seen();
        await clock.pass(4 * 60_000);
        told.push("still here");
        await clock.pass(2 * 60_000);
        here.ready();
        here.seen();
        here.ready();
        await clock.pass(5 * 60_000);
        return told;
    """)
    minute = 60_000
    assert told == [
        "still here",
        ["away", 9 * minute],
        ["away", 10 * minute],
        ["active", 10 * minute],
        ["away", 15 * minute],
    ]


def test_card_says_in_plain_words_who_it_is(run: Run) -> None:
    dialog = rendered("chat/_people.html", {})
    words = run(f"""
        document.body.innerHTML = {dialog!r};
        const owner = {{...BOB, flag: "lookalike", lookalike_of: "rob"}};
        server.certificates.aa11bb = good("aa11bb", {{...revoked, owner}});
        const element = document.querySelector("dialog");
        const shown = new card.CertificateCard({{dialog: element, people: known}});
        await shown.show("aa11bb", written);
        const standing = [...element.querySelectorAll(".certificate-standing > div")];
        const result = {{
          text: element.textContent, states: standing.map((line) => line.dataset.state),
          copies: element.querySelector("[data-copies]").dataset.copies,
          isOpen: element.open,
        }};
        element.querySelector("[data-action=cancel]").click();
        return {{...result, isClosed: !element.open}};
    """)
    assert words["isOpen"]
    assert words["isClosed"]
    assert words["states"] == ["good", "revoked"]
    assert words["copies"] == ":".join(["AB", "12"] * 16)
    for part in (
        "This comes from Bob (@bob)",
        "the same as that of @rob",
        "the key was lost or stolen",
        "AA11 BB",
        "AB12 AB12 AB12",
        "CN=Test Issuing",
        "laptop",
    ):
        assert part in words["text"], words["text"]


def test_card_of_a_certificate_that_changes_meanwhile_follows(run: Run) -> None:
    dialog = rendered("chat/_people.html", {})
    assert run(f"""
        document.body.innerHTML = {dialog!r};
        const states = () => [...document.querySelectorAll("[data-state]")].map((e) => e.dataset.state);
        const element = document.querySelector("dialog");
        let shown;
        const live = new people.People({{ ask, changed: () => shown?.refresh(), clock }});
        shown = new card.CertificateCard({{dialog: element, people: live}});
        await shown.show("aa");
        const nothing = element.textContent.includes("tells nothing");
        server.certificates.aa = good("aa");
        await shown.show("aa");
        const before = states();
        live.stands({{serial: "aa", state: "revoked", at: revoked.revoked_at}});
        return [nothing, before, states()];
    """) == [True, ["good"], ["revoked"]]
