/** The list of rooms, in sections, with what is unread. The page comes with it; this keeps it true. */

import { h, icon, keyed, setAttribute, setText } from "./dom.js";

const ICONS = { public: "hash", private: "lock", direct: "person" };
export const KINDS = {
  public: "Open to everybody here",
  private: "Private room",
  direct: "Between the two of you",
};
const PRESENCE = { active: "here now", away: "away", offline: "not here" };

/** Rooms, people and what is archived; chat/shell.py parts them the same way. */
export function sections(rooms) {
  const shown = rooms.filter((room) => !room.archived);
  return {
    rooms: shown.filter((room) => room.kind !== "direct"),
    people: shown.filter((room) => room.kind === "direct"),
    archived: rooms.filter((room) => room.archived),
  };
}

/** A conversation of several has more than one face. */
export function iconOf({ kind, others = [] }) {
  return kind === "direct" && others.length > 1 ? "people" : (ICONS[kind] ?? "hash");
}

/** What a room is, in one line below its name. */
export function kindWords({ kind, others = [], archived = false, description = "" }) {
  if (archived) return "Archived: nobody can write here any more";
  if (kind === "direct" && others.length > 1) return "Between the people in it";
  return description || KINDS[kind] || "";
}

export class RoomList {
  #root;
  #lists;
  #fold;
  #on;
  #shown = []; // in the order of the page, without what is archived
  #unfolded = null; // the archived room for which the fold was opened last

  /** @param {object} on  open(slug) */
  constructor({ root, on }) {
    this.#root = root;
    this.#on = on;
    this.#fold = root.querySelector("details");
    this.#lists = Object.fromEntries(
      [...root.querySelectorAll("[data-section]")].map((list) => [list.dataset.section, list]),
    );
    root.addEventListener("click", (event) => this.#clicked(event));
  }

  /**
   * @param {Array} rooms  [{slug, name, kind, others, unread, mentions, isBehind, muted, archived, presence}]
   *   in order. While a room is behind, its numbers are not known again yet: what shows stays.
   */
  show(rooms, open) {
    const parts = sections(rooms.map((room) => this.#line(room, open)));
    for (const [name, list] of Object.entries(this.#lists)) {
      keyed(list, parts[name], { make: () => h("li"), update: updateRoom });
      list.parentElement.hidden = parts[name].length === 0;
    }
    setText(this.#fold.querySelector(".list-count"), String(parts.archived.length));
    this.#shown = [...parts.rooms, ...parts.people];
    this.#unfold(parts.archived.find((room) => room.isOpen)?.slug ?? null);
  }

  /** The room before or after the open one; from outside the list, its first or last. */
  neighbour(step) {
    const at = this.#shown.findIndex((room) => room.isOpen);
    if (at < 0) return this.#shown.at(step > 0 ? 0 : -1)?.slug ?? null;
    return this.#shown[at + step]?.slug ?? null;
  }

  clear() {
    for (const list of Object.values(this.#lists)) list.replaceChildren();
  }

  /** An archived room that is opened shows in the list; whoever folds it away then is left alone. */
  #unfold(slug) {
    if (slug !== null && slug !== this.#unfolded) this.#fold.open = true;
    this.#unfolded = slug;
  }

  #line(room, open) {
    const line = { ...room, key: room.slug, isOpen: room.slug === open, ...this.#known(room) };
    const { name, unread, mentions, muted, archived, presence, isOpen } = line;
    line.stamp = [name, iconOf(line), unread, mentions, muted, archived, presence, isOpen].join("|");
    return line;
  }

  #known(room) {
    const link = room.isBehind && this.#root.querySelector(`a[data-room="${CSS.escape(room.slug)}"]`);
    if (!link) return {};
    const unread = Math.max(room.unread, Number(link.dataset.unread));
    return { unread, mentions: Math.max(room.mentions, Number(link.dataset.mentions)) };
  }

  #clicked(event) {
    const link = event.target.closest("a");
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link || event.button !== 0 || !isPlain) return;
    event.preventDefault();
    this.#on.open(link.closest("li").dataset.key);
  }
}

function updateRoom(element, room) {
  const link = element.querySelector("a") ?? h("a", { class: "room-link" });
  link.href = `/rooms/${room.slug}/`;
  Object.assign(link.dataset, { room: room.slug, unread: room.unread, mentions: room.mentions });
  link.classList.toggle("is-muted", Boolean(room.muted));
  setAttribute(link, "aria-current", room.isOpen ? "page" : null);
  link.replaceChildren(
    ...[
      h("span", { class: "room-link-icon" }, icon(iconOf(room)), dot(room.presence)),
      h("bdi", { class: "room-link-name" }, room.name),
      room.muted && said("muted", "bell-off"),
      room.mentions > 0 && badge(room.mentions, "for you", "is-mention"),
      room.unread > 0 && badge(room.unread, "unread"),
    ].filter(Boolean),
  );
  if (!link.isConnected) element.append(link);
}

/** Whether the other person is here: a shape and a word, never a colour alone. */
export function dot(presence) {
  if (!PRESENCE[presence]) return null;
  const words = h("span", { class: "visually-hidden" }, ` ${PRESENCE[presence]} `);
  return h("span", { class: "presence", "data-state": presence, title: PRESENCE[presence] }, words);
}

function said(word, picture) {
  return h(
    "span",
    { class: "room-link-mark", title: word },
    icon(picture),
    h("span", { class: "visually-hidden" }, ` ${word}`),
  );
}

function badge(count, words, kind = "") {
  const number = count > 99 ? "99+" : String(count);
  return h(
    "span",
    { class: `badge ${kind}`.trim() },
    kind ? `@${number}` : number,
    h("span", { class: "visually-hidden" }, ` ${words}`),
  );
}
