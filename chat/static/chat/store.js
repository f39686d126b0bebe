/**
 * What the client knows, as a pure reducer: an action in, the next state out. No socket, no page,
 * no clock: times arrive inside the actions.
 * What becomes of a room's log is in roomlog.js, of its messages in messagestate.js.
 */

import { stateIn, threadSummary } from "./messagestate.js";
import * as log from "./roomlog.js";
import { discovered, named, welcome } from "./roomstate.js";
import { unread } from "./unread.js";

export { lines } from "./lines.js";
export { LONGEST_CATCH_UP, covers, isBroughtIn, isFull, shown, unknownQuotes } from "./roomlog.js";
export { badgeOf, isFarBehind, unread, unreadInAll, unreadOf } from "./unread.js";
export const TYPING_MS = 6000;

export function initial() {
  return {
    me: null,
    certificate: null,
    limits: null,
    epoch: null,
    synced: false, // whether a `ready` has come
    rooms: {},
    open: null, // slug of the room on screen
    attending: false, // whether its newest message is in view of somebody
    parted: null, // of the last room that was lost while this page was there: {name, kind, event}
  };
}

export function reduce(state, action) {
  return REDUCERS[action.type]?.(state, action) ?? state;
}

const REDUCERS = {
  ready(state, { ready, forget = false }) {
    const afresh = forget || state.epoch !== ready.epoch;
    const rooms = Object.fromEntries(
      ready.rooms.map((given) => [
        given.room,
        welcome(roomOf(state, given.room), given, { afresh, me: ready.user }),
      ]),
    );
    const { user: me, certificate, limits, epoch } = ready;
    const known = { me, certificate, limits, epoch, synced: true };
    return mark({ ...state, ...known, rooms, attending: false });
  },

  event(state, { event }) {
    const room = roomOf(state, event.room);
    if (concernsMe(state, event) && event.type === "member.left") {
      if (!room || event.seq <= room.last) return state;
      const { name, kind } = room;
      return { ...without(state, event.room), parted: { name, kind, event } };
    }
    if (!room && !concernsMe(state, event)) return state;
    if (!room) return reduce(withRoom(state, discovered(event, state.me)), { type: "event", event });
    return withRoom(state, log.receive(room, [event], context(state, room)));
  },

  /** The answer to `sync`; a room that is ours no more answers with an error. */
  sync(state, { rooms }) {
    return Object.entries(rooms).reduce((next, [slug, answer]) => {
      const room = roomOf(next, slug);
      if (!room) return next;
      if (answer.error) return without(next, slug);
      const moved = log.receive(room, answer.events, context(next, room));
      return withRoom(next, { ...moved, head: Math.max(moved.head, answer.head ?? 0) });
    }, state);
  },

  /** The answer to `history`: events that end right below what is on screen, or begin after it. */
  history(state, { room: slug, ...page }) {
    const room = roomOf(state, slug);
    const isAtEnd = state.open === slug && state.attending;
    return room ? withRoom(state, log.withPage(room, page, { isAtEnd })) : state;
  },

  /** Looks for a far part of the log; until it comes nothing of the room counts as shown. */
  seeking(state, { room: slug, value }) {
    const room = roomOf(state, slug);
    return room && room.seeking !== value ? withRoom(state, { ...room, seeking: value }) : state;
  },

  /** The part of the log around a far message; `target` is the number to be looked at, if any. */
  "window.opened"(state, { room: slug, target = null, ...page }) {
    const room = roomOf(state, slug);
    if (!room) return state;
    const opened = log.openWindow(room, page);
    return withRoom(state, target === null ? opened : log.aim(opened, target));
  },

  /** Back to the newest. */
  "window.closed"(state, { room: slug }) {
    const room = roomOf(state, slug);
    return room ? withRoom(state, log.closeWindow(room)) : state;
  },

  /** A message on screen to be looked at. */
  targeted(state, { room: slug, seq }) {
    const room = roomOf(state, slug);
    return room ? withRoom(state, log.aim(room, seq)) : state;
  },

  /** Messages that are quoted and were not known; `wanted` was looked for in vain where it is missing. */
  learned(state, { room: slug, wanted, events, later = [] }) {
    const room = roomOf(state, slug);
    if (!room) return state;
    const next = log.learn(room, events, later);
    if (stateIn(next.messages, wanted)) return withRoom(state, next);
    return withRoom(state, { ...next, unfound: [...next.unfound, wanted] });
  },

  heads(state, { rooms }) {
    return Object.entries(rooms).reduce((next, [slug, head]) => {
      const room = roomOf(next, slug);
      return room && head > room.head ? withRoom(next, { ...room, head }) : next;
    }, state);
  },

  read(state, { room: slug, seq }) {
    const room = roomOf(state, slug);
    if (!room || seq <= room.read) return state;
    const mentions = seq >= room.last ? 0 : room.mentions;
    return withRoom(state, { ...room, read: seq, mentions, marked: false });
  },

  /** From this message on all is unread again; here only, and until the room is opened anew. */
  unread(state, { room: slug, seq }) {
    const room = roomOf(state, slug);
    if (!room || seq > room.last) return state;
    return withRoom(state, { ...room, read: seq - 1, divider: seq - 1, marked: true });
  },

  typing(state, { room: slug, user, at }) {
    const room = roomOf(state, slug);
    if (!room || user.id === state.me?.id) return state;
    const typing = { ...room.typing, [user.id]: { name: nameOf(user), until: at + TYPING_MS } };
    return withRoom(state, { ...room, typing });
  },

  "typing.expired"(state, { at }) {
    return everyRoom(state, (room) => {
      const left = Object.entries(room.typing).filter(([, entry]) => entry.until > at);
      if (left.length === Object.keys(room.typing).length) return room;
      return { ...room, typing: Object.fromEntries(left) };
    });
  },

  /** A room that this person is in from now on; an event may have said so already. */
  "room.added"(state, { room: given }) {
    const room = roomOf(state, given.room);
    if (room) return withRoom(state, named(room, given));
    return withRoom(state, welcome(null, given, { afresh: true, me: state.me }));
  },

  "room.removed"(state, { room }) {
    return without(state, room);
  },

  opened(state, { room: slug }) {
    const isOther = state.open !== slug;
    const closed = isOther && state.open !== null ? leave(state, state.open) : state;
    const entered = isOther ? enter(closed, slug) : closed;
    return mark({ ...entered, open: slug, attending: false });
  },

  /** Whether a person is looking at the newest message of the open room. */
  attending(state, { value }) {
    const room = roomOf(state, state.open);
    const next = { ...state, attending: value && !room?.window };
    if (!room) return next;
    const isRead = next.attending && !room.marked && room.read < room.last;
    return isRead ? withRoom(next, { ...room, read: room.last, mentions: 0 }) : next;
  },

  /** Nobody looks any more: what comes now is new from here on. */
  away(state) {
    const next = { ...state, attending: false };
    const room = roomOf(next, next.open);
    return room && unread(next, room) === 0 ? settle(next, next.open) : next;
  },

  "echo.added"(state, { entry }) {
    const room = roomOf(state, entry.room);
    if (!room || room.waiting.some((other) => other.clientId === entry.clientId)) return state;
    if (isStored(room, state.me, entry.clientId)) return state;
    const waiting = [...room.waiting, entry];
    if (entry.adopted || entry.thread) return withRoom(state, { ...room, waiting });
    return withRoom(state, { ...log.closeWindow(room), waiting, divider: null, marked: false });
  },

  "echo.changed"(state, { entry }) {
    const room = roomOf(state, entry.room);
    if (!room) return state;
    const waiting = room.waiting.map((other) =>
      other.clientId === entry.clientId ? { ...other, ...entry } : other,
    );
    return withRoom(state, { ...room, waiting });
  },

  "echo.dropped"(state, { room: slug, clientId }) {
    const room = roomOf(state, slug);
    if (!room) return state;
    const waiting = room.waiting.filter((other) => other.clientId !== clientId);
    return withRoom(state, { ...room, waiting });
  },

  /** Lets go of the oldest events of a long log; history brings them back. */
  trimmed(state, { room: slug }) {
    const room = roomOf(state, slug);
    return room ? withRoom(state, log.trimmed(room)) : state;
  },
};

