/** Search: a box with hints for its filters, and what was found, newest first. */

import { h, icon, setText } from "./dom.js";
import { nameOf } from "./store.js";
import { fullTime, withoutMarkup } from "./timeline.js";

const HINTS = [
  ["from:", "the username of who wrote it"],
  ["in:", "the address of a room"],
  ["before:", "a day, such as 2026-01-31"],
  ["after:", "a day, or yesterday"],
  ["has:link", ""],
  ["has:file", ""],
  ["has:image", ""],
  ["has:code", ""],
  ["has:pin", ""],
  ["has:thread", ""],
];

const OFFERED = 3; // people or rooms, where a name is nobody's
const QUOTES = /[“”„‟«»＂]/g;
const PARTS = /"[^"]*"?|([^\s":]+):(?:"([^"]*)"?|([^\s"]+))|[^\s"]+/g;

/** Whom and which rooms a query names, and where in it: [{filter, name, from, to}]. */
export function namesIn(query) {
  return [...query.replace(QUOTES, '"').matchAll(PARTS)]
    .map(({ 0: all, 1: filter = "", 2: quoted, 3: word = "", index }) => ({
      filter: filter.toLowerCase(),
      name: (quoted ?? word).replace(/^[@#]+/, "").trim(),
      from: index,
      to: index + all.length,
    }))
    .filter(({ filter, name }) => /^(from|in)$/.test(filter) && name);
}

/** The text of a hit in pieces, those that were searched for as `isMark`. */
export function pieces({ text, marks }) {
  const found = [];
  let at = 0;
  for (const [from, to] of marks) {
    if (from < at) continue;
    if (from > at) found.push({ text: text.slice(at, from), isMark: false });
    found.push({ text: text.slice(from, to), isMark: true });
    at = to;
  }
  if (at < text.length) found.push({ text: text.slice(at), isMark: false });
  return found;
}

/** The same without markup; what was searched for stays, even where it is some. */
function plainPieces(snippet) {
  return pieces(snippet).map(({ text, isMark }, index) => ({
    isMark,
    text: isMark ? text : withoutMarkup(text, { isWithin: index > 0 }),
  }));
}

export class SearchPanel {
  title = "Search";
  #desk;
  #room = null;
  #hits = [];
  #asked = 0;
  #form = searchForm();
  #status = h("p", { class: "soft small", role: "status", tabindex: "-1" });
  #error = h("p", { class: "form-error", role: "alert" });
  #list = h("ol", { class: "hits", "aria-label": "Messages found" });
  #more = h("button", { type: "button", class: "button", hidden: true }, "More");

  constructor(desk) {
    this.#desk = desk;
    this.element = h(
      "div",
      { class: "panel" },
      this.#form,
      this.#status,
      this.#error,
      this.#list,
      this.#more,
    );
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search();
    });
    this.#form.addEventListener("click", (event) => this.#hinted(event));
    this.#form.elements.here.addEventListener("change", () => this.#box.value.trim() && this.#search());
    this.#more.addEventListener("click", () => this.#search(this.#hits.at(-1)?.event.id));
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    this.#status.addEventListener("click", (event) => this.#corrected(event));
  }

  get #box() {
    return this.#form.elements.query;
  }

  /** What was found stays when one comes back; a query of its own asks at once. */
  open(room, { query = null }) {
    this.#room = room;
    if (query === null) return;
    this.#box.value = query;
    this.#search();
  }

  begin() {
    this.#box.focus();
    this.#box.select();
  }

  async #search(before = null) {
    const query = this.#box.value.trim();
    if (!query) return this.#clear();
    const turn = ++this.#asked;
    const fields = { query };
    if (this.#form.elements.here.checked) fields.room = this.#room.slug;
    if (before) fields.before = before;
    this.#say("", before ? this.#status.textContent : "Looking…");
    try {
      const answer = await this.#desk.ask("search", fields);
      if (turn !== this.#asked) return undefined;
      this.#found(answer, before);
      if (this.#hits.length === 0) await this.#explain(query, turn);
    } catch (refusal) {
      if (turn !== this.#asked) return undefined;
      if (!before) this.#clear();
      this.#say(refusal.message, "");
    }
    return undefined;
  }

  #clear() {
    this.#asked += 1;
    this.#hits = [];
    this.#list.replaceChildren();
    this.#more.hidden = true;
    this.#say("", "");
  }

  /** Nothing was found: perhaps because somebody is named otherwise than by their username. */
  async #explain(query, turn) {
    for (const named of namesIn(query)) {
      const isPerson = named.filter === "from";
      const called = isPerson ? await this.#peopleCalled(named.name) : this.#roomsCalled(named.name);
      if (turn !== this.#asked || called === null) return;
      if (called.some(({ address }) => address === named.name)) continue;
      this.#status.replaceChildren(...explanation(named, query, called.slice(0, OFFERED)));
      return;
    }
  }

  /** Null where there is no answer. */
  #peopleCalled(name) {
    const known = ({ username, name: full }) => ({ address: username, name: full });
    return this.#desk.people(name).then((people) => people.map(known), () => null);
  }

  /** Only rooms of one's own: that there is another one is told to nobody. */
  #roomsCalled(name) {
    const sought = name.toLowerCase();
    return this.#desk.rooms
      .filter((room) => [room.slug, room.name].some((text) => text.toLowerCase().includes(sought)))
      .map((room) => ({ address: room.slug, name: room.name }));
  }

  #corrected(event) {
    const button = event.target.closest("[data-query]");
    if (!button) return;
    this.#box.value = button.dataset.query;
    this.#status.focus(); // the pressed button is about to go
    this.#search();
  }

  #found({ hits, more }, before) {
    const first = before ? this.#hits.length : 0;
    this.#hits = before ? [...this.#hits, ...hits] : hits;
    this.#list.replaceChildren(...this.#hits.map(drawHit));
    this.#more.hidden = !more;
    this.#say("", countWords(this.#hits.length, more));
    if (before) this.#list.children[first]?.querySelector("a").focus();
  }

  #hinted(event) {
    const hint = event.target.closest("[data-hint]")?.dataset.hint;
    if (!hint) return;
    const { value } = this.#box;
    this.#box.value = `${value}${value && !value.endsWith(" ") ? " " : ""}${hint}`;
    this.#box.focus();
  }

  #clicked(event) {
    const link = event.target.closest("a");
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link || !isPlain) return;
    event.preventDefault();
    this.#desk.goTo(link.dataset.room, Number(link.dataset.seq));
  }

  #say(error, status) {
    setText(this.#error, error);
    setText(this.#status, status);
  }
}

