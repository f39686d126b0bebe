/**
 * What the word under the caret may become: a list above the box. Arrows walk, Tab or Enter takes,
 * Escape lets the word be. The box is a combobox only while the list is there.
 */

import { Latest } from "./combobox.js";
import { h, icon, setText } from "./dom.js";
import { completed, emojiFor, meant, wordAt } from "./mentions.js";
import { seal } from "./seal.js";
import { nameOf } from "./store.js";

const COMBOBOX =
  "role aria-expanded aria-controls aria-autocomplete aria-activedescendant".split(" ");

const NOBODY = { members: [], others: [] };

export class Suggestions {
  #box;
  #list;
  #status;
  #sources;
  #taken;
  #word = null;
  #choices = [];
  #at = 0;
  #known = NOBODY;
  #dismissed = null; // the start of the word that Escape let be
  #latest = new Latest(120);

  /**
   * @param {object} o
   * @param {HTMLTextAreaElement} o.box
   * @param {Element} o.list      a listbox
   * @param {Element} o.status    is read out
   * @param {object} o.sources    members() and people(query), each a Promise; me()
   * @param {Function} o.taken    after the box changed
   */
  constructor({ box, list, status, sources, taken }) {
    this.#box = box;
    this.#list = list;
    this.#status = status;
    this.#sources = sources;
    this.#taken = taken;
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
    list.addEventListener("click", (event) => this.#clicked(event));
    box.addEventListener("blur", () => this.close());
  }

  get isOpen() {
    return this.#choices.length > 0;
  }

  /** The text or the caret moved. */
  update() {
    const { value, selectionStart, selectionEnd } = this.#box;
    const word = selectionStart === selectionEnd ? wordAt(value, selectionStart) : null;
    if (word === null || word.start !== this.#dismissed) this.#dismissed = null;
    if (word === null || this.#dismissed !== null) this.close();
    else this.#look(word);
  }

  /** Whether the key was for the list. */
  keyed({ key, isComposing, shiftKey, ctrlKey, metaKey, altKey }) {
    if (!this.isOpen || isComposing || ctrlKey || metaKey || altKey) return false;
    const { length } = this.#choices;
    if (key === "ArrowDown") this.#go((this.#at + 1) % length);
    else if (key === "ArrowUp") this.#go((this.#at + length - 1) % length);
    else if ((key === "Enter" || key === "Tab") && !shiftKey) this.#take(this.#choices[this.#at]);
    else if (key === "Escape") this.#dismiss();
    else return false;
    return true;
  }

  close() {
    this.#latest.drop();
    this.#known = NOBODY;
    this.#show([]);
  }

  // --- What may be meant -----------------------------------------------------------------------------

  #look(word) {
    this.#word = word;
    if (word.sign === ":") {
      this.#latest.drop();
      this.#show(emojiFor(word.query));
      return;
    }
    this.#showPeople(word.query); // of those known so far: a key may take one before the answer comes
    this.#latest.run(
      () => Promise.all([this.#sources.members(), this.#sources.people(word.query)]),
      ([members, others]) => {
        this.#known = { members, others };
        this.#showPeople(word.query);
      },
    );
  }

  #showPeople(query) {
    this.#show(meant(query, { ...this.#known, me: this.#sources.me() }).map(choiceOf));
  }

  #dismiss() {
    this.#dismissed = this.#word.start;
    this.close();
  }

  #take(choice) {
    const { text, caret } = completed(this.#box.value, this.#word, choice.insert);
    this.#box.value = text;
    this.#box.setSelectionRange(caret, caret);
    this.close();
    this.#taken();
  }

  // --- The list --------------------------------------------------------------------------------------

  #show(choices) {
    const wasOpen = this.isOpen;
    const kept = this.#at > 0 ? this.#choices[this.#at]?.insert : null; // an arrow went there
    this.#choices = choices;
    this.#at = Math.max(0, choices.findIndex(({ insert }) => insert === kept));
    this.#list.hidden = !this.isOpen;
    this.#list.replaceChildren(...choices.map((choice, index) => this.#option(choice, index)));
    if (this.isOpen) this.#open(wasOpen);
    else if (wasOpen) this.#shut();
  }

  #open(wasOpen) {
    const words = ["combobox", "true", this.#list.id, "list"];
    words.forEach((value, at) => this.#box.setAttribute(COMBOBOX[at], value));
    const { length } = this.#choices;
    if (!wasOpen) setText(this.#status, length === 1 ? "1 suggestion" : `${length} suggestions`);
    this.#go(this.#at);
  }

  #shut() {
    for (const name of COMBOBOX) this.#box.removeAttribute(name);
    setText(this.#status, "");
  }

  #option(choice, index) {
    const id = `${this.#list.id}-${index}`;
    return h("li", { role: "option", id, class: "option", "data-index": index }, drawChoice(choice));
  }

  #go(index) {
    this.#at = index;
    const options = [...this.#list.children];
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
    this.#box.setAttribute("aria-activedescendant", options[index].id);
    options[index].scrollIntoView({ block: "nearest" });
  }

  #clicked(event) {
    const option = event.target.closest("[role=option]");
    if (option) this.#take(this.#choices[Number(option.dataset.index)]);
  }
}

function choiceOf(person) {
  return { ...person, insert: `@${person.username}` };
}

function drawChoice(choice) {
  if (choice.emoji) return [h("span", { class: "option-emoji" }, choice.emoji), `:${choice.name}:`];
  return [
    choice.isGroup ? icon("people") : seal(nameOf(choice), choice.username),
    h(
      "span",
      { class: "option-words" },
      h("bdi", {}, choice.isGroup ? `@${choice.username}` : nameOf(choice)),
      h("span", { class: "soft small" }, choice.isGroup ? choice.name : choice.username),
    ),
    choice.isOutside && h("span", { class: "option-outside small" }, "not in this room"),
  ];
}
