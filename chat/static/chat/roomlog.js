/**
 * A room's log, and the part of it that is on screen. Pure: a room in, the next room out.
 *
 * `events` holds every event from `first` to `last` without a hole. An event is applied when its
 * number is last + 1, ignored when it is not above last, and held back otherwise until a sync has
 * filled the hole. Who reads far back sees a `window` instead: events from its own `first` to its
 * own `last`, until it reaches the log. Both are bounded by the lines that are seen of them, not by
 * events: a part that is too short on screen would be asked for again at once. History brings back
 * what was let go.
 */

import { lines } from "./lines.js";
import { fold, isAbout, pruned, stateIn, withAnswers, withoutContent } from "./messagestate.js";

/** Above this many missed events a room starts afresh at its newest, and history fills the past. */
export const LONGEST_CATCH_UP = 300;
const KEPT_LINES = 360;
const TRIM_TO = 320; // little at a time, so that nobody feels it
const BESIDE = 200; // of a window, as it becomes part of the log again
const MOST_EVENTS = 20_000; // where hardly any of them shows; nobody gets farther back from there
const UNSEEN_EVENTS = 720; // of a room that is not on screen
export const LEFT_BEHIND = 100; // of a room that is no longer on screen

/** An empty log that starts at what was read, or at the newest event where that is far behind. */
export function begin(room) {
  const last = room.head - room.read <= LONGEST_CATCH_UP ? room.read : room.head;
  const log = { last, first: last + 1, events: [], held: {}, more: last > 0, asked: false };
  return { ...room, ...log, messages: {}, window: null, seeking: false, target: null };
}

/** What is on screen of a room: its log, or the window that is open in its past. */
export function shown(room) {
  return room.window ?? room;
}

export function covers(room, seq) {
  const { first, last } = shown(room);
  return first <= seq && seq <= last;
}

// --- The rule of numbers ------------------------------------------------------------------------

/** @param {object} reader  {me, open, attending}: whose log this is and whether they look at it */
export function receive(room, events, reader) {
  let next = events.reduce((now, event) => take(now, event, reader), room);
  for (let held = next.held[next.last + 1]; held; held = next.held[next.last + 1]) {
    next = take(next, held, reader);
  }
  return next;
}

function take(room, event, reader) {
  if (event.seq <= room.last) return withoutEcho(room, event, reader.me);
  const head = Math.max(room.head, event.seq);
  if (event.seq > room.last + 1) {
    return { ...room, head, held: { ...room.held, [event.seq]: event } };
  }
  return apply({ ...room, head }, event, reader);
}

function apply(room, event, { me, open, attending }) {
  const { [event.by.id]: typed, ...typing } = room.typing;
  const mine = event.by.id === me?.id;
  const caughtUp = room.read === room.last;
  const next = { ...described(appended(withoutEcho(room, event, me), event), event, me), typing };
  const named = isMentioned(event, me);
  const isPost = event.type === "message.posted" && (!event.data.thread || named);
  const isQuiet = mine || !(isPost || isBroughtIn(event, me));
  if (!room.marked && (attending || (caughtUp && isQuiet))) {
    return { ...next, read: event.seq };
  }
  const counted = { ...next, mentions: next.mentions + (named ? 1 : 0) };
  if (!open) return withinBounds(counted);
  return caughtUp ? { ...counted, divider: room.read } : counted;
}

function appended(room, event) {
  const { [event.seq]: taken, ...held } = room.held;
  const { messages } = room;
  const { window } = room;
  return {
    ...room,
    held,
    last: event.seq,
    events: [...withoutContent(room.events, event, messages), event],
    window: window && { ...window, events: withoutContent(window.events, event, messages) },
    messages: fold(messages, [event]),
  };
}

function described(room, event, me) {
  const { user, role, ...changed } = event.data;
  if (event.type === "member.role" && user.id === me?.id) return { ...room, role };
  if (event.type !== "room.changed") return room;
  const { name, description, posting, slow_seconds: slowSeconds, archived } = changed;
  const known = { name, description, posting, slowSeconds, archived };
  const said = Object.entries(known).filter(([, value]) => value !== undefined);
  return { ...room, ...Object.fromEntries(said) };
}

export function isMentioned({ type, by, data }, me) {
  if (type !== "message.posted" || by.id === me?.id) return false;
  return Boolean(data.everyone) || (data.mentions ?? []).includes(me?.id);
}

/** Whether somebody else brought this person into the room with it. */
export function isBroughtIn({ type, by, data }, me) {
  return type === "member.joined" && data.user?.id === me?.id && by.id !== me?.id;
}

/** A stored event takes the place of its local echo. */
function withoutEcho(room, event, me) {
  const clientId = event.by.id === me?.id ? event.data.client_id : null;
  if (!clientId || !room.waiting.some((entry) => entry.clientId === clientId)) return room;
  return { ...room, waiting: room.waiting.filter((entry) => entry.clientId !== clientId) };
}

// --- Pages of the past -----------------------------------------------------------------------------

/**
 * The answer to `history`: joins what is on screen at its beginning or at its end, or is dropped.
 * Who is at the end of the log stays there, however long it becomes.
 */
