/** The switcher: one box that finds rooms, people and rooms one may join, and goes there. */

import { Combobox, Latest } from "./combobox.js";
import { h, icon, setText } from "./dom.js";
import { drawPerson } from "./people_field.js";
import { iconOf } from "./rooms.js";

const MOST = 12;

/** How well a name answers a query: 0 is best, Infinity not at all. */
export function rank(query, { name, slug = "" }) {
  const wanted = fold(query);
  const words = fold(name);
  if (words.startsWith(wanted)) return 0;
  if (words.split(/[\s._-]+/).some((word) => word.startsWith(wanted))) return 1;
  if (words.includes(wanted)) return 2;
  return slug.includes(wanted) ? 3 : Infinity;
}

/** The rooms that answer a query, best first; without one, those where something waits come first. */
export function ranked(query, rooms) {
  const found = rooms
    .map((room, at) => ({ room, at, rank: rank(query, room) }))
    .filter((entry) => entry.rank < Infinity);
  const waits = ({ room }) => (room.mentions > 0 ? 0 : room.unread > 0 ? 1 : 2);
  const order = query ? (a, b) => a.rank - b.rank : (a, b) => waits(a) - waits(b);
  return found.sort((a, b) => order(a, b) || a.at - b.at).map((entry) => entry.room);
}

function fold(text) {
  return text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().trim();
}

export class Switcher {
  #dialog;
  #input;
  #status;
  #combobox;
  #source;
  #on;
  #latest = new Latest();

  /**
   * @param {object} source  rooms() → own rooms, people(query) and publicRooms(query) → Promises,
   *   directWith(person) → the own room with them or undefined, me
   * @param {object} on      open(slug), direct(person), join(slug): Promises but for the first
   */
  constructor({ dialog, source, on }) {
    this.#dialog = dialog;
    this.#input = dialog.querySelector("input");
    this.#status = dialog.querySelector("[role=status]");
    this.#source = source;
    this.#on = on;
    this.#combobox = new Combobox({
      input: this.#input,
      list: dialog.querySelector(".finds"),
      draw: drawChoice,
      on: { picked: (choice) => this.#picked(choice), typed: (text) => this.#typed(text.trim()) },
    });
    dialog.addEventListener("click", (event) => {
      const isCancel = event.target.closest("[data-action=cancel]");
      if (event.target === dialog || isCancel) dialog.close();
    });
  }

  open() {
    this.#input.value = "";
    this.#say("");
    this.#dialog.showModal();
    this.#typed("");
    this.#input.focus();
  }

  #typed(query) {
    const own = this.#own(query);
    this.#show(own, query);
    if (query) this.#latest.run(() => this.#others(query), (others) => this.#show([...own, ...others], query));
    else this.#latest.drop();
  }

  #own(query) {
    return ranked(query, this.#source.rooms())
      .slice(0, MOST)
      .map((room) => ({ ...room, key: `room ${room.slug}`, does: "open" }));
  }

  async #others(query) {
    const none = () => [];
    const [people, rooms] = await Promise.all([
      this.#source.people(query).catch(none),
      this.#source.publicRooms(query).catch(none),
    ]);
    const strangers = people.filter(
      (person) => person.id !== this.#source.me.id && !this.#source.directWith(person),
    );
    return [
      ...strangers.map((person) => ({ ...person, key: `person ${person.id}`, does: "direct" })),
      ...rooms
        .filter((room) => !room.joined)
        .map((room) => ({ ...room, slug: room.room, kind: "public", key: `join ${room.room}`, does: "join" })),
    ];
  }

  #show(choices, query) {
    this.#combobox.show(choices);
    const isNothing = choices.length === 0 && query;
    this.#say(isNothing ? "Nothing found so far." : `${choices.length} found`, !isNothing);
  }

  #say(sentence, isQuiet = false) {
    this.#status.classList.toggle("visually-hidden", isQuiet);
    this.#status.classList.remove("form-error");
    setText(this.#status, sentence);
  }

  async #picked(choice) {
    try {
      if (choice.does === "open") this.#on.open(choice.slug);
      else if (choice.does === "direct") await this.#on.direct(choice);
      else await this.#on.join(choice.slug);
      this.#dialog.close();
    } catch (error) {
      this.#say(error.message);
      this.#status.classList.add("form-error");
    }
  }
}

const DOES = { open: "", direct: "Write", join: "Join" };

function drawChoice(choice) {
  if (choice.does === "direct") return [...drawPerson(choice), hint(DOES.direct)];
  return [
    icon(iconOf(choice)),
    h(
      "span",
      { class: "find-words" },
      h("bdi", {}, choice.name),
      choice.archived && h("span", { class: "soft small" }, "Archived"),
    ),
    choice.mentions > 0 && hint(`@${choice.mentions}`),
    choice.unread > 0 && hint(`${choice.unread} new`),
    DOES[choice.does] && hint(DOES[choice.does]),
  ];
}

function hint(words) {
  return h("span", { class: "find-hint" }, words);
}