function searchForm() {
  return h(
    "form",
    { class: "form", role: "search", novalidate: true },
    h(
      "div",
      { class: "field" },
      h("label", { for: "search-query" }, "Words, or “a phrase”"),
      h(
        "div",
        { class: "search-line" },
        h("input", { type: "search", id: "search-query", name: "query", maxlength: 200, autocomplete: "off" }),
        h("button", { type: "submit", class: "icon-button", "aria-label": "Search" }, icon("search")),
      ),
    ),
    h(
      "label",
      { class: "check" },
      h("input", { type: "checkbox", name: "here" }),
      h("span", {}, "Only in this room"),
    ),
    h(
      "details",
      { class: "narrowing" },
      h("summary", {}, "Narrow it down"),
      h("ul", { class: "hints" }, HINTS.map(drawHint)),
    ),
  );
}

function drawHint([hint, words]) {
  return h(
    "li",
    {},
    h("button", { type: "button", class: "hint", "data-hint": hint }, h("code", {}, hint)),
    words && h("span", { class: "soft small" }, words),
  );
}

function drawHit({ event, room, name, snippet, files = [] }) {
  const at = new Date(event.at);
  return h(
    "li",
    { class: "hit" },
    h(
      "a",
      { href: `/rooms/${room}/#message-${event.seq}`, "data-room": room, "data-seq": event.seq },
      h(
        "span",
        { class: "hit-head" },
        h("bdi", { class: "author" }, nameOf(event.by)),
        h("span", { class: "soft small" }, "in ", h("bdi", {}, name)),
        h("time", { class: "soft small", datetime: event.at, title: fullTime(at) }, dayAndTime(at)),
      ),
      h("span", { class: "hit-text", dir: "auto" }, plainPieces(snippet).map(drawPiece)),
      files.map(drawFile),
    ),
  );
}

function drawFile(name) {
  return h("span", { class: "hit-text small" }, icon("file"), " ", h("bdi", {}, pieces(name).map(drawPiece)));
}

function drawPiece({ text, isMark }) {
  return isMark ? h("mark", {}, text) : text;
}

/** Why nothing was found, with buttons for those who may be meant. */
function explanation({ filter, name, from, to }, query, called) {
  const isPerson = filter === "from";
  const none = isPerson ? `Nobody is called “${name}”` : `No room of yours has the address “${name}”`;
  if (called.length === 0) return [isPerson ? `There is nobody called “${name}” whom you can see.` : `${none}.`];
  const buttons = called.map((one, index) => [
    index > 0 ? " or " : "",
    h(
      "button",
      {
        type: "button",
        class: "link-button",
        "data-query": `${query.slice(0, from)}${filter}:${one.address}${query.slice(to)}`,
      },
      one.name ? `${one.address} (${one.name})` : one.address,
    ),
  ]);
  return [`${none}; did you mean `, ...buttons.flat(), "?"];
}

function dayAndTime(at) {
  const year = at.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return at.toLocaleString("en-GB", {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", ...year,
  });
}

function countWords(count, more) {
  if (count === 0) return "Nothing found.";
  if (more) return `The newest ${count} messages.`;
  return count === 1 ? "1 message." : `${count} messages.`;
}
