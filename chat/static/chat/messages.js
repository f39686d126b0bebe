/**
 * The list of messages: drawn from the timeline, and careful with the place the reader is at. It
 * follows new messages only at the end, and keeps the view still when older ones come in above.
 */

import { h, icon, keyed, setText } from "./dom.js";
import { messageFragment } from "./html.js";
import { seal } from "./seal.js";
import { clockTime, fullTime } from "./timeline.js";

const NEAR_END = 100;
const NEAR_START = 800;

export class MessageList {
  #scroller;
  #list;
  #jump;
  #on;
  #slug = null;
  #landed = false;
  #following = true;
  #expanded = new Set();
  #hasOlder = false;

  /** @param {object} on  older(), moved(), toggled(), retry(clientId), discard(clientId) */
  constructor({ scroller, list, jump, on }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#jump = jump;
    this.#on = on;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("keydown", (event) => this.#keyed(event));
    list.addEventListener("focusin", (event) => this.#focused(event));
    const observer = new ResizeObserver(() => this.#following && this.#landed && this.toEnd());
    observer.observe(scroller);
    observer.observe(list);
  }

  /** Whether somebody who looks at the page sees the newest message. */
  get showsEnd() {
    return this.#landed && this.#following && this.#scroller.clientHeight > 0;
  }

  show({ slug, items, unread, hasOlder, isFilled }) {
    if (slug !== this.#slug) this.#begin(slug);
    this.#hasOlder = hasOlder;
    const place = this.#following ? null : this.#placeOfReader();
    this.#draw(items);
    if (!this.#landed && isFilled) this.#land();
    else if (this.#following) this.toEnd();
    else this.#restore(place);
    this.#showJump(unread);
  }

  toEnd() {
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  clear() {
    this.#begin(null);
    this.#list.replaceChildren();
  }

  // --- Place --------------------------------------------------------------------------------------

  #begin(slug) {
    this.#slug = slug;
    this.#landed = false;
    this.#following = true;
    this.#expanded.clear();
    this.#list.replaceChildren();
  }

  /** The first look at a room: where the new messages begin, or at the end. */
  #land() {
    this.#landed = true;
    const news = this.#list.querySelector(".divider-new");
    this.toEnd();
    if (news) this.#scroller.scrollTop += this.#below(news) - this.#scroller.clientHeight / 5;
    this.#following = this.#isNearEnd();
  }

  /** How far an element is below the upper edge of what is seen. */
  #below(element) {
    return element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
  }

  #isNearEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  #scrolled() {
    if (!this.#landed || this.#scroller.clientHeight === 0) return;
    this.#following = this.#isNearEnd();
    if (this.#hasOlder && this.#scroller.scrollTop < NEAR_START) this.#on.older();
    this.#on.moved();
  }

  #placeOfReader() {
    for (const child of this.#list.children) {
      const row = child.querySelector(".message-row");
      const below = this.#below(row);
      if (below + row.offsetHeight > 0) return { child, below };
    }
    return null;
  }

  /** Lines above a row come and go, so the row itself is what stays where it was. */
  #restore(place) {
    if (!place?.child.isConnected) return;
    const row = place.child.querySelector(".message-row");
    this.#scroller.scrollTop += this.#below(row) - place.below;
  }

  #showJump(unread) {
    this.#jump.hidden = this.#following || !this.#landed;
    const label = unread > 0 ? `${unread > 99 ? "99+" : unread} new` : "Latest";
    setText(this.#jump.querySelector("span"), label);
    this.#jump.dataset.unread = unread;
  }

  // --- Drawing ------------------------------------------------------------------------------------

  #draw(items) {
    for (const item of items) {
      item.isExpanded = this.#expanded.has(item.key);
      item.stamp += item.isExpanded ? "|open" : "";
    }
    keyed(this.#list, items, { make: makeItem, update: updateItem });
    if (!this.#list.querySelector(":scope > [tabindex='0']") && this.#list.lastElementChild) {
      this.#list.lastElementChild.tabIndex = 0;
    }
  }

  #clicked(event) {
    const item = event.target.closest("li");
    const action = event.target.closest("[data-action]")?.dataset.action;
    if (action === "details") this.#toggle(item);
    if (action === "retry") this.#on.retry(item.dataset.clientId);
    if (action === "discard") this.#on.discard(item.dataset.clientId);
  }

  #toggle(item) {
    const { key } = item.dataset;
    if (!this.#expanded.delete(key)) this.#expanded.add(key);
    this.#on.toggled();
  }

  // --- Keyboard: one tab stop, arrows inside ------------------------------------------------------

  #keyed(event) {
    if (event.target.closest("li") !== event.target) return;
    const target = {
      ArrowUp: event.target.previousElementSibling,
      ArrowDown: event.target.nextElementSibling,
      Home: this.#list.firstElementChild,
      End: this.#list.lastElementChild,
    }[event.key];
    if (event.key === "Enter" || event.key === " ") this.#toggle(event.target);
    else if (target) target.focus();
    else return;
    event.preventDefault();
  }

