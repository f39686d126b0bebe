/** The messages that are pinned in a room, each with the way to its place. */

import { h, icon, keyed, setText } from "./dom.js";
import { makeItem, setTabbable, updateItem } from "./messageview.js";
import { grown } from "./panel_thread.js";
import { excerpt, messageOf, nameOf } from "./store.js";
import { timeline } from "./timeline.js";

export class PinsPanel {
  title = "Pinned";
  #desk;
  #slug = null;
  #answer = null;
  #turn = 0;
  #asked = 0; // the newest event of the room by then
  #status = h("p", { class: "soft small", role: "status" });
  #error = h("p", { class: "form-error", role: "alert" });
  #items = new Map();
  #list = h("ol", { class: "messages pins", "aria-label": "Pinned messages" });

  constructor(desk) {
    this.#desk = desk;
    this.element = h("div", { class: "panel" }, this.#status, this.#error, this.#list);
    this.#list.addEventListener("click", (event) => this.#clicked(event));
  }

  open(room) {
    this.#slug = room.slug;
    this.#answer = null;
    this.#list.replaceChildren();
    setText(this.#status, "Looking…");
    this.refresh();
  }

  async refresh() {
    const turn = ++this.#turn;
    this.#asked = this.#desk.room(this.#slug)?.last ?? 0;
    setText(this.#error, "");
    try {
      const answer = await this.#desk.ask("pins", { room: this.#slug });
      if (turn !== this.#turn) return;
      this.#answer = answer;
      this.show(this.#desk.room(this.#slug));
    } catch (refusal) {
      if (turn !== this.#turn) return;
      setText(this.#status, "");
      setText(this.#error, refusal.message);
    }
  }

  show(room) {
    if (!this.#answer || !room) return;
    if (room.events.some(({ type, seq }) => type === "message.pinned" && seq > this.#asked)) this.refresh();
    this.#answer = grown(this.#answer, room);
    const part = excerpt(room, this.#answer);
    const pinned = timeline(part, this.#desk.me, new Date(), { thread: null })
      .filter((item) => messageOf(part, item.id)?.pinned)
      .map((item) => ({ ...item, isHead: true, day: "", isFirstNew: false }))
      .reverse();
    this.#items = new Map(pinned.map((item) => [item.key, item]));
    keyed(this.#list, pinned, {
      make: makeItem,
      update(element, item) {
        updateItem(element, item);
        setTabbable(element, true); // no arrows lead into this list
        element.append(footOf(item));
      },
    });
    setText(this.#status, countWords(pinned.length));
  }

  #clicked(event) {
    const button = event.target.closest("[data-action]");
    const item = this.#items.get(event.target.closest("li[data-key]")?.dataset.key);
    if (!button || !item) return;
    const { action, emoji, seq } = button.dataset;
    if (action === "jump") this.#desk.goTo(this.#slug, Number(seq || item.seq));
    else this.#desk.act(action, item, emoji, button);
  }
}

function footOf({ seq, pinned, rights }) {
  return h(
    "p",
    { class: "pin-foot soft small" },
    icon("pin"),
    pinned.by ? `Pinned by ${nameOf(pinned.by)}` : "Pinned",
    h(
      "span",
      {},
      button("jump", "Show in the room", { "data-seq": seq }),
      rights.has("unpin") && button("unpin", "Unpin"),
    ),
  );
}

function button(action, words, data = {}) {
  return h("button", { type: "button", class: "link-button", "data-action": action, ...data }, words);
}

function countWords(count) {
  if (count === 0) return "Nothing is pinned in this room.";
  return count === 1 ? "1 message." : `${count} messages.`;
}
