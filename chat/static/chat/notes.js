/** What happened in a room besides messages, in words that follow the name of who did it. */

import { stateIn } from "./messagestate.js";
import { nameOf } from "./store.js";

const ROLES = { owner: "an owner", moderator: "a moderator", member: "a member" };

/** {words, about?} where `about` is the message it is about; null for what is not shown. */
export function noteOf(event, messages = {}) {
  const words = NOTES[event.type]?.(event.data, otherIn(event));
  if (!words) return null;
  const about = stateIn(messages, event.data.message);
  return { words, about: about ? { id: about.id, seq: about.seq } : null };
}

function otherIn({ by, data }) {
  return data.user && data.user.id !== by.id ? nameOf(data.user) : null;
}

const NOTES = {
  "room.created": () => "made this room",
  "room.changed": changes,
  "member.joined": (_data, other) => (other ? `brought ${other} in` : "joined"),
  "member.left": leaving,
  "member.role": ({ role }, other) =>
    other ? `made ${other} ${ROLES[role] ?? role}` : `is ${ROLES[role] ?? role} now`,
  "message.pinned": () => "pinned a message",
  "message.unpinned": () => "took a message off the pins",
};

function leaving({ banned, reason }, other) {
  if (!other) return "left";
  return `${banned ? "banned" : "took"} ${other}${banned ? "" : " out"}${reason ? `: ${reason}` : ""}`;
}

/** Why a room is lost, said to whoever lost it. */
export function partingWords({ by, data }) {
  const isOwn = !data.user || data.user.id === by.id;
  return isOwn ? "You left it." : `${nameOf(by)} ${leaving(data, "you")}${data.reason ? "" : "."}`;
}

function changes(data) {
  const said = Object.entries(CHANGES)
    .filter(([name]) => data[name] !== undefined)
    .map(([name, words]) => words(data[name]));
  return said.length > 0 ? listed(said) : "changed this room";
}

const CHANGES = {
  name: (name) => `named the room “${name}”`,
  description: (text) => (text ? `described the room: “${text}”` : "took the description away"),
  posting: (who) =>
    who === "moderators" ? "let only moderators write here" : "let everybody write here",
  slow_seconds: (seconds) =>
    seconds > 0 ? `turned on slow mode: one message in ${duration(seconds)}` : "turned off slow mode",
  archived: (is) => (is ? "archived the room" : "took the room out of the archive"),
  retention_days: (days) =>
    days ? `lets messages expire after ${plural(days, "day")}` : "lets messages stay for good",
};

function duration(seconds) {
  return seconds % 60 === 0 ? plural(seconds / 60, "minute") : plural(seconds, "second");
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
