/** One emoji, chosen from all of them: a box to search, and a grid that the arrows walk. */

import { GROUPS, findEmoji } from "./emoji.js";
import { h, setText } from "./dom.js";

const COLUMNS = { wide: 8, narrow: 6 }; // as in the style sheet: no cell too small for a finger
const LATELY = 16;

const narrow = matchMedia("(max-width: 23.99rem)");

export class EmojiPicker {
  #dialog;
  #search;
  #grid;
  #status;
  #storage;
  #key;
  #resolve = null;

  constructor({ storage, user }) {
    this.#storage = storage;
    this.#key = `signet.emoji.${user}`;
    this.#search = h("input", {
      type: "search",
      class: "emoji-search",
      placeholder: "Find an emoji",
      "aria-label": "Find an emoji",
      autocomplete: "off",
      on: { input: () => this.#draw(), keydown: (event) => this.#searched(event) },
    });
    this.#grid = h("div", {
      class: "emoji-grid",
      role: "grid",
      "aria-label": "Emoji",
      on: { click: (event) => this.#clicked(event), keydown: (event) => this.#keyed(event) },
    });
    this.#status = h("p", { class: "emoji-status small soft", role: "status" });
    this.#dialog = h(
      "dialog",
      { class: "dialog emoji-dialog", "aria-label": "Choose an emoji" },
      this.#search,
      this.#grid,
      this.#status,
    );
    this.#dialog.addEventListener("close", () => this.#end(null));
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    document.body.append(this.#dialog);
  }

  /** The emoji that is chosen, or null; the focus goes back to where it was. */
  pick(anchor = null) {
    this.#end(null);
    this.#search.value = "";
    this.#draw();
    this.#dialog.showModal();
    this.#place(anchor);
    this.#search.focus();
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  #end(emoji) {
    const resolve = this.#resolve;
    this.#resolve = null;
    resolve?.(emoji);
  }

  #take(emoji) {
    this.#remember(emoji);
    this.#end(emoji);
    this.#dialog.close();
  }

  /** Beside what it was opened from, where there is room; the style sheet says where otherwise. */
  #place(anchor) {
    const { style } = this.#dialog;
    const edge = anchor?.getBoundingClientRect();
    const isWide = edge && innerWidth >= 480 && edge.width > 0;
    this.#dialog.classList.toggle("is-placed", Boolean(isWide));
    style.left = style.top = "";
    if (!isWide) return;
    const { offsetWidth: width, offsetHeight: height } = this.#dialog;
    const left = Math.min(Math.max(8, edge.right - width), innerWidth - width - 8);
    const above = edge.top - height - 8;
    style.left = `${left}px`;
    style.top = `${above >= 8 ? above : Math.min(edge.bottom + 8, innerHeight - height - 8)}px`;
  }

  // --- What was used lately ----------------------------------------------------------------------------

  #lately() {
    const known = (this.#storage.get(this.#key) ?? "").split(" ").filter(Boolean);
    return known.flatMap((emoji) => findByEmoji(emoji) ?? []);
  }

  #remember(emoji) {
    const others = this.#lately().map((entry) => entry.emoji).filter((other) => other !== emoji);
    this.#storage.set(this.#key, [emoji, ...others].slice(0, LATELY).join(" "));
  }

  // --- The grid ----------------------------------------------------------------------------------------

  #draw() {
    const query = this.#search.value.trim();
    const found = findEmoji(query);
    const lately = this.#lately();
    const groups = query
      ? [{ title: "Found", entries: found }]
      : [...(lately.length > 0 ? [{ title: "Used lately", entries: lately }] : []), ...GROUPS];
    const columns = narrow.matches ? COLUMNS.narrow : COLUMNS.wide;
    this.#grid.replaceChildren(...groups.flatMap((group) => drawGroup(group, columns)));
    setText(this.#status, query && found.length === 0 ? "There is no emoji of that name." : "");
    const first = this.#cells()[0];
    if (first) first.tabIndex = 0;
  }

  #cells() {
    return [...this.#grid.querySelectorAll("button")];
  }

  #searched(event) {
    if (event.isComposing) return;
    const [first] = this.#cells();
    if (event.key === "ArrowDown") first?.focus();
    else if (event.key === "Enter" && first) this.#take(first.dataset.emoji);
    else return;
    event.preventDefault();
  }

  #clicked(event) {
    const cell = event.target.closest("button");
    if (cell) this.#take(cell.dataset.emoji);
  }

  #keyed(event) {
    const cell = event.target.closest("button");
    const target = cell && this.#neighbour(cell, event.key);
    if (target === undefined || cell === null) return;
    event.preventDefault();
    if (target === null) {
      this.#search.focus();
      return;
    }
    cell.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  /** The cell that a key leads to; null above the first row, undefined where the key leads nowhere. */
  #neighbour(cell, key) {
    const cells = this.#cells();
    const at = cells.indexOf(cell);
    switch (key) {
      case "ArrowRight":
        return cells[at + 1];
      case "ArrowLeft":
        return cells[at - 1];
      case "Home":
        return cells[0];
      case "End":
        return cells.at(-1);
      case "ArrowDown":
      case "ArrowUp":
        return this.#inRow(cell, key === "ArrowDown" ? 1 : -1);
      default:
        return undefined;
    }
  }

  #inRow(cell, step) {
    const rows = [...this.#grid.querySelectorAll("[role=row]")];
    const row = cell.closest("[role=row]");
    const column = [...row.children].indexOf(cell);
    const next = rows[rows.indexOf(row) + step];
    if (!next) return step < 0 ? null : undefined;
    return next.children[Math.min(column, next.children.length - 1)];
  }
}

function drawGroup({ title, entries }, columns) {
  const rows = [];
  for (let at = 0; at < entries.length; at += columns) {
    rows.push(h("div", { role: "row", class: "emoji-row" }, entries.slice(at, at + columns).map(drawCell)));
  }
  return [h("p", { class: "emoji-title small soft", role: "presentation" }, title), ...rows];
}

function drawCell({ emoji, name }) {
  const words = name.replaceAll("_", " ");
  return h(
    "button",
    {
      type: "button",
      role: "gridcell",
      class: "emoji-cell",
      tabindex: "-1",
      "data-emoji": emoji,
      "aria-label": words,
      title: `:${name}:`,
    },
    emoji,
  );
}

function findByEmoji(emoji) {
  for (const { entries } of GROUPS) {
    const found = entries.find((entry) => entry.emoji === emoji);
    if (found) return found;
  }
  return null;
}
