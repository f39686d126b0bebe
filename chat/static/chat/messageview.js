/** One item of a list of messages, as elements. What can be pressed says so by `data-action`. */

import { h, icon } from "./dom.js";
import { filesOf } from "./filecards.js";
import { messageFragment } from "./html.js";
import { seal } from "./seal.js";
import { clockTime, fullTime } from "./timeline.js";

/** A list item of its own, for lists that are drawn once. */
export function messageElement(item) {
  const element = makeItem();
  updateItem(element, item);
  return element;
}

export function makeItem() {
  return h("li", { tabindex: "-1" });
}

export function updateItem(element, item) {
  const focused = element.contains(document.activeElement) && document.activeElement;
  element.className = classesOf(item);
  Object.assign(element.dataset, { state: item.state, own: item.isOwn, author: item.username });
  if (Number.isFinite(item.seq)) element.dataset.seq = item.seq;
  if (item.id) element.dataset.id = item.id;
  if (item.clientId) element.dataset.clientId = item.clientId;
  element.replaceChildren(
    ...[
      item.day && h("div", { class: "divider-day" }, h("span", {}, item.day)),
      item.isFirstNew && h("div", { class: "divider-new" }, h("span", {}, "New")),
      item.isMessage ? messageRow(item) : noteRow(item),
    ].filter(Boolean),
  );
  setTabbable(element, element.tabIndex === 0);
  if (focused && focused !== element) focusLike(element, focused);
}

/** Only the item that has the list's tab stop lets the focus into itself. */
export function setTabbable(element, value) {
  for (const inner of element.querySelectorAll("a, pre, .message-main button")) {
    inner.tabIndex = value ? 0 : -1;
  }
}

/** After a redraw the focus is where it was, or on the item. */
function focusLike(element, { dataset: { action, emoji } }) {
  const same = [...element.querySelectorAll("[data-action]")].find(
    (other) =>
      other.dataset.emoji === emoji &&
      (other.dataset.action === action || (emoji && /react$/.test(other.dataset.action))),
  );
  (same ?? element).focus({ preventScroll: true });
}

function classesOf(item) {
  return [
    "message",
    item.isHead && "is-head",
    !item.isMessage && "is-note",
    item.isForMe && "is-for-me",
    item.pinned && "is-pinned",
    item.action && "is-action",
    item.isGone && item.isMessage && "is-gone",
  ]
    .filter(Boolean)
    .join(" ");
}

function noteRow(item) {
  return h(
    "div",
    { class: "message-row note" },
    h(
      "p",
      {},
      item.author && h("bdi", {}, item.author),
      h("span", {}, item.note),
      item.about && button("link-button", "jump", "Show", { "data-seq": item.about.seq }),
      timeOf(item),
    ),
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
      item.quote && quoteOf(item.quote),
      !item.action && (item.isHead ? head(item) : h("bdi", { class: "visually-hidden" }, item.author)),
      warnings(item),
      item.isGone ? tombstone(item) : bodyOf(item),
      item.attachments.length > 0 && filesOf(item.attachments, item.room),
      item.reactions.length > 0 && reactionsOf(item),
      item.thread && threadOf(item.thread),
      stateOf(item),
      item.isExpanded && facts(item),
    ),
    item.message && more(),
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
      "aria-expanded": String(Boolean(item.isExpanded)),
      "aria-label": `Details, ${clockTime(item.at)}`,
      title: "Who sent this, when, and with which certificate",
    },
    item.isHead ? seal(item.author, item.username) : h("span", { class: "stamp" }, clockTime(item.at)),
  );
}

function head(item) {
  return h(
    "p",
    { class: "message-head" },
    h("bdi", { class: "author", "data-user": item.authorId }, item.author),
    timeOf(item),
    item.pinned && h("span", { class: "marker" }, icon("pin"), "Pinned"),
  );
}

/** Why to look twice at who wrote this; pressed, it shows the certificate. */
function warnings({ marks = [] }) {
  if (marks.length === 0) return null;
  const buttons = marks.map(({ kind, label, title }) =>
    h("button", { type: "button", class: "mark", "data-action": "certificate", "data-kind": kind, title }, icon("warning"), label),
  );
  return h("p", { class: "marks" }, buttons);
}

function timeOf(item) {
  const attributes = { datetime: item.at.toISOString(), title: fullTime(item.at) };
  return h("time", attributes, clockTime(item.at));
}

function button(className, action, label, attributes = {}) {
  return h("button", { type: "button", class: className, "data-action": action, ...attributes }, label);
}

/** What this answers; pressed, it leads there. */
function quoteOf({ id, seq, author, words }) {
  return h(
    "button",
    { type: "button", class: "quote", "data-action": "jump", "data-id": id, "data-seq": seq },
    icon("reply"),
    h("span", { class: "visually-hidden" }, "In answer to "),
    author && h("bdi", { class: "quote-author" }, author),
    h("span", { class: "quote-words", dir: "auto" }, words),
  );
}

