/**
 * A room's log as the list of items on screen: grouped by author and five minutes, parted by days,
 * with the line "New". Pure; the time zone is the browser's.
 */

import { nameOf } from "./store.js";

const GROUP_MS = 5 * 60 * 1000;

/**
 * Items in order, the waiting messages last. Each has a `key` that stays the same from the local
 * echo to the stored event, and a `stamp` that changes with anything that shows.
 */
export function timeline(room, me, now) {
  const items = [
    ...room.events.map((event) => fromEvent(event, me)).filter(Boolean),
    ...room.waiting.map((entry) => fromEcho(entry, me)),
  ];
  let previous = null;
  let divided = room.divider === null;
  for (const item of items) {
    item.day = previous === null || !isSameDay(previous.at, item.at) ? dayName(item.at, now) : "";
    item.isFirstNew = !divided && item.seq > room.divider && item.isMessage && !item.isOwn;
    divided ||= item.isFirstNew;
    item.isHead = item.isMessage && !continues(previous, item);
    item.stamp = [
      item.seq, item.state, item.error ?? "", item.isHead, item.isFirstNew, item.day, item.author,
    ].join("|");
    previous = item;
  }
  return items;
}

function fromEvent(event, me) {
  const isMessage = event.type === "message.posted";
  const sentence = isMessage ? null : noteOf(event);
  if (!isMessage && sentence === null) return null;
  const isOwn = event.by.id === me?.id;
  return {
    key: isOwn && event.data.client_id ? `echo-${event.data.client_id}` : `event-${event.seq}`,
    seq: event.seq,
    at: new Date(event.at),
    author: nameOf(event.by),
    username: event.by.username ?? "",
    authorId: event.by.id,
    serial: event.certificate?.serial ?? "",
    isOwn,
    isMessage,
    note: sentence,
    body: event.data.body ?? "",
    html: event.data.html ?? null,
    state: "sent",
  };
}

function fromEcho(entry, me) {
  return {
    key: `echo-${entry.clientId}`,
    clientId: entry.clientId,
    seq: Infinity,
    at: new Date(entry.at),
    author: me ? nameOf(me) : "",
    username: me?.username ?? "",
    authorId: me?.id,
    serial: "",
    isOwn: true,
    isMessage: true,
    note: null,
    body: entry.body,
    html: null,
    state: entry.state,
    error: entry.error ?? null,
  };
}

/** What happened, in words that follow the name of who did it; null for what is not shown. */
function noteOf(event) {
  const other = event.data.user && event.data.user.id !== event.by.id && nameOf(event.data.user);
  switch (event.type) {
    case "room.created":
      return "made this room";
    case "member.joined":
      return other ? `brought ${other} in` : "joined";
    case "member.left":
      return other ? `took ${other} out` : "left";
    case "room.changed":
      return "changed this room";
    default:
      return null;
  }
}

function continues(previous, item) {
  return (
    previous !== null &&
    previous.isMessage &&
    item.isMessage &&
    !item.day &&
    !item.isFirstNew &&
    previous.authorId === item.authorId &&
    item.at - previous.at < GROUP_MS
  );
}

function isSameDay(a, b) {
  return a.toDateString() === b.toDateString();
}

function dayName(day, now) {
  if (isSameDay(day, now)) return "Today";
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (isSameDay(day, yesterday)) return "Yesterday";
  const year = day.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return day.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", ...year });
}

export function clockTime(at) {
  return at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

export function fullTime(at) {
  return at.toLocaleString("en-GB", { dateStyle: "full", timeStyle: "long" });
}
