/** The dialogs: make a room, join one, leave one, the keys. Each sends, waits, and says what is wrong. */

import { setText } from "./dom.js";

const SLUG = /^[a-z0-9][a-z0-9-]{0,63}$/;

/** "Été 2026!" → "ete-2026" */
function slugFrom(name) {
  return name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 64);
}

/** A pasted address, a slug or a name as people know it. */
export function slugFromAnything(text) {
  const path = /\/rooms\/([a-z0-9-]+)/.exec(text);
  return path ? path[1] : slugFrom(text);
}

function isSlug(text) {
  return SLUG.test(text);
}

/** One `<dialog>` with a form, an error line and a way out. */
export class FormDialog {
  #dialog;
  #form;
  #error;

  /** @param {Function} submit  (form) => Promise; a rejection's message is shown */
  constructor(dialog, submit) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    this.#error = dialog.querySelector("[role=alert]");
    this.#form?.addEventListener("submit", (event) => this.#submit(event, submit));
    dialog.addEventListener("click", (event) => {
      const isBackdrop = event.target === dialog;
      if (isBackdrop || event.target.closest("[data-action=cancel]")) dialog.close();
    });
  }

  open() {
    this.#form?.reset();
    this.#form?.dispatchEvent(new Event("reset"));
    this.#say("");
    this.#dialog.showModal();
  }

  async #submit(event, submit) {
    event.preventDefault();
    const button = this.#form.querySelector("[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    this.#say("");
    try {
      await submit(this.#form);
      this.#dialog.close();
    } catch (error) {
      this.#say(error.message);
    } finally {
      button.disabled = false;
    }
  }

  #say(sentence) {
    if (!this.#error) return;
    this.#error.hidden = !sentence;
    setText(this.#error, sentence);
  }
}

/** The form for a new room: its address follows its name until somebody writes one. */
export class CreateForm {
  constructor(form, { me }) {
    this.form = form;
    this.me = me;
    form.elements.name.addEventListener("input", () => this.#follow());
    form.elements.room.addEventListener("input", () => (this.isOwnSlug = true));
    form.addEventListener("change", () => this.#kindChanged());
    form.addEventListener("reset", () => setTimeout(() => this.#reset()));
  }

  /** The fields of the request, or an Error that says what to change. */
  read() {
    const { name, room, kind, members } = this.form.elements;
    const people = members.value.split(/[\s,]+/).filter(Boolean);
    const request = { room: room.value.trim(), name: name.value.trim(), kind: kind.value };
    if (kind.value === "direct") Object.assign(request, this.#direct(people));
    if (!request.name) throw new Error("Give the room a name.");
    if (!isSlug(request.room)) {
      throw new Error("Write the address in small letters, digits and dashes, such as “summer-party”.");
    }
    return kind.value === "public" ? request : { ...request, members: people };
  }

  #direct(people) {
    if (people.length !== 1) throw new Error("Name the one person you want to talk to.");
    const both = [this.me.username, people[0]].sort();
    return { room: slugFrom(["dm", ...both].join("-")), name: both.join(" and ") };
  }

  #follow() {
    if (!this.isOwnSlug) this.form.elements.room.value = slugFrom(this.form.elements.name.value);
  }

  #kindChanged() {
    const kind = this.form.elements.kind.value;
    for (const part of this.form.querySelectorAll("[data-kinds]")) {
      part.hidden = !part.dataset.kinds.split(" ").includes(kind);
    }
  }

  #reset() {
    this.isOwnSlug = false;
    this.#kindChanged();
  }
}
