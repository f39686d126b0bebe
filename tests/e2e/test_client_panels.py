"""The panels beside the room and the dialogs above it: what they keep, lose and say, without a page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { ALICE, BOB, message, note } = cast;
const given = cast.ready({ general: { head: 2, read: 2 } });
let state = store.reduce(store.initial(), { type: "ready", ready: given });
const happens = (...events) => {
  for (const event of events) state = store.reduce(state, { type: "event", event });
};
let answer = { events: [], later: [], more: false };
const desk = {
  me: ALICE, ask: async () => answer, room: (slug) => store.roomOf(state, slug), marksOf: () => [],
  makeComposer: () => ({ open() {}, focus() {} }), placeOf: () => ({}), notified() {},
};
const room = () => desk.room("general");
const shown = async (panel, options) => {
  document.body.replaceChildren(panel.element);
  panel.open(room(), options);
  await cast.settled();
  return panel;
};
/** The room goes on until its log has let go of all that was there. */
const goesOn = (panel) => {
  const from = room().last + 1;
  panel.show(room());
  for (let seq = from; seq < from + 400; seq += 1) happens(message(seq));
  state = store.reduce(state, { type: "trimmed", room: "general" });
  panel.show(room());
};
const words = (panel) => [...panel.element.querySelectorAll(".message-body")].map((e) => e.textContent);
const said = (panel, role) => panel.element.querySelector(`[role=${role}]`).textContent;
const under = (seq, body) => message(seq, BOB, { body, data: { thread: "event-1" } });
const edited = (seq, body, id) =>
  note(seq, "message.edited", BOB, { message: id, body, html: `<p>${body}</p>` });
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(
        dom="chat/dom.js",
        store="chat/store.js",
        thread="chat/panel_thread.js",
        pins="chat/panel_pins.js",
        search="chat/panel_search.js",
        settings="chat/panel_settings.js",
        residents="chat/residents.js",
        dialogs="chat/dialogs.js",
        field="chat/people_field.js",
    ) as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_a_thread_keeps_what_the_log_of_the_room_lets_go(run: Run) -> None:
    assert run("""
        answer = { events: [message(1), under(2, "at first")], later: [], more: false };
        const panel = await shown(new thread.ThreadPanel(desk), { message: { id: "event-1", thread: null } });
        happens(under(3, "later"), edited(4, "better", "event-2"), under(5, "never mind"),
          note(6, "message.deleted", BOB, { message: "event-5" }));
        goesOn(panel);
        return [room().first > 6, words(panel), said(panel, "status")];
    """) == [True, ["message 1", "better edited", "later"], "3 answers."]


def test_a_thread_of_which_a_part_is_shown_says_which(run: Run) -> None:
    assert (
        run("""
        answer = { events: [message(1), under(7, "the last")], later: [], more: true };
        const panel = await shown(new thread.ThreadPanel(desk), { message: { id: "event-1", thread: null } });
        return said(panel, "status");
    """)
        == "The newest 1 answer."
    )


def test_what_expires_leaves_the_panels_though_the_server_has_it_still(run: Run) -> None:
    """The event says that it goes, and an answer may be older than that."""
    assert run("""
        const pinned = note(2, "message.pinned", BOB, { message: "event-1" });
        answer = { events: [message(1)], later: [pinned], more: false };
        const pin = await shown(new pins.PinsPanel(desk));
        const before = words(pin);
        happens(note(3, "messages.expired", { id: 0, username: "", name: "Signet" }, { upto: 2 }));
        pin.show(room());
        answer = { events: [message(1), under(2, "secret")], later: [], more: false };
        const panel = await shown(new thread.ThreadPanel(desk), { message: { id: "event-1", thread: null } });
        return [before, words(pin), said(pin, "status"), words(panel)];
    """) == [["message 1"], [], "Nothing is pinned in this room.", []]


def test_the_files_of_a_pinned_message_can_be_reached_with_the_keyboard(run: Run) -> None:
    assert run("""
        const attachments = [{ id: "f", name: "plan.pdf", size: 5, type: "application/pdf" }];
        const pinned = note(2, "message.pinned", BOB, { message: "event-1" });
        answer = { events: [message(1, BOB, { data: { attachments } })], later: [pinned], more: false };
        const panel = await shown(new pins.PinsPanel(desk));
        const file = panel.element.querySelector("a.file");
        return [file.getAttribute("href"), file.tabIndex];
    """) == ["/rooms/general/files/f/plan.pdf", 0]


def test_pins_are_asked_for_again_when_a_message_is_pinned(run: Run) -> None:
    """Also by this person, whose deeds come as answers and not as news."""
    assert run("""
        const panel = await shown(new pins.PinsPanel(desk));
        const before = said(panel, "status");
        const pinned = note(3, "message.pinned", ALICE, { message: "event-1" });
        let asked = 0;
        desk.ask = async () => { asked += 1; return { events: [message(1)], later: [pinned], more: false }; };
        happens(pinned);
        for (const _ of [1, 2, 3]) { panel.show(room()); await cast.settled(); }
        happens(note(4, "message.unpinned", BOB, { message: "event-1" }));
        const between = words(panel);
        panel.show(room());
        return [before, between, asked, said(panel, "status")];
    """) == ["Nothing is pinned in this room.", ["message 1"], 1, "Nothing is pinned in this room."]


def test_a_refused_question_for_pins_waits_no_more(run: Run) -> None:
    assert run("""
        desk.ask = async () => { throw new Error("No."); };
        const panel = await shown(new pins.PinsPanel(desk));
        return [said(panel, "status"), said(panel, "alert")];
    """) == ["", "No."]


DIALOG = """
const made = () => {
  document.body.innerHTML = `<dialog><form><h2></h2><p class="dialog-words"></p>
    <p class="field"><label></label><input name="reason"></p><p role="alert" hidden></p>
    <button type="button" data-action="cancel"></button><button type="submit"></button></form></dialog>`;
  return document.querySelector("dialog");
};
const element = made();
const confirmation = new dialogs.Confirmation(element);
const asks = (title) => {
  let answers;
  const submit = () => new Promise((done, fail) => (answers = { done, fail: () => fail(new Error("No.")) }));
  confirmation.ask({ title, words: "", verb: "Do it", submit });
  element.querySelector("[type=submit]").click();
  return answers;
};
const stands = () => [element.open, element.querySelector("h2").textContent,
  element.querySelector("[role=alert]").textContent, document.getElementById("toasts")?.textContent ?? ""];
