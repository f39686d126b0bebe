/** A question below the box, before something is done: one button does it, the other goes back. */

import { h } from "./dom.js";

export class Question {
  #element;
  #closed;

  /** @param {Function} closed  after it was taken back */
  constructor({ element, closed }) {
    this.#element = element;
    this.#closed = closed;
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  ask({ words, verb, then }) {
    const back = () => this.close();
    this.#element.replaceChildren(
      h("p", {}, words),
      h("button", { type: "button", class: "button is-primary", on: { click: then } }, verb),
      h("button", { type: "button", class: "button", on: { click: back } }, "Back"),
    );
    this.#element.hidden = false;
    this.#element.querySelector("button").focus();
  }

  close() {
    if (!this.isOpen) return;
    this.#element.hidden = true;
    this.#element.replaceChildren();
    this.#closed();
  }
}
