/** What waits for the reader in each room: messages, and those that name them. */

import { isBroughtIn, shown } from "./roomlog.js";
import { stateIn } from "./messagestate.js";

const counted = new WeakMap(); // rooms never change, so a count holds for as long as its room

/** How many messages of others wait; where the log does not reach back, every event counts. */
export function unread(state, room) {
  return countsOf(room).unread;
}

/** How many of them name this person or everybody. */
export function mentions(room) {
  return countsOf(room).mentions;
}

/** What the lists show of it, after what this person wants to hear of the room. */
export function badgeOf(room) {
  const { unread, mentions } = countsOf(room);
  if (room.notify === "nothing") return { unread: 0, mentions: 0 };
  return { unread: room.notify === "mentions" ? 0 : unread, mentions };
}

export function unreadOf(room) {
  const badge = badgeOf(room);
  return Math.max(badge.unread, badge.mentions);
}

export function unreadInAll(state) {
  return Object.values(state.rooms).reduce((sum, room) => sum + unreadOf(room), 0);
}

function countsOf(room) {
  if (!counted.has(room)) counted.set(room, count(room));
  return counted.get(room);
}

function count(room) {
  const beyond = Math.max(0, room.first - 1 - room.read);
  const news = room.events.filter((event) => event.seq > room.read && isNews(room, event));
  const named = news.filter((event) => isNaming(room, event)).length;
  const quiet = news.filter((event) => event.data.thread && !isNaming(room, event)).length;
  return {
    unread: beyond + news.length - quiet,
    mentions: beyond > 0 ? Math.max(room.mentions, named) : named,
  };
}

function isNews({ me }, event) {
  const { type, by, data } = event;
  if (isBroughtIn(event, { id: me })) return true;
  return type === "message.posted" && by.id !== me && !data.deleted && !data.expired;
}

function isNaming({ me, messages }, { id }) {
  const message = stateIn(messages, id);
  return Boolean(message) && (message.everyone || message.mentions.includes(me));
}

/** Whether the first unread message lies before what is known of the room. */
export function isFarBehind(room) {
  return room.read + 1 < shown(room).first && room.more && countsOf(room).unread > 0;
}