"""


def test_an_answer_is_to_the_question_that_was_asked(run: Run) -> None:
    """The first was given up with Escape while it was on its way."""
    assert run(
        DIALOG
        + """
        const first = asks("Delete?");
        await cast.settled();
        element.close();
        const second = asks("Ban?");
        await cast.settled();
        first.done();
        await cast.settled();
        const between = stands();
        second.fail();
        await cast.settled();
        return [between, stands(), element.querySelector("[type=submit]").disabled];
    """
    ) == [[True, "Ban?", "", ""], [True, "Ban?", "No.", ""], False]


def test_a_refusal_after_the_dialog_is_said_all_the_same(run: Run) -> None:
    assert run(
        DIALOG
        + """
        const only = asks("Delete?");
        await cast.settled();
        element.close();
        only.fail();
        await cast.settled();
        return stands();
    """
    ) == [False, "Delete?", "", "No."]


def test_settings_keep_what_one_types_while_one_chooses_a_level(run: Run) -> None:
    assert run("""
        happens(note(3, "member.role", BOB, { user: ALICE, role: "owner" }));
        const panel = await shown(new settings.SettingsPanel(desk));
        const [levels, form] = panel.element.querySelectorAll("form");
        form.elements.description.value = "half a sent";
        const choose = async (level) => {
          levels.elements.level.value = level;
          levels.dispatchEvent(new Event("change"));
          await cast.settled();
          panel.show(room());
          return [levels.elements.level.value, said(panel, "alert")];
        };
        desk.notified = (slug, notify) => {
          state = store.reduce(state, { type: "room.added", room: { room: slug, notify } });
        };
        const chosen = await choose("mentions");
        desk.ask = async () => { throw new Error("No."); };
        return [chosen, await choose("nothing"), form.elements.description.value];
    """) == [["mentions", ""], ["mentions", "No."], "half a sent"]


RESIDENTS = """
const asked = [];
const known = new residents.Residents({ changed() {},
  ask: () => new Promise((done, fail) => asked.push({ says: (...members) => done({ members }), fail })) });
