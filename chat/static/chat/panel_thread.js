/** A thread: the message it hangs on, the answers below it, and a box for one more. */

import { h, setText } from "./dom.js";
import { MessageList } from "./messages.js";
import { withoutContent } from "./messagestate.js";
import { excerpt } from "./store.js";
import { timeline } from "./timeline.js";

/**
 * What the server answered, with what the room's log has come to know of it since: the log lets go of
 * its oldest events. What was taken away leaves this memory too.
 */
export function grown({ events, later = [], ...rest }, room, { thread = null } = {}) {
  const known = new Set([...events, ...later].map(({ id }) => id));
  const news = room.events.filter(({ id }) => !known.has(id));
  const all = [...events, ...news.filter(({ data }) => thread !== null && data.thread === thread)];
  const index = Object.fromEntries(all.map((event) => [event.id, event]));
  const done = news.filter(
    ({ type, data }) => type === "messages.expired" || Object.hasOwn(index, data.message ?? ""),
  );
  const emptied = (list) => done.reduce((now, event) => withoutContent(now, event, index), list);
  return { ...rest, events: emptied(all), later: emptied([...later, ...done]) };
}

export class ThreadPanel {
  title = "Thread";
  #desk;
  #slug = null;
  #root = null; // the id of the first message
  #answer = null;
  #turn = 0;
  composer = null; // the box of the thread, once one was open
  #messages;
  #status = h("p", { class: "soft small", role: "status" });
  #error = h("p", { class: "form-error", role: "alert" });
  #form = h("form", { id: "thread-composer" });

  constructor(desk) {
    this.#desk = desk;
    const list = h("ol", { class: "messages thread", "aria-label": "Messages of this thread", tabindex: "-1" });
    const scroller = h("div", { class: "thread-scroller" }, this.#error, list, this.#status);
    const jump = h("button", { type: "button", class: "jump", hidden: true }, h("span"));
    this.element = h("div", { class: "panel is-thread" }, h("div", { class: "scroll-frame" }, scroller, jump), this.#form);
    this.#messages = new MessageList({ scroller, list, jump, on: this.#hears() });
  }

  /** @param {object} options  {message}: the first message, or one of the answers under it */
  open(room, { message }) {
    this.#slug = room.slug;
    this.#root = message.thread ?? message.id;
    this.#answer = null;
    this.composer ??= this.#desk.makeComposer(this.#form);
    this.#messages.clear();
    setText(this.#status, "Looking…");
    this.show(room);
    this.refresh();
  }

  begin() {
    this.composer?.focus();
    if (!this.element.contains(document.activeElement)) document.getElementById("aside-title").focus();
  }

  close() {
    this.#turn += 1;
    this.#messages.clear();
  }

  async refresh() {
    const turn = ++this.#turn;
    setText(this.#error, "");
    try {
      const answer = await this.#desk.ask("thread", { room: this.#slug, message: this.#root });
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
    if (!room) return;
    const thread = this.#root;
    this.composer?.open({ ...this.#desk.placeOf(room), thread });
    if (!this.#answer) return;
    this.#answer = grown(this.#answer, room, { thread });
    const part = excerpt(room, this.#answer, { thread });
    const items = timeline(part, this.#desk.me, new Date(), { thread });
    const answers = items.filter((item) => item.id !== thread).length;
    this.#messages.show({ slug: `${room.slug} ${thread}`, items, unread: 0, hasOlder: false, isFilled: true });
    setText(this.#status, answersWords(answers, this.#answer.more));
  }

  #hears() {
    return {
      older() {},
      newer() {},
      newest() {},
      moved() {},
      marksOf: (item) => this.#desk.marksOf(item),
      toggled: () => this.show(this.#desk.room(this.#slug)),
      retry: (clientId) => this.#desk.retry(clientId),
      discard: (clientId) => this.#desk.discard(clientId),
      jump: ({ id, seq }) => (seq ? this.#desk.goTo(this.#slug, seq) : this.#desk.goToQuoted(id)),
      act: (name, item, extra, anchor) => this.#desk.act(name, item, extra, anchor, { isInThread: true }),
    };
  }
}

function answersWords(count, more) {
  if (count === 0) return "No answers yet.";
  const words = count === 1 ? "1 answer" : `${count} answers`;
  return more ? `The newest ${words}.` : `${words}.`;
}
