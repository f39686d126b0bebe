/** What stands in place of a room that one is not in: who took one out of it, or a way in. */

import { setText } from "./dom.js";
import { partingWords } from "./notes.js";
import { roomOf } from "./store.js";

const OPEN = "It is open to everybody here.";
const CLOSED =
  "There is no such room, or it is a private one: that opens when one of its people lets you in.";

export class Outside {
  #find;
  #on;
  #slug = null; // the room that one stands outside of
  #isOpen = null; // whether anybody may join it, once that is known

  /** @param {object} on  isPublic(slug): a Promise, join(slug): a Promise, changed() */
  constructor({ find, on }) {
    this.#find = find;
    this.#on = on;
    find("outside-join").addEventListener("click", () => this.#join());
  }

  show(state) {
    const isOutside = state.open !== null && state.synced && !roomOf(state, state.open);
    const slug = isOutside ? state.open : null;
    const parted = isOutside && state.parted?.event.room === slug ? state.parted : null;
    this.#find("outside").hidden = !isOutside;
    if (slug !== this.#slug) this.#enter(slug, parted);
    if (isOutside) this.#draw(slug, parted);
  }

  #enter(slug, parted) {
    this.#slug = slug;
    this.#isOpen = null;
    setText(this.#find("outside-error"), "");
    if (slug !== null && !isForGood(parted)) this.#ask(slug);
  }

  /** Where nobody can say, one may try. */
  async #ask(slug) {
    const isOpen = await this.#on.isPublic(slug).catch(() => true);
    if (slug !== this.#slug) return;
    this.#isOpen = isOpen;
    this.#on.changed();
  }

  #draw(slug, parted) {
    const find = this.#find;
    const hint = this.#isOpen ? OPEN : CLOSED;
    setText(find("outside-name"), parted?.name ?? slug);
    setText(find("outside-parting"), parted ? partingWords(parted.event) : "");
    find("outside-parting").hidden = !parted;
    setText(find("outside-hint"), this.#isOpen === null ? "" : hint);
    find("outside-hint").hidden = this.#isOpen === null || (Boolean(parted) && !this.#isOpen);
    find("outside-join").hidden = !this.#isOpen;
  }

  async #join() {
    const button = this.#find("outside-join");
    button.disabled = true;
    const error = await this.#on.join(this.#slug).catch((refusal) => refusal);
    setText(this.#find("outside-error"), error?.message ?? "");
    button.disabled = false;
  }
}

/** Who was banned, or taken out of a room that is not public, has no way back of their own. */
function isForGood(parted) {
  return Boolean(parted) && (parted.kind !== "public" || Boolean(parted.event.data.banned));
}