const joins = { type: "member.joined", room: "general" };
"""


def test_people_are_asked_for_again_when_one_comes_meanwhile(run: Run) -> None:
    assert run(
        RESIDENTS
        + """
        const found = known.load("general");
        known.heard(joins);
        asked[0].says("Alice");
        await cast.settled();
        asked[1].says("Alice", "Bob");
        await found;
        known.heard(joins);
        known.heard(joins);
        asked[2].says("Alice", "Bob", "Carol");
        await cast.settled();
        asked[3].says("Alice", "Bob", "Carol", "Dave");
        await cast.settled();
        return [(await found).members, known.of("general").members, asked.length];
    """
    ) == [["Alice", "Bob"], ["Alice", "Bob", "Carol", "Dave"], 4]


def test_people_of_before_a_break_stay_until_there_is_an_answer(run: Run) -> None:
    assert run(
        RESIDENTS
        + """
        known.load("general");
        asked[0].says("Alice");
        await cast.settled();
        known.doubt();
        const between = known.of("general").members;
        const failing = known.load("general").catch((error) => error.message);
        asked[1].fail(new Error("No."));
        const refusal = await failing;
        const again = known.load("general");
        asked[2].says("Alice", "Bob");
        return [between, refusal, (await again).members, (await known.load("general")).members];
    """
    ) == [["Alice"], "No.", ["Alice", "Bob"], ["Alice", "Bob"]]


def test_a_search_that_was_cleared_finds_nothing_later(run: Run) -> None:
    assert run("""
        let answers;
        desk.ask = () => new Promise((done) => (answers = done));
        const panel = await shown(new search.SearchPanel(desk), { query: "old" });
        panel.element.querySelector("[name=query]").value = "";
        panel.element.querySelector("form").requestSubmit();
        const snippet = { text: "old", marks: [] };
        const hit = { event: message(1), room: "general", name: "General", snippet };
        answers({ hits: [hit], more: false });
        await cast.settled();
        return [said(panel, "status"), panel.element.querySelectorAll(".hit").length];
    """) == ["", 0]


SEARCH = """
const BERT = { id: 9, username: "bert", name: "Bert Bauer" };
const found = async (query) => {
  const panel = await shown(new search.SearchPanel(desk), { query });
  return panel;
};
answer = { hits: [], more: false };
desk.people = async (query) => ("Bert Bauer".toLowerCase().includes(query.toLowerCase()) ? [BERT] : []);
desk.rooms = [{ slug: "sales-26", name: "Sales" }, { slug: "dm-x", name: "Bert Bauer" }];
"""


def test_a_search_for_a_name_offers_the_username_or_the_address(run: Run) -> None:
    assert run(
        SEARCH
        + """
        const queries = ["from:Bert", "plan from:“Bert Bauer” old", "from:@bert in:sales", "from:nobody",
          "in:secret", "from:bert in:sales-26", "\\"from:Bert\\""];
        const told = {};
        for (const query of queries) {
          const panel = await found(query);
          const offered = [...panel.element.querySelectorAll("[data-query]")].map((b) => b.dataset.query);
          told[query] = [said(panel, "status"), ...offered];
        }
        return told;
    """
    ) == {
        "from:Bert": ["Nobody is called “Bert”; did you mean bert (Bert Bauer)?", "from:bert"],
        "plan from:“Bert Bauer” old": [
            "Nobody is called “Bert Bauer”; did you mean bert (Bert Bauer)?",
            "plan from:bert old",
        ],
        "from:@bert in:sales": [
            "No room of yours has the address “sales”; did you mean sales-26 (Sales)?",
            "from:@bert in:sales-26",
        ],
        "from:nobody": ["There is nobody called “nobody” whom you can see."],
        "in:secret": ["No room of yours has the address “secret”."],
        "from:bert in:sales-26": ["Nothing found."],
        '"from:Bert"': ["Nothing found."],
    }


def test_an_offered_name_is_searched_for_at_once(run: Run) -> None:
    assert run(
        SEARCH
        + """
        const panel = await found("from:Bert");
        const asked = [];
        desk.ask = async (_op, { query }) => { asked.push(query); return answer; };
        panel.element.querySelector("[data-query]").click();
        await cast.settled();
        return [asked, panel.element.querySelector("[name=query]").value, said(panel, "status")];
    """
    ) == [["from:bert"], "from:bert", "Nothing found."]


def test_a_search_shows_no_markup_but_what_was_searched_for(run: Run) -> None:
    assert run(
        SEARCH
        + """
        const hit = (text, ...marks) =>
          ({ event: message(1), room: "general", name: "General", snippet: { text, marks } });
        answer = { more: false, hits: [hit("# the **Q3** plan", [8, 10]), hit("```python x > y", [3, 9]),
          hit("> C# is `it`", [2, 3])] };
        const panel = await found("old");
        return [...panel.element.querySelectorAll(".hit-text")].map((e) => e.innerHTML);
    """
    ) == ["the <mark>Q3</mark> plan", "<mark>python</mark> x &gt; y", "<mark>C</mark># is it"]


def test_a_refused_search_leaves_nothing_of_the_one_before(run: Run) -> None:
    assert run(
        SEARCH
        + """
        const snippet = { text: "old", marks: [] };
        answer = { hits: [{ event: message(1), room: "general", name: "General", snippet }], more: true };
        const panel = await found("old");
        const hits = () => panel.element.querySelectorAll(".hit").length;
        desk.ask = async () => { throw new Error("No."); };
        panel.element.querySelector(".panel > button").click();
        await cast.settled();
        const more = [hits(), said(panel, "alert")];
        panel.open(room(), { query: "before:soon" });
        await cast.settled();
        return [more, hits(), panel.element.querySelector(".panel > button").hidden, said(panel, "alert")];
    """
    ) == [[1, "No."], 0, True, "No."]


def test_a_field_for_people_says_when_nobody_can_be_looked_for(run: Run) -> None:
    assert run("""
        const root = dom.h("div", {}, field.peopleFieldParts({ id: "who", label: "Who", help: "" }));
        document.body.replaceChildren(root);
        const ask = () => Promise.reject(new Error("The connection broke."));
        new field.PeopleField({ root, ask });
        const [input, status] = [root.querySelector("input"), root.querySelector(".people-status")];
        const type = async (text) => {
          const changed = new Promise((done) =>
            new MutationObserver(done).observe(status, { childList: true }));
          input.value = text;
          input.dispatchEvent(new Event("input"));
          await changed;
          return [status.textContent, status.matches(".visually-hidden")];
        };
        return [await type("bo"), await type("")];
    """) == [["The connection broke.", False], ["", True]]
