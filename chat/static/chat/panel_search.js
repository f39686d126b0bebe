/** Search: a box with hints for its filters, and what was found, newest first. */

import { h, icon, setText } from "./dom.js";
import { nameOf } from "./store.js";
import { fullTime } from "./timeline.js";

const HINTS = [
  ["from:", "who wrote it"],
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

export class SearchPanel {
  title = "Search";
  #desk;
  #room = null;
  #hits = [];
  #asked = 0;
  #form = searchForm();
  #status = h("p", { class: "soft small", role: "status" });
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
      if (turn === this.#asked) this.#found(answer, before);
    } catch (refusal) {
      if (turn === this.#asked) this.#say(refusal.message, "");
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
      h("span", { class: "hit-text", dir: "auto" }, pieces(snippet).map(drawPiece)),
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
