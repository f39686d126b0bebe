/** A text box with choices below it: typing narrows them, arrows walk, Enter takes, Escape gives up. */

import { h, setAttribute } from "./dom.js";

let lists = 0;

export class Combobox {
  #input;
  #list;
  #draw;
  #on;
  #choices = [];
  #at = -1;
  #prefix = `choices-${++lists}`;

  /**
   * @param {object} o
   * @param {Function} o.draw  (choice) => the children of its line
   * @param {object} o.on      picked(choice), typed(text)
   */
  constructor({ input, list, draw, on }) {
    this.#input = input;
    this.#list = list;
    this.#draw = draw;
    this.#on = on;
    list.id ||= `${this.#prefix}-list`;
    list.setAttribute("role", "listbox");
    for (const [name, value] of Object.entries({
      role: "combobox",
      autocomplete: "off",
      "aria-autocomplete": "list",
      "aria-controls": list.id,
      "aria-expanded": "false",
    })) {
      input.setAttribute(name, value);
    }
    input.addEventListener("input", () => on.typed(input.value));
    input.addEventListener("keydown", (event) => this.#keyed(event));
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
    list.addEventListener("click", (event) => this.#clicked(event));
  }

  get isOpen() {
    return this.#choices.length > 0;
  }

  /** @param {Array} choices  each with a `key`; the first is the one that Enter takes */
  show(choices) {
    const kept = this.#choices[this.#at]?.key;
    this.#choices = choices;
    this.#list.replaceChildren(...choices.map((choice, index) => this.#option(choice, index)));
    this.#list.hidden = choices.length === 0;
    this.#input.setAttribute("aria-expanded", String(choices.length > 0));
    if (choices.length > 0) this.#list.scrollIntoView?.({ block: "nearest" });
    this.#go(Math.max(0, choices.findIndex((choice) => choice.key === kept)));
  }

  #option(choice, index) {
    const id = `${this.#prefix}-${index}`;
    return h("li", { role: "option", id, class: "find", "data-index": index }, this.#draw(choice));
  }

  #go(index) {
    this.#at = this.#choices.length > 0 ? index : -1;
    const options = [...this.#list.children];
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === this.#at)));
    setAttribute(this.#input, "aria-activedescendant", options[this.#at]?.id ?? null);
    options[this.#at]?.scrollIntoView?.({ block: "nearest" });
  }

  #keyed(event) {
    if (event.isComposing || !this.isOpen) return;
    const { length } = this.#choices;
    if (event.key === "ArrowDown") this.#go((this.#at + 1) % length);
    else if (event.key === "ArrowUp") this.#go((this.#at + length - 1) % length);
    else if (event.key === "Enter") this.#on.picked(this.#choices[this.#at]);
    else return;
    event.preventDefault();
  }

  #clicked(event) {
    const option = event.target.closest("[role=option]");
    if (option) this.#on.picked(this.#choices[Number(option.dataset.index)]);
  }
}

/** Calls the last of several wishes in quick succession, and drops answers that come too late. */
export class Latest {
  #turn = 0;
  #timer = null;
  #ms;

  constructor(ms = 150) {
    this.#ms = ms;
  }

  /**
   * @param {Function} ask  () => Promise
   * @param {Function} use  (answer), for the newest alone
   * @param {Function} [fail]  (error), likewise
   */
  run(ask, use, fail = () => {}) {
    const turn = ++this.#turn;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      const isNewest = () => turn === this.#turn;
      await ask().then((answer) => isNewest() && use(answer), (error) => isNewest() && fail(error));
    }, this.#ms);
  }

  drop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
  }
}
