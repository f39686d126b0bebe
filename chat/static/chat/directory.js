/** The directory: public rooms with what they are for, to join or to open. */

import { Latest } from "./combobox.js";
import { slugFromAnything } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";

export class Directory {
  #dialog;
  #input;
  #list;
  #status;
  #error;
  #source;
  #on;
  #latest = new Latest(200);

  /**
   * @param {Function} source  (query) => Promise of public rooms
   * @param {object} on        open(slug), join(slug): a Promise
   */
  constructor({ dialog, source, on }) {
    this.#dialog = dialog;
    this.#input = dialog.querySelector("input");
    this.#list = dialog.querySelector(".directory-list");
    this.#status = dialog.querySelector("[role=status]");
    this.#error = dialog.querySelector("[role=alert]");
    this.#source = source;
    this.#on = on;
    this.#input.addEventListener("input", () => this.#typed());
    dialog.querySelector("form").addEventListener("submit", (event) => this.#submitted(event));
    dialog.addEventListener("click", (event) => this.#clicked(event));
  }

  open() {
    this.#input.value = "";
    this.#fail("");
    this.#list.replaceChildren();
    setText(this.#status, "");
    this.#dialog.showModal();
    this.#input.focus();
    this.#load();
  }

  #typed() {
    this.#latest.run(() => this.#load(), () => {});
  }

  async #load() {
    const query = this.#input.value.trim();
    if (isLink(query)) {
      this.#show([{ room: slugFromAnything(query), name: slugFromAnything(query), joined: false }]);
      return;
    }
    try {
      const rooms = await this.#source(query);
      if (query === this.#input.value.trim()) this.#show(rooms);
    } catch (error) {
      this.#fail(error.message);
    }
  }

  #show(rooms) {
    this.#fail("");
    this.#list.replaceChildren(...rooms.map(drawRoom));
    setText(this.#status, countWords(rooms.length));
  }

  #submitted(event) {
    event.preventDefault();
    const first = this.#list.querySelector("button");
    if (isLink(this.#input.value) && first) first.click();
    else this.#load();
  }

  async #clicked(event) {
    const isCancel = event.target.closest("[data-action=cancel]");
    if (event.target === this.#dialog || isCancel) this.#dialog.close();
    const button = event.target.closest("[data-room]");
    if (!button) return;
    button.disabled = true;
    try {
      if (button.dataset.joined === "true") this.#on.open(button.dataset.room);
      else await this.#on.join(button.dataset.room);
      this.#dialog.close();
    } catch (error) {
      this.#fail(error.message);
      button.disabled = false;
    }
  }

  #fail(sentence) {
    this.#error.hidden = !sentence;
    setText(this.#error, sentence);
  }
}

function isLink(text) {
  return /\/rooms\/[a-z0-9-]+/.test(text);
}

function drawRoom({ room, name, description, members, joined }) {
  const verb = joined ? "Open" : "Join";
  const words = { type: "button", class: "button", "data-room": room, "data-joined": String(joined) };
  return h(
    "li",
    { class: "directory-room" },
    icon("hash"),
    h(
      "div",
      { class: "directory-words" },
      h("h3", {}, h("bdi", {}, name)),
      description && h("p", { class: "soft small", dir: "auto" }, description),
      members !== undefined && h("p", { class: "soft small" }, peopleWords(members)),
    ),
    h("button", { ...words, "aria-label": `${verb} ${name}` }, verb),
  );
}

export function peopleWords(count) {
  return count === 1 ? "1 person" : `${count} people`;
}

function countWords(count) {
  if (count === 0) return "No public room is called so.";
  return count === 1 ? "1 room" : `${count} rooms`;
}