export function withPage(room, { events, later = [], more }, { isAtEnd = false } = {}) {
  const view = shown(room);
  const older = events.filter((event) => event.seq < view.first);
  const newer = room.window ? events.filter((event) => event.seq > view.last) : [];
  if (newer.length > 0) {
    return newer[0].seq === view.last + 1 ? withNewer(learn(room, newer, later), newer) : room;
  }
  if (older.length > 0 && older.at(-1).seq !== view.first - 1) return room;
  const known = learn(room, older, later);
  const first = older[0]?.seq ?? view.first;
  const log = { events: [...calm(known, older), ...view.events], first, more: more && first > 1 };
  const next = { ...known, ...log, asked: true };
  if (!room.window) return isAtEnd ? next : split(next);
  return settled({ ...known, window: cut({ ...view, ...log }, "end") });
}

function withNewer(room, newer) {
  const events = [...room.window.events, ...calm(room, newer)];
  const window = cut({ ...room.window, events, last: newer.at(-1).seq }, "start");
  return joined({ ...room, window });
}

/** A message on screen is to be looked at; the same wish twice is two. */
export function aim(room, seq) {
  const turn = room.turns + 1;
  return { ...room, target: { seq, turn }, turns: turn };
}

/** A part of the log around a far message takes the place of the log on screen. */
export function openWindow(room, { events, later = [], more }) {
  const next = { ...room, seeking: false };
  if (events.length === 0) return next;
  const known = learn(next, events, later);
  const [first, last] = [events[0].seq, events.at(-1).seq];
  const window = { events: calm(known, events), first, last, more: more && first > 1 };
  return joined(settled({ ...known, window }));
}

export function closeWindow(room) {
  return room.window || room.seeking ? settled({ ...room, window: null, seeking: false }) : room;
}

/** Takes in messages that are not on screen, such as the ones that are quoted there. */
export function learn(room, events, later) {
  const ids = new Set(events.map((event) => event.id));
  const since = room.events.filter((event) => isAbout(event, ids));
  const deleted = new Set(
    room.events.filter(({ type }) => type === "message.deleted").map(({ data }) => data.message),
  );
  const isAnswer = ({ type }) => type === "message.posted";
  const all = [...events, ...later.filter((event) => !isAnswer(event)), ...since];
  const messages = fold(room.messages, all.sort((a, b) => a.seq - b.seq));
  const answers = later.filter((event) => isAnswer(event) && !deleted.has(event.id));
  return { ...room, messages: withAnswers(messages, answers) };
}

/** Events of a page, which may be older than what the log already says of them. */
function calm(room, events) {
  return room.events.reduce((now, event) => withoutContent(now, event, room.messages), events);
}

/** A window that has reached the log becomes part of it. */
function joined(room) {
  const { window } = room;
  if (window.last < room.first - 1) return settled(room);
  const past = newest(window.events, BESIDE).filter((event) => event.seq < room.first);
  const events = [...past, ...room.events];
  const first = events[0]?.seq ?? room.first;
  const more = first > window.first ? true : first === window.first ? window.more : room.more;
  return settled({ ...room, events, first, more, asked: true, window: null });
}

// --- Bounds ---------------------------------------------------------------------------------------

/** A log that has grown long backwards is read far back: that part becomes a window. */
function split(room) {
  const { events, first, more } = room;
  if (!isLong(events)) return room;
  const window = cut({ events, first, last: room.last, more }, "end");
  return keep({ ...room, window }, newest(events, BESIDE));
}

function cut(view, where) {
  if (!isLong(view.events)) return view;
  const events = where === "end" ? oldest(view.events, TRIM_TO) : newest(view.events, TRIM_TO);
  const [first, last] = [events[0].seq, events.at(-1).seq];
  return { ...view, events, first, last, more: view.more || first > view.first };
}

function isLong(events) {
  return events.length > KEPT_LINES && lines(events).length > KEPT_LINES;
}

/** The last events, as many as make so many lines. */
function newest(events, count) {
  const from = lines(events).at(-count)?.seq ?? 0;
  return events.filter(({ seq }) => seq >= from);
}

function oldest(events, count) {
  const end = lines(events)[count]?.seq ?? Infinity;
  return events.filter(({ seq }) => seq < end);
}

/** Whether no more can be asked for, because so much is here of which so little shows. */
export function isFull(room) {
  return shown(room).events.length >= MOST_EVENTS;
}

/** Lets go of the oldest part of the log on screen. */
export function trimmed(room) {
  const events = isLong(room.events) ? newest(room.events, TRIM_TO) : room.events;
  return keep(room, events.slice(-MOST_EVENTS));
}

/** Lets go of the oldest events of a log that is not on screen. */
export function trim(room, to) {
  return keep(room, room.events.slice(-to));
}

function keep(room, events) {
  if (events.length === room.events.length) return room;
  return settled({ ...room, events, first: events[0].seq, more: true });
}

function withinBounds(room) {
  return room.events.length > UNSEEN_EVENTS ? trim(room, UNSEEN_EVENTS / 2) : room;
}

/** Forgets the messages of which nothing is on screen or in the log. */
function settled(room) {
  const { first, last, events } = shown(room);
  const quoted = new Set(events.map((event) => event.data.reply_to));
  const messages = pruned(
    room.messages,
    ({ id, seq }) => seq >= room.first || (seq >= first && seq <= last) || quoted.has(id),
  );
  return { ...room, messages };
}

/** The messages that are quoted on screen and not known, nor asked for in vain. */
export function unknownQuotes(room) {
  const wanted = shown(room).events.map((event) => event.data.reply_to);
  return [...new Set(wanted)].filter(
    (id) => id && !stateIn(room.messages, id) && !room.unfound.includes(id),
  );
}
