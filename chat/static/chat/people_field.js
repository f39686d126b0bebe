/** A field for one or several people: typing finds them, and each that is named becomes a chip. */

import { Combobox, Latest } from "./combobox.js";
import { h, icon, setText } from "./dom.js";
import { seal } from "./seal.js";
import { nameOf } from "./store.js";

export class PeopleField {
  #input;
  #chips;
  #status;
  #ask;
  #on;
  #leaveOut;
  #chosen = [];
  #combobox;
  #latest = new Latest();

  /**
   * @param {object} o
   * @param {Element} o.root     holds the input, `.chips`, `[role=listbox]` and `.people-status`
   * @param {Function} o.ask     (query) => Promise of people
   * @param {Function} o.leaveOut  (person) => whether not to offer them
   * @param {object} [o.on]      changed(people)
   */
  constructor({ root, ask, leaveOut = () => false, on = {} }) {
    this.#input = root.querySelector("input");
    this.#chips = root.querySelector(".chips");
    this.#status = root.querySelector(".people-status");
    this.#ask = ask;
    this.#leaveOut = leaveOut;
    this.#on = on;
    this.#combobox = new Combobox({
      input: this.#input,
      list: root.querySelector(".finds"),
      draw: drawPerson,
      on: { picked: (person) => this.#add(person), typed: (text) => this.#typed(text) },
    });
    this.#combobox.show([]);
    this.#input.addEventListener("keydown", (event) => this.#keyed(event));
    this.#chips.addEventListener("click", (event) => this.#clicked(event));
  }

  get people() {
    return this.#chosen;
  }

  get usernames() {
    return this.#chosen.map((person) => person.username);
  }

  /** What stands in the box and is nobody yet. */
  get unfinished() {
    return this.#input.value.trim();
  }

  clear() {
    this.#chosen = [];
    this.#input.value = "";
    this.#latest.drop();
    this.#combobox.show([]);
    this.#say("");
    this.#draw();
  }

  #typed(text) {
    const query = text.trim().replace(/^@/, "");
    if (!query) {
      this.#latest.drop();
      this.#combobox.show([]);
      this.#say("");
      return;
    }
    const failed = (error) => this.#failed(error);
    this.#latest.run(() => this.#ask(query), (people) => this.#found(people), failed);
  }

  #found(people) {
    const offered = people.filter((person) => !this.#isChosen(person) && !this.#leaveOut(person));
    this.#combobox.show(offered.map((person) => ({ ...person, key: String(person.id) })));
    this.#keepInView();
    this.#say(foundWords(offered.length));
  }

  #failed(error) {
    this.#combobox.show([]);
    this.#say(error.message, { isRefusal: true });
  }

  #isChosen({ id }) {
    return this.#chosen.some((person) => person.id === id);
  }

  #add(person) {
    this.#chosen = [...this.#chosen, person];
    this.#input.value = "";
    this.#combobox.show([]);
    this.#say(`${nameOf(person)} added`);
    this.#draw();
    this.#on.changed?.(this.#chosen);
  }

  #remove(id) {
    this.#chosen = this.#chosen.filter((person) => String(person.id) !== id);
    this.#draw();
    this.#input.focus();
    this.#on.changed?.(this.#chosen);
  }

  #keyed(event) {
    if (event.isComposing) return;
    if (event.key === "Escape" && this.#combobox.isOpen) {
      this.#combobox.show([]);
      event.preventDefault();
      event.stopPropagation();
    }
    if (event.key === "Enter") event.preventDefault(); // it names people here, and sends no form
    if (event.key === "Backspace" && !this.#input.value && this.#chosen.length > 0) {
      this.#remove(String(this.#chosen.at(-1).id));
    }
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (button) this.#remove(button.dataset.person);
  }

  #draw() {
    this.#chips.replaceChildren(...this.#chosen.map(chip));
    this.#keepInView();
  }

  /** What is found can be seen, so it is said to screen readers alone. */
  #say(words, { isRefusal = false } = {}) {
    setText(this.#status, words);
    this.#status.classList.toggle("visually-hidden", !isRefusal);
    this.#status.classList.toggle("form-error", isRefusal);
  }

  /** The field grows as people are found and chosen, and what is below it may cover it. */
  #keepInView() {
    if (document.activeElement !== this.#input) return;
    this.#input.closest(".field")?.scrollIntoView({ block: "nearest" });
    this.#input.scrollIntoView({ block: "nearest" });
  }
}

/** The parts of a field for people, for a place that is built by script. */
export function peopleFieldParts({ id, label, help }) {
  return [
    h("label", { for: id }, label),
    h("ul", { class: "chips" }),
    h("input", { id, autocapitalize: "none", spellcheck: "false", "aria-describedby": `${id}-help` }),
    h("ul", { class: "finds", "aria-label": "People", hidden: true }),
    h("span", { class: "helptext", id: `${id}-help` }, help),
    h("span", { class: "people-status visually-hidden", role: "status" }),
  ];
}

function chip(person) {
  const name = nameOf(person);
  const words = { type: "button", "data-person": person.id, "aria-label": `Take ${name} off the list` };
  return h("li", { class: "chip" }, h("bdi", {}, name), h("button", words, icon("close")));
}

export function drawPerson(person) {
  return [
    seal(nameOf(person), person.username),
    h("span", { class: "find-words" }, h("bdi", {}, nameOf(person)), h("span", { class: "soft small" }, person.username)),
  ];
}

function foundWords(count) {
  if (count === 0) return "Nobody else is called so";
  return count === 1 ? "1 person found" : `${count} people found`;
}
