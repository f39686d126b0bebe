/**
 * A room's log as the list of items on screen: grouped by author and five minutes, parted by days,
 * with the line "New". Pure; the time zone is the browser's.
 */

import { isListed } from "./lines.js";
import { threadSummary, stateIn } from "./messagestate.js";
import { noteOf } from "./notes.js";
import { rightsOver } from "./rights.js";
import { shown } from "./roomlog.js";
import { nameOf } from "./store.js";

const GROUP_MS = 5 * 60 * 1000;
const QUOTED_LETTERS = 140;
const MARKUP = /```\w*|[*`~]+/g; // that would only be noise in a line of text
const LINE_MARKUP = /^[>#]+ /gm; // at the beginning of lines

/**
 * Items in order, the waiting messages last. Each has a `key` that stays the same from the local
 * echo to the stored event, and a `stamp` that changes with anything that shows.
 * Answers under a message are left out, unless the list is that of its `thread`.
 */
export function timeline(room, me, now, { thread = null } = {}) {
  const view = shown(room);
  const reader = { room, me, now, thread };
  const items = [
    ...view.events.filter((event) => isListed(event, thread)).map((event) => fromEvent(event, reader)),
    ...(room.window ? [] : room.waiting)
      .filter((entry) => (entry.thread ?? null) === thread)
      .map((entry) => fromEcho(entry, reader)),
  ].filter(Boolean);
  const first = view.events[0]?.seq ?? 1;
  return arranged(gathered(items), { room, now, thread, reaches: first <= (room.divider ?? 0) + 1 });
}

/** Days, groups and the line "New"; and the stamp of what came of all that. */
function arranged(items, { room, now, thread, reaches }) {
  let previous = null;
  let divided = room.divider === null || !reaches;
  const rights = [room.role, room.kind, room.archived, room.posting].join();
  for (const item of items) {
    item.day = previous === null || !isSameDay(previous.at, item.at) ? dayName(item.at, now) : "";
    item.isFirstNew = !divided && item.seq > room.divider && item.isMessage && !item.isOwn;
    divided ||= item.isFirstNew;
    const isFirstAnswer = thread !== null && previous?.id === thread;
    item.isHead = item.isMessage && (isFirstAnswer || !continues(previous, item));
    item.stamp = [
      ...[item.seq, item.state, item.error ?? "", item.isHead, item.isFirstNew, item.day],
      ...[item.author, item.note ?? "", numberOf(item.message), numberOf(item.quoted), rights],
    ].join("|");
    previous = item;
  }
  return items;
}

const numbers = new WeakMap(); // a state is never changed, so it can be known by a number
let issued = 0;

function numberOf(state) {
  if (!state) return 0;
  if (!numbers.has(state)) numbers.set(state, ++issued);
  return numbers.get(state);
}

// --- Items ----------------------------------------------------------------------------------------

function fromEvent(event, reader) {
  const { room, me } = reader;
  const isMessage = event.type === "message.posted";
  const note = isMessage ? null : noteOf(event, room.messages);
  if (!isMessage && note === null) return null;
  const isOwn = event.by.id === me?.id;
  const item = {
    key: isOwn && event.data.client_id ? `echo-${event.data.client_id}` : `event-${event.seq}`,
    id: event.id,
    seq: event.seq,
    room: room.slug,
    at: new Date(event.at),
    author: nameOf(event.by),
    username: event.by.username ?? "",
    authorId: event.by.id,
    serial: event.certificate?.serial ?? "",
    isOwn,
    isMessage,
    note: note?.words ?? null,
    about: note?.about ?? null,
    state: "sent",
  };
  return isMessage ? withMessage(item, stateIn(room.messages, event.id), reader) : item;
}

/** A message as it stands now. */
function withMessage(item, message, { room, me, now, thread }) {
  const { body, html, action, edited, deleted, expired, pinned, attachments } = message;
  const summary = thread === null ? threadSummary(message) : null;
  return {
    ...item,
    message,
    ...{ body, html, action, edited, deleted, expired, pinned, attachments },
    isGone: Boolean(deleted) || expired,
    reactions: message.reactions.map((reaction) => counted(reaction, me)),
    isForMe: !item.isOwn && (message.everyone || message.mentions.includes(me?.id)),
    reader: me?.id ?? null,
    ...quotation(message.replyTo, room),
    thread: summary && { count: summary.count, last: briefTime(new Date(summary.last), now) },
    rights: rightsOver(message, room, me, { inThread: thread !== null }),
  };
}

function fromEcho(entry, { room, me }) {
  return {
    key: `echo-${entry.clientId}`,
    clientId: entry.clientId,
    seq: Infinity,
    room: room.slug,
    at: new Date(entry.at),
    author: me ? nameOf(me) : "",
    username: me?.username ?? "",
    authorId: me?.id,
    serial: "",
    isOwn: true,
    isMessage: true,
    note: null,
    message: null,
    body: entry.body,
    html: null,
    isGone: false,
    reactions: [],
    attachments: entry.attachments ?? [],
    ...quotation(entry.reply_to ?? null, room),
    rights: new Set(),
    state: entry.state,
    error: entry.error ?? null,
  };
}

function counted({ emoji, users }, me) {
  const isMine = users.some((user) => user.id === me?.id);
  const names = users.map((user) => (user.id === me?.id ? "you" : nameOf(user)));
  return { emoji, count: users.length, names, isMine };
}

/** What an answer answers; of a message that is not known here, only that there is one. */
function quotation(id, room) {
  const quoted = id ? stateIn(room.messages, id) : undefined;
  if (!id) return { quote: null, quoted: null };
  if (!quoted) return { quote: { id, seq: null, author: "", words: "an earlier message" }, quoted: null };
  return { quote: { id, seq: quoted.seq, author: nameOf(quoted.author), words: wordsOf(quoted) }, quoted };
}

/** A message in a few words, without its markup. */
export function wordsOf(message) {
  if (message.deleted) return "a message that was deleted";
  if (message.expired) return "a message that has expired";
  const words = withoutMarkup(message.body).replace(/\s+/g, " ").trim().slice(0, QUOTED_LETTERS);
  return words || message.attachments.map((file) => file.name).join(", ");
}

/** @param {boolean} isWithin  whether the text is a piece from within a line */
export function withoutMarkup(text, { isWithin = false } = {}) {
  return (isWithin ? text : text.replace(LINE_MARKUP, "")).replace(MARKUP, "");
}

/** Messages that expired one after the other are one line. */
function gathered(items) {
  const kept = [];
  for (const item of items) {
    const isQuiet = item.expired && !item.thread;
    const run = isQuiet && kept.at(-1)?.expiredCount ? kept.pop() : null;
    kept.push(isQuiet ? expiredLine(item, (run?.expiredCount ?? 0) + 1) : item);
  }
  return kept;
}

function expiredLine(item, expiredCount) {
  const note = expiredCount === 1 ? "A message has expired" : `${expiredCount} messages have expired`;
  return { ...item, author: "", isMessage: false, message: null, quoted: null, note, expiredCount };
}

function continues(previous, item) {
  return (
    previous !== null &&
    previous.isMessage &&
    item.isMessage &&
    !item.day &&
    !item.isFirstNew &&
    !item.quote &&
    previous.authorId === item.authorId &&
    item.at - previous.at < GROUP_MS
  );
}

// --- Times ----------------------------------------------------------------------------------------

function isSameDay(a, b) {
  return (
    a.getDate() === b.getDate() &&
    a.getMonth() === b.getMonth() &&
    a.getFullYear() === b.getFullYear()
  );
}

function dayName(day, now) {
  if (isSameDay(day, now)) return "Today";
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (isSameDay(day, yesterday)) return "Yesterday";
  return (day.getFullYear() === now.getFullYear() ? dayOfYear : dayOfAnyYear).format(day);
}

function briefTime(at, now) {
  if (isSameDay(at, now)) return clockTime(at);
  return at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

const dayOnly = { weekday: "long", day: "numeric", month: "long" };
const dayOfYear = new Intl.DateTimeFormat("en-GB", dayOnly);
const dayOfAnyYear = new Intl.DateTimeFormat("en-GB", { ...dayOnly, year: "numeric" });
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export function clockTime(at) {
  return clock.format(at);
}

export function fullTime(at) {
  return whole.format(at);
}