// --- Rooms -----------------------------------------------------------------------------------

/** A room that is opened again: what was marked as unread may now be read. */
function enter(state, slug) {
  const room = roomOf(state, slug);
  return room?.marked ? withRoom(state, { ...room, marked: false }) : state;
}

/** A room that is left keeps little of its log: it is drawn the faster when it is opened again. */
function leave(state, slug) {
  const room = roomOf(state, slug);
  if (!room) return state;
  const closed = { ...log.closeWindow(room), divider: null, target: null };
  const unreadEvents = room.last - room.read;
  return withRoom(state, log.trim(closed, Math.max(log.LEFT_BEHIND, unreadEvents)));
}

/** Draws the line "New" in the open room where unread messages begin. */
function mark(state) {
  const room = roomOf(state, state.open);
  if (!room || room.divider !== null || unread(state, room) === 0) return state;
  return withRoom(state, { ...room, divider: room.read });
}

function withRoom(state, room) {
  if (roomOf(state, room.slug) === room) return state;
  return { ...state, rooms: { ...state.rooms, [room.slug]: room } };
}

function without(state, slug) {
  if (!roomOf(state, slug)) return state;
  const { [slug]: gone, ...rooms } = state.rooms;
  return { ...state, rooms };
}

function everyRoom(state, change) {
  return Object.values(state.rooms).reduce((next, room) => withRoom(next, change(room)), state);
}

