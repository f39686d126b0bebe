/** What is known of a room besides its log: what the server says of it, and how this person stands there. */

import { LONGEST_CATCH_UP, begin } from "./roomlog.js";

/** A room of which nothing is known yet. */
function blank(given) {
  return {
    slug: given.room,
    name: given.name || given.room,
    kind: given.kind ?? "public",
    role: given.role ?? "member",
    description: "",
    posting: "members", // who may write here
    slowSeconds: 0,
    archived: false,
    notify: "all",
    others: [], // the people on the other side of a direct room
    me: null, // who reads here
    first: 1,
    last: 0,
    head: 0,
    read: 0,
    mentions: 0, // unread ones, as the server counts them
    marked: false, // whether the person wants this to stay unread
    events: [],
    messages: {}, // what the events come to, by id
    window: null, // a far part of the log, where that is on screen
    seeking: false, // whether a far part of the log is being looked for
    target: null, // the message to be looked at: {seq, turn}
    turns: 0, // how often one was
    held: {},
    waiting: [],
    unfound: [], // quoted messages that nobody could find
    typing: {},
    more: true, // whether older events than `first` may exist
    asked: false, // whether history was asked for since the log began
    divider: null, // events above this number are under the line "New"
  };
}

/** A room as `ready` describes it, with the log we have of it where that still joins up. */
export function welcome(known, given, { afresh, me }) {
  const room = { ...(known ?? blank(given)), me: me?.id ?? null };
  const head = given.head ?? 0;
  const isMarked = room.marked && !afresh;
  const read = isMarked ? room.read : Math.max(given.read ?? 0, afresh ? 0 : room.read);
  const next = { ...named(room, given), head, read: Math.min(read, head) };
  const joinsUp = known && !afresh && room.last <= head && head - room.last <= LONGEST_CATCH_UP;
  return joinsUp ? next : begin(next);
}

export function named(room, given) {
  const { name, kind, role, description, posting, archived, notify, others, mentions } = given;
  const said = { kind, role, description, posting, archived, notify, others, mentions };
  const known = Object.entries({ ...said, slowSeconds: given.slow_seconds }).filter(
    ([, value]) => value !== undefined,
  );
  return { ...room, ...Object.fromEntries(known), name: name || room.name };
}

/** A room we learn of by the event that puts this person into it: its log begins with that one. */
export function discovered(event, me) {
  const { name, kind, role, description } = event.data;
  const given = { room: event.room, name, kind, role, description };
  const room = { ...named(blank(given), given), me: me?.id ?? null };
  return begin({ ...room, head: event.seq - 1, read: event.seq - 1 });
}
