/** The list of rooms, with what is unread, and the box that narrows it. */

import { h, icon, keyed, setAttribute } from "./dom.js";

const ICONS = { public: "hash", private: "lock", direct: "person" };
export const KINDS = {
  public: "Open to everybody here",
  private: "Private room",
  direct: "Between the two of you",
};

export class RoomList {
  #list;
  #filter;
  #on;
  #rooms = [];

  /** @param {object} on  open(slug) */
  constructor({ list, filter, on }) {
    this.#list = list;
    this.#filter = filter;
    this.#on = on;
    list.addEventListener("click", (event) => this.#clicked(event));
    filter.addEventListener("input", () => this.#narrow());
    filter.addEventListener("keydown", (event) => this.#keyed(event));
  }

  /** @param {Array} rooms  [{slug, name, kind, unread}] in order */
  show(rooms, open) {
    this.#rooms = rooms.map((room) => ({
      ...room,
      key: room.slug,
      isOpen: room.slug === open,
      stamp: [room.name, room.kind, room.unread, room.slug === open].join("|"),
    }));
    keyed(this.#list, this.#rooms, { make: () => h("li"), update: updateRoom });
    this.#narrow();
  }

  /** The room before or after the open one. */
  neighbour(step) {
    const at = this.#rooms.findIndex((room) => room.isOpen);
    return this.#rooms[at + step]?.slug ?? null;
  }

  #matches() {
    const wanted = this.#filter.value.trim().toLowerCase();
    return this.#rooms.filter(
      (room) => room.name.toLowerCase().includes(wanted) || room.slug.includes(wanted),
    );
  }

  #narrow() {
    const matching = new Set(this.#matches().map((room) => room.slug));
    for (const child of this.#list.children) child.hidden = !matching.has(child.dataset.key);
  }

  #keyed(event) {
    if (event.isComposing) return;
    if (event.key === "Escape" && this.#filter.value) {
      this.#filter.value = "";
      this.#narrow();
      event.preventDefault();
    }
    if (event.key !== "Enter") return;
    const [first] = this.#matches();
    if (!first) return;
    this.#filter.value = "";
    this.#on.open(first.slug);
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
  const link = element.firstElementChild ?? h("a", { class: "room-link" });
  link.href = `/rooms/${room.slug}/`;
  link.dataset.room = room.slug;
  link.dataset.unread = room.unread;
  setAttribute(link, "aria-current", room.isOpen ? "page" : null);
  link.replaceChildren(
    icon(ICONS[room.kind] ?? "hash"),
    h("bdi", { class: "room-link-name" }, room.name),
    ...(room.unread > 0 ? [badge(room.unread)] : []),
  );
  if (!link.isConnected) element.append(link);
}

function badge(count) {
  return h(
    "span",
    { class: "badge" },
    count > 99 ? "99+" : String(count),
    h("span", { class: "visually-hidden" }, " unread"),
  );
}
