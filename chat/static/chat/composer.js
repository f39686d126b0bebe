/** The box one writes in: Enter sends, drafts are kept for each room, and it is never shut. */

import { setText } from "./dom.js";
import { byteLength } from "./protocol.js";

const TYPING_EVERY_MS = 3000;

/** On a touch keyboard Enter means a new line, and the button sends. */
const touch = matchMedia("(hover: none) and (pointer: coarse)");

export class Composer {
  #form;
  #box;
  #count;
  #storage;
  #prefix;
  #on;
  #room = null;
  #limit = Infinity;
  #typedAt = 0;

  /** @param {object} on  send(body), typing() */
  constructor({ form, box, count, storage, user, on }) {
    this.#form = form;
    this.#box = box;
    this.#count = count;
    this.#storage = storage;
    this.#prefix = `signet.draft.${user}.`;
    this.#on = on;
    form.addEventListener("submit", (event) => this.#submit(event));
    box.addEventListener("input", () => this.#changed());
    box.addEventListener("keydown", (event) => this.#keyed(event));
    box.enterKeyHint = touch.matches ? "enter" : "send";
  }

  open({ slug, name, limit }) {
    this.#limit = limit ?? Infinity;
    this.#box.placeholder = `Message ${name}`;
    setText(this.#form.querySelector("label"), `Message to ${name}`);
    if (slug === this.#room) return;
    this.#room = slug;
    this.#box.value = this.#storage.get(this.#prefix + slug) ?? "";
    this.#fit();
  }

  focus() {
    if (!touch.matches) this.#box.focus({ preventScroll: true });
  }

  #keyed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch.matches) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  #submit(event) {
    event.preventDefault();
    const body = this.#box.value.trim();
    if (!body || byteLength(body) > this.#limit) return;
    this.#box.value = "";
    this.#keep();
    this.#fit();
    this.#typedAt = 0;
    this.#box.focus({ preventScroll: true });
    this.#on.send(body);
  }

  #changed() {
    this.#keep();
    this.#fit();
    if (this.#box.value.trim() && Date.now() - this.#typedAt > TYPING_EVERY_MS) {
      this.#typedAt = Date.now();
      this.#on.typing();
    }
  }

  #keep() {
    const { value } = this.#box;
    if (value) this.#storage.set(this.#prefix + this.#room, value);
    else this.#storage.remove(this.#prefix + this.#room);
  }

  /** Grows with its text up to what the style sheet allows, and counts near the limit. */
  #fit() {
    this.#box.style.blockSize = "auto";
    this.#box.style.blockSize = `${this.#box.scrollHeight}px`;
    const left = this.#limit - byteLength(this.#box.value.trim());
    const isNear = left < this.#limit / 5;
    this.#count.hidden = !isNear;
    if (isNear) setText(this.#count, countWords(left));
    this.#form.classList.toggle("is-too-long", left < 0);
    this.#box.setAttribute("aria-invalid", String(left < 0));
  }
}

function countWords(left) {
  return left >= 0 ? `${left} left` : `${-left} too many: please shorten it or send it in parts`;
}