  #focused(event) {
    const item = event.target.closest("li");
    for (const other of this.#list.querySelectorAll(":scope > [tabindex='0']")) {
      if (other !== item) other.tabIndex = -1;
    }
    item.tabIndex = 0;
  }
}

// --- One item --------------------------------------------------------------------------------------

function makeItem() {
  return h("li", { tabindex: "-1" });
}

function updateItem(element, item) {
  const hadFocus = element.contains(document.activeElement) && document.activeElement !== element;
  element.className = ["message", item.isHead && "is-head", !item.isMessage && "is-note"]
    .filter(Boolean)
    .join(" ");
  Object.assign(element.dataset, { state: item.state, own: item.isOwn, author: item.username });
  if (Number.isFinite(item.seq)) element.dataset.seq = item.seq;
  if (item.clientId) element.dataset.clientId = item.clientId;
  element.replaceChildren(
    ...[
      item.day && h("div", { class: "divider-day" }, h("span", {}, item.day)),
      item.isFirstNew && h("div", { class: "divider-new" }, h("span", {}, "New")),
      item.isMessage ? messageRow(item) : noteRow(item),
    ].filter(Boolean),
  );
  if (hadFocus) element.querySelector("button")?.focus();
}

function noteRow(item) {
  return h(
    "div",
    { class: "message-row note" },
    h("p", {}, h("bdi", {}, item.author), ` ${item.note}`, timeOf(item)),
  );
}

function messageRow(item) {
  return h(
    "div",
    { class: "message-row" },
    gutter(item),
    h(
      "div",
      { class: "message-main" },
      item.isHead ? head(item) : h("bdi", { class: "visually-hidden" }, item.author),
      bodyOf(item),
      stateOf(item),
      item.isExpanded && facts(item),
    ),
  );
}

function gutter(item) {
  return h(
    "button",
    {
      type: "button",
      class: "gutter",
      tabindex: "-1",
      "data-action": "details",
      "aria-expanded": String(item.isExpanded),
      "aria-label": `Details, ${clockTime(item.at)}`,
      title: "Who sent this, when, and with which certificate",
    },
    item.isHead ? seal(item.author, item.username) : h("span", { class: "stamp" }, clockTime(item.at)),
  );
}

function head(item) {
  return h("p", { class: "message-head" }, h("bdi", { class: "author" }, item.author), timeOf(item));
}

function timeOf(item) {
  const attributes = { datetime: item.at.toISOString(), title: fullTime(item.at) };
  return h("time", attributes, clockTime(item.at));
}

function bodyOf(item) {
  const body = h("div", { class: "message-body", dir: "auto" });
  if (item.html !== null) body.append(messageFragment(item.html));
  else body.append(h("p", { class: "plain" }, item.body));
  return body;
}

function stateOf(item) {
  if (item.state === "sending" || item.state === "waiting") {
    const words = item.state === "sending" ? "Sending…" : "Waiting to be sent";
    return h("p", { class: "message-state" }, icon("clock"), words, item.state === "waiting" && remove());
  }
  if (item.state !== "failed") return null;
  return h(
    "p",
    { class: "message-state is-failed", role: "alert" },
    icon("warning"),
    h("span", {}, `Not sent. ${item.error ?? ""}`),
    h("button", { type: "button", class: "link-button", "data-action": "retry" }, "Try again"),
    remove(),
  );
}

function remove() {
  return h("button", { type: "button", class: "link-button", "data-action": "discard" }, "Delete");
}

function facts(item) {
  const rows = [
    ["Sent by", h("span", {}, h("bdi", {}, item.author), item.username ? ` (${item.username})` : "")],
    ["Time", h("time", { datetime: item.at.toISOString() }, fullTime(item.at))],
    ["Certificate", item.serial ? serialOf(item) : "known once it is sent"],
    Number.isFinite(item.seq) && ["Number", `${item.seq} in this room`],
  ].filter(Boolean);
  return h(
    "dl",
    { class: "facts" },
    rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** A serial in groups of four, as people read it aloud. */
function serialOf({ serial }) {
  const spaced = serial.replace(/(.{4})(?=.)/g, "$1 ");
  return h("code", { class: "serial", "data-serial": serial }, spaced);
}