function settle(state, slug) {
  const room = roomOf(state, slug);
  return room && room.divider !== null ? withRoom(state, { ...room, divider: null }) : state;
}

function context(state, room) {
  const open = state.open === room.slug;
  return { me: state.me, open, attending: open && state.attending };
}

function isStored(room, me, clientId) {
  return room.events.some(
    (event) => event.by.id === me?.id && event.data.client_id === clientId,
  );
}

function concernsMe(state, event) {
  const subject = event.data.user?.id ?? event.by.id;
  return subject === state.me?.id && /^(member\.(joined|left)|room\.created)$/.test(event.type);
}

// --- Questions ----------------------------------------------------------------------------------

/** A room's slug may be any word, `constructor` too, so only own properties count. */
export function roomOf(state, slug) {
  return Object.hasOwn(state.rooms, slug ?? "") ? state.rooms[slug] : undefined;
}

export function nameOf(user) {
  return user.name || user.username || "Somebody";
}

/** The rooms whose log stops below their head, with the number to sync from. */
export function behind(state) {
  const rooms = {};
  for (const room of Object.values(state.rooms)) {
    if (room.last < room.head) rooms[room.slug] = room.last;
  }
  return rooms;
}

/** A message's present state, as it is known here; undefined where it is not. */
export function messageOf(room, id) {
  return room && stateIn(room.messages, id);
}

/** How many answers stand under a message, and when the last came: {count, last} or null. */
export function threadOf(room, id) {
  return threadSummary(messageOf(room, id));
}

/** A message, or any other event, by its number. */
export function eventAt(room, seq) {
  return log.shown(room).events.find((event) => event.seq === seq);
}

/**
 * Some events of a room as a room of their own, for a list beside it: what `thread` or `pins`
 * answered, with what the room's log has come to know since.
 */
export function excerpt(room, { events, later = [] }, { thread = null } = {}) {
  const ids = new Set(events.map((event) => event.id));
  const answers = room.events.filter(
    (event) => thread !== null && event.data.thread === thread && !ids.has(event.id),
  );
  const all = [...events, ...answers].sort((a, b) => a.seq - b.seq);
  const part = log.learn({ ...room, messages: quotedIn(all, room) }, all, later);
  const waiting = room.waiting.filter((entry) => thread !== null && entry.thread === thread);
  return { ...part, events: all, waiting, window: null, divider: null, target: null };
}

/** What these events quote and the room knows, where it is not among them itself. */
function quotedIn(events, room) {
  const ids = new Set(events.map((event) => event.id));
  const quoted = events.map((event) => event.data.reply_to).filter((id) => id && !ids.has(id));
  const known = quoted.map((id) => [id, stateIn(room.messages, id)]);
  return Object.fromEntries(known.filter(([, state]) => state));
}

/** Rooms as the list shows them: by name, conversations of two after the rooms. */
export function listed(state) {
  return Object.values(state.rooms).sort(
    (a, b) =>
      (a.kind === "direct") - (b.kind === "direct") ||
      a.name.localeCompare(b.name) ||
      a.slug.localeCompare(b.slug),
  );
}

/** Whether the open room's newest part is here, so that it can be shown and counted as read. */
export function isFilled(room) {
  if (room.seeking) return false;
  return room.window !== null || (room.last >= room.head && (room.asked || !room.more));
}

export function needsHistory(room) {
  return room.window === null && room.last >= room.head && !room.asked && room.more;
}

export function typists(room, at) {
  return Object.values(room.typing)
    .filter((entry) => entry.until > at)
    .map((entry) => entry.name);
}
