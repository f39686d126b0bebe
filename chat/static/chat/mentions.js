/** Who or what a word under the caret may mean: people behind `@`, emoji behind `:`. */

import { findEmoji } from "./emoji.js";

const MOST = 8;
const WORD = /(^|[\s([{"'“‘])([@:])([^\s@:]{0,32})$/u;
const LEAST_OF_EMOJI = 2;

/** Names that stand for several people of a room. */
const EVERYBODY = [
  { username: "all", name: "Everybody in this room" },
  { username: "moderators", name: "The moderators of this room" },
];
const MANY = 20;

/**
 * The word that is being written: {sign, query, start, end}, or null. A colon alone, as in “so: ”
 * or “8:30”, asks for nothing.
 */
export function wordAt(text, caret) {
  const found = WORD.exec(text.slice(0, caret));
  if (!found) return null;
  const [, , sign, query] = found;
  if (sign === ":" && (query.length < LEAST_OF_EMOJI || !/^[a-z0-9_+-]+$/i.test(query))) return null;
  return { sign, query, start: caret - query.length - 1, end: caret };
}

/** The text with the word replaced, and where the caret goes. */
export function completed(text, { start, end }, replacement) {
  const rest = text.slice(end);
  const inserted = /^\s/.test(rest) ? replacement : `${replacement} `;
  return {
    text: text.slice(0, start) + inserted + rest,
    caret: start + inserted.length + (inserted === replacement ? 1 : 0),
  };
}

/** Whether a body speaks to everybody of the room; what stands in code speaks to nobody. */
export function callsAll(body) {
  const spoken = body.replace(/```[\s\S]*?(?:```|$)|`[^`\n]*`/g, " ");
  return /(^|[^\w@.+-])@all(?![\w@+-])/iu.test(spoken);
}

/** Whether so many people are asked about first. */
export function isMany(count) {
  return count > MANY;
}

/**
 * Of a room's people and of others found by the server, those whom the query means, best first;
 * `isOutside` marks who would not read it.
 */
export function meant(query, { members, others = [], me }) {
  const wanted = fold(query);
  const inside = new Set(members.map((person) => person.id));
  const strangers = others.filter((person) => !inside.has(person.id));
  const people = [
    ...members.filter((person) => person.id !== me?.id),
    ...(members.length > 0 ? EVERYBODY.map((group) => ({ ...group, isGroup: true })) : []),
    ...strangers.filter((person) => person.id !== me?.id).map((p) => ({ ...p, isOutside: true })),
  ];
  return people
    .map((person) => ({ person, rank: rankOf(person, wanted) }))
    .filter(({ rank }) => rank !== null)
    .sort((a, b) => a.rank - b.rank || compare(a.person, b.person))
    .map(({ person }) => person)
    .slice(0, MOST);
}

function rankOf(person, wanted) {
  const group = (person.isOutside ? 8 : 0) + (person.isGroup ? 4 : 0);
  if (!wanted) return group;
  const username = fold(person.username);
  const words = fold(person.name ?? "").split(/\s+/);
  if (username === wanted) return group - 1;
  if (username.startsWith(wanted)) return group;
  if (!person.isGroup && words.some((word) => word.startsWith(wanted))) return group + 1;
  return !person.isGroup && username.includes(wanted) ? group + 2 : null;
}

function compare(a, b) {
  return (a.name || a.username).localeCompare(b.name || b.username);
}

/** “José” is found by “jose”. */
function fold(text) {
  return text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
}

/** What to offer for a word behind a colon. */
export function emojiFor(query) {
  return findEmoji(query, MOST).map(({ emoji, name }) => ({ insert: emoji, emoji, name }));
}
