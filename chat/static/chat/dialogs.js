/** The dialogs: make a room, be asked whether one is sure. Each sends, waits, and says what is wrong. */

import { setText } from "./dom.js";
import { PeopleField } from "./people_field.js";
import { nameOf } from "./store.js";
import { toast } from "./toast.js";

const SLUG = /^[a-z0-9][a-z0-9-]{0,63}$/;
const LONGEST_READABLE = 50;

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

/**
 * The request for the room of oneself and these people. Should there be one already, the server
 * answers with that; the tail keeps strangers with like names apart.
 */
export function directRoom(me, people, tail = randomTail()) {
  const usernames = people.map((person) => person.username);
  const everybody = [me.username, ...usernames].sort();
  const readable = slugFrom(["dm", ...everybody].join("-")).slice(0, LONGEST_READABLE);
  return {
    room: `${readable.replace(/-+$/, "")}-${tail}`,
    name: [...people, me].map(nameOf).join(", ").slice(0, 80),
    kind: "direct",
    members: usernames,
  };
}

function randomTail() {
  return [...crypto.getRandomValues(new Uint8Array(4))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** One `<dialog>` with a form, an error line and a way out. */
export class FormDialog {
  #dialog;
  #form;
  #error;
  #button;
  #turn = 0; // of being opened: an answer may come when another question is asked already

  /**
   * @param {Function} submit  (form, isAwaited) => Promise; a rejection's message is shown. Once
   *   it was given up, `isAwaited()` is false
   */
  constructor(dialog, submit) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    this.#error = dialog.querySelector("[role=alert]");
    this.#button = dialog.querySelector("[type=submit]");
    this.#form?.addEventListener("submit", (event) => this.#submit(event, submit));
    dialog.addEventListener("click", (event) => {
      const isBackdrop = event.target === dialog;
      if (isBackdrop || event.target.closest("[data-action=cancel]")) dialog.close();
    });
  }

  open() {
    this.#turn += 1;
    if (this.#button) this.#button.disabled = false;
    this.#form?.reset();
    this.#form?.dispatchEvent(new Event("reset"));
    this.#say("");
    this.#dialog.showModal();
  }

  async #submit(event, submit) {
    event.preventDefault();
    if (this.#button.disabled) return;
    this.#button.disabled = true;
    this.#say("");
    const turn = this.#turn;
    const isAwaited = () => turn === this.#turn && this.#dialog.open;
    const refusal = await submit(this.#form, isAwaited).then(() => null, (error) => error);
    if (turn === this.#turn) this.#button.disabled = false;
    if (isAwaited()) this.#settle(refusal);
    else if (refusal) toast(refusal.message, { isRefusal: true });
  }

  #settle(refusal) {
    if (refusal) this.#say(refusal.message);
    else this.#dialog.close();
  }

  #say(sentence) {
    if (!this.#error) return;
    this.#error.hidden = !sentence;
    setText(this.#error, sentence);
  }
}

/** Asks before what cannot be taken back, with a reason where one is wanted. */
export class Confirmation {
  #dialog;
  #form;
  #asking;
  #submit = null;

  constructor(dialog) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    this.#asking = new FormDialog(dialog, (form) => this.#submit(form.elements.reason.value.trim()));
  }

  /**
   * @param {object} question
   * @param {string} question.title
   * @param {string} question.words   what happens then
   * @param {string} question.verb    on the button that does it
   * @param {object} [question.reason]  {label, needed}; `needed` is what is said where there is none
   * @param {Function} question.submit  (reason) => Promise; what it refuses is shown here
   */
  ask({ title, words, verb, reason = null, stay = "Cancel", submit }) {
    this.#submit = async (said) => {
      if (reason?.needed && !said) {
        this.#form.elements.reason.focus();
        throw new Error(reason.needed);
      }
      await submit(said);
    };
    this.#asking.open();
    setText(this.#dialog.querySelector("h2"), title);
    setText(this.#dialog.querySelector(".dialog-words"), words);
    setText(this.#form.querySelector("[type=submit]"), verb);
    setText(this.#form.querySelector("[data-action=cancel]"), stay);
    const field = this.#form.querySelector(".field");
    field.hidden = !reason;
    setText(field.querySelector("label"), reason?.label ?? "");
    (reason ? this.#form.elements.reason : this.#form.querySelector("[data-action=cancel]")).focus();
  }
}

/** The form for a new room: its address follows its name until somebody writes one. */
export class CreateForm {
  /** @param {Function} o.askPeople  (query) => Promise of people */
  constructor(form, { me, askPeople }) {
    this.form = form;
    this.me = me;
    this.people = new PeopleField({
      root: form.querySelector(".people-field"),
      ask: askPeople,
      leaveOut: (person) => person.id === me.id,
    });
    form.elements.name.addEventListener("input", () => this.#follow());
    form.elements.room.addEventListener("input", () => (this.isOwnSlug = true));
    form.addEventListener("change", () => this.#kindChanged());
    form.addEventListener("reset", () => setTimeout(() => this.#reset()));
  }

  /** The fields of the request, or an Error that says what to change. */
  read() {
    const { name, room, kind, description } = this.form.elements;
    if (this.people.unfinished && kind.value !== "public") {
      throw new Error(`“${this.people.unfinished}” is nobody yet: choose somebody from the list.`);
    }
    if (kind.value === "direct") return this.#direct();
    const request = { room: room.value.trim(), name: name.value.trim(), kind: kind.value };
    if (!request.name) throw new Error("Give the room a name.");
    if (!isSlug(request.room)) {
      throw new Error("Write the address in small letters, digits and dashes, such as “summer-party”.");
    }
    if (description.value.trim()) request.description = description.value.trim();
    return kind.value === "public" ? request : { ...request, members: this.people.usernames };
  }

  #direct() {
    const { people } = this.people;
    if (people.length === 0) throw new Error("Name at least one person you want to talk to.");
    return directRoom(this.me, people);
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
    this.people.clear();
    this.#kindChanged();
  }
}