function bodyOf(item) {
  const body = h("div", { class: "message-body", dir: "auto" });
  if (item.html !== null) body.append(messageFragment(item.html));
  else if (item.body) body.append(h("p", { class: "plain" }, item.body));
  for (const mention of body.querySelectorAll(".mention")) {
    const { user } = mention.dataset;
    if (!user || Number(user) === item.reader) mention.classList.add("is-me");
  }
  const marks = marksOf(item);
  const last = body.lastElementChild?.tagName === "P" ? body.lastElementChild : body;
  if (marks.length > 0) last.append(" ", ...marks);
  if (item.action) firstLine(body).prepend(h("bdi", { class: "author" }, item.author), " ");
  return body;
}

function marksOf(item) {
  const title = item.edited && `Edited ${fullTime(new Date(item.edited))}`;
  return [
    item.edited && button("marker is-edited", "history", "edited", { title }),
    item.isHead && item.action && timeOf(item),
    item.pinned && (!item.isHead || item.action) && h("span", { class: "marker" }, icon("pin"), "Pinned"),
  ].filter(Boolean);
}

function firstLine(body) {
  return body.firstElementChild?.tagName === "P" ? body.firstElementChild : body;
}

function tombstone({ deleted, authorId }) {
  return h("p", { class: "tombstone" }, icon("trash"), h("span", {}, goneWords(deleted, authorId)));
}

function goneWords(deleted, authorId) {
  if (!deleted) return "This message has expired.";
  if (!deleted.by) return "This message was deleted.";
  if (deleted.by.id === authorId) return "Deleted by its author.";
  return `Removed by a moderator${deleted.reason ? `: ${deleted.reason}` : "."}`;
}

// --- What others did with it ---------------------------------------------------------------------

function reactionsOf(item) {
  const isOpen = item.rights.has("react");
  return h(
    "div",
    { class: "reactions", role: "group", "aria-label": "Reactions" },
    item.reactions.map((reaction) => reactionButton(reaction, isOpen)),
    isOpen && h(
      "button",
      { type: "button", class: "reaction is-more", "data-action": "react", "aria-label": "Add a reaction" },
      icon("smile"),
    ),
  );
}

function reactionButton({ emoji, count, names, isMine }, isOpen) {
  const who = names.length > 2 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join(" and ");
  return h(
    "button",
    {
      type: "button",
      class: "reaction",
      "data-action": isMine ? "unreact" : "react",
      "data-emoji": emoji,
      "aria-pressed": String(isMine),
      "aria-label": `${emoji}, ${count}: ${who}`,
      title: who,
      disabled: !isOpen,
    },
    h("span", { class: "emoji" }, emoji),
    h("span", { class: "count" }, String(count)),
  );
}

function threadOf({ count, last }) {
  const words = `${count} ${count === 1 ? "answer" : "answers"}`;
  return h(
    "button",
    { type: "button", class: "thread-line", "data-action": "thread" },
    icon("thread"),
    h("b", {}, words),
    h("span", {}, `last ${last}`),
  );
}

/** On a touch screen there is no hovering, so each message has a button for what can be done with it. */
function more() {
  return h(
    "button",
    {
      type: "button",
      class: "more",
      "data-action": "menu",
      "aria-haspopup": "menu",
      "aria-label": "What to do with this message",
    },
    icon("more"),
  );
}

// --- How it stands ---------------------------------------------------------------------------------

const ON_THE_WAY = {
  waiting: "Waiting to be sent",
  uploading: "Its files are being uploaded",
  sending: "Sending…",
};

function stateOf(item) {
  const words = ON_THE_WAY[item.state];
  if (words) {
    return h("p", { class: "message-state" }, icon("clock"), words, item.state !== "sending" && remove());
  }
  if (item.state !== "failed") return null;
  return h(
    "p",
    { class: "message-state is-failed", role: "alert" },
    h("span", {}, icon("warning"), ` Not sent. ${item.error ?? ""}`),
    button("link-button", "retry", "Try again"),
    button("link-button", "rewrite", "Edit"),
    remove(),
  );
}

function remove() {
  return button("link-button", "discard", "Delete");
}

function facts(item) {
  const { edited } = item;
  const rows = [
    ["Sent by", h("span", {}, h("bdi", {}, item.author), item.username ? ` (${item.username})` : "")],
    ["Time", h("time", { datetime: item.at.toISOString() }, fullTime(item.at))],
    edited && ["Edited", h("time", { datetime: edited }, fullTime(new Date(edited)))],
    ["Certificate", item.serial ? serialOf(item) : "known once it is sent"],
    Number.isFinite(item.seq) && ["Number", `${item.seq} in this room`],
  ].filter(Boolean);
  return h(
    "dl",
    { class: "facts" },
    rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** A serial in groups of four, as people read it aloud; pressed, it shows its certificate. */
function serialOf({ serial }) {
  const spaced = serial.replace(/(.{4})(?=.)/g, "$1 ");
  return h(
    "button",
    { type: "button", class: "serial-button", "data-action": "certificate" },
    h("code", { class: "serial", "data-serial": serial }, spaced),
  );
}
