/**
 * What a room's messages come to: the present state of each, folded from its events. Pure: an index
 * `id → state` in, the next index out. A state is replaced and never changed, so that whoever holds
 * one may compare; an event that was folded already changes nothing.
 *
 * A state: {id, seq, at, author, serial, clientId, body, html, action, mentions, everyone,
 * attachments, replyTo, thread, edited, deleted, expired, pinned, reactions, versions, replies}.
 */

const GONE = { "message.deleted": "deleted", "messages.expired": "expired" };

/** The index after these events, which are in the order of their numbers. */
export function fold(messages, events) {
  const draft = { index: messages, isCopy: false };
  for (const event of events) FOLDS[event.type]?.(draft, event);
  return draft.index;
}

/** The index with answers that stand under its messages, be they themselves known or not. */
export function withAnswers(messages, answers) {
  const draft = { index: messages, isCopy: false };
  for (const { id, at, data } of answers) {
    if (!data.deleted) putAnswer(draft, data.thread, id, at);
  }
  return draft.index;
}

/** An event of which only the fact is left, as the server keeps it. */
function emptied(event, word) {
  const { client_id, thread, reply_to, message } = event.data;
  const kept = event.type === "message.posted" ? { client_id, thread, reply_to } : { message };
  const data = Object.entries({ ...kept, [word]: true }).filter(([, value]) => value !== undefined);
  return { ...event, data: Object.fromEntries(data) };
}

/** The events without what `event` took away from them: a message's text, in all its versions. */
export function withoutContent(events, event, messages) {
  const word = GONE[event.type];
  if (!word) return events;
  const isTaken = (other) => {
    if (!/^message\.(posted|edited)$/.test(other.type)) return false;
    if (other.data.deleted || other.data.expired) return false;
    const id = other.type === "message.posted" ? other.id : other.data.message;
    if (word === "deleted") return id === event.data.message;
    const seq = other.type === "message.posted" ? other.seq : stateIn(messages, id)?.seq;
    return (seq ?? Infinity) <= event.data.upto;
  };
  return events.some(isTaken)
    ? events.map((other) => (isTaken(other) ? emptied(other, word) : other))
    : events;
}

/** Whether an event tells of one of these messages: something done to it, or an answer under it. */
export function isAbout(event, ids) {
  return ids.has(event.data.message) || ids.has(event.data.thread);
}

export function stateIn(messages, id) {
  return Object.hasOwn(messages, id ?? "") ? messages[id] : undefined;
}

/** The states that are still of use: those that `isKept` names, and the answers under these. */
export function pruned(messages, isKept) {
  const roots = new Set();
  for (const state of Object.values(messages)) if (isKept(state)) roots.add(state.id);
  return Object.fromEntries(
    Object.entries(messages).filter(([id, state]) => roots.has(id) || roots.has(state.thread)),
  );
}

/** How many answers stand under a message, and the time of the last. */
export function threadSummary(state) {
  const times = Object.values(state?.replies ?? {});
  if (times.length === 0) return null;
  return { count: times.length, last: times.reduce((a, b) => (a > b ? a : b)) };
}

// --- One event -----------------------------------------------------------------------------------

const FOLDS = {
  "message.posted"(draft, event) {
    if (stateIn(draft.index, event.id)) return;
    const state = posted(event);
    put(draft, state);
    if (!state.deleted) putAnswer(draft, state.thread, state.id, state.at);
  },

  "message.edited": (draft, event) =>
    change(draft, event, (state) => {
      const { body, html, mentions = [], everyone = false, action = false } = event.data;
      if (event.data.deleted || event.data.expired) return state;
      const versions = [...state.versions, { body, html, at: event.at }];
      return { ...state, body, html, mentions, everyone, action, versions, edited: event.at };
    }),

  "message.deleted"(draft, event) {
    change(draft, event, (state) =>
      gone(state, { deleted: { by: event.by, reason: event.data.reason ?? "" } }),
    );
    const { [event.data.message]: known } = draft.index;
    for (const root of known && !known.thread ? [] : Object.values(draft.index)) {
      if (!Object.hasOwn(root.replies, event.data.message)) continue;
      const { [event.data.message]: taken, ...replies } = root.replies;
      put(draft, { ...root, replies });
    }
  },

  "messages.expired"(draft, event) {
    for (const state of Object.values(draft.index)) {
      const isOver = state.seq <= event.data.upto && !state.deleted && !state.expired;
      if (isOver) put(draft, gone(state, { expired: true }));
    }
  },

  "message.pinned": (draft, event) =>
    change(draft, event, (state) => ({ ...state, pinned: { by: event.by, at: event.at } })),

  "message.unpinned": (draft, event) =>
    change(draft, event, (state) => ({ ...state, pinned: null })),

  "reaction.added": (draft, event) =>
    change(draft, event, (state) => ({ ...state, reactions: reacted(state.reactions, event) })),

  "reaction.removed": (draft, event) =>
    change(draft, event, (state) => ({ ...state, reactions: unreacted(state.reactions, event) })),
};

function posted(event) {
  const { data } = event;
  const state = {
    id: event.id,
    seq: event.seq,
    at: event.at,
    author: event.by,
    serial: event.certificate?.serial ?? "",
    clientId: data.client_id ?? null,
    body: data.body ?? "",
    html: data.html ?? null,
    action: data.action ?? false,
    mentions: data.mentions ?? [],
    everyone: data.everyone ?? false,
    attachments: data.attachments ?? [],
    replyTo: data.reply_to ?? null,
    thread: data.thread ?? null,
    edited: null,
    deleted: null,
    expired: false,
    pinned: null,
    reactions: [],
    versions: [{ body: data.body, html: data.html, at: event.at }],
    replies: {},
    upto: event.seq, // the newest event that is folded in
  };
  if (data.deleted) return gone(state, { deleted: { by: null, reason: "" } });
  return data.expired ? gone(state, { expired: true }) : state;
}

/** Nothing of what it said stays in memory. */
function gone(state, how) {
  const nothing = { body: "", html: null, attachments: [], mentions: [], everyone: false };
  return { ...state, ...nothing, action: false, reactions: [], versions: [], pinned: null, ...how };
}

function change(draft, event, how) {
  const state = stateIn(draft.index, event.data.message);
  if (!state || event.seq <= state.upto) return;
  const isOver = (state.deleted || state.expired) && event.type !== "message.deleted";
  put(draft, { ...(isOver ? state : how(state)), upto: event.seq });
}

function put(draft, state) {
  if (!draft.isCopy) Object.assign(draft, { index: { ...draft.index }, isCopy: true });
  draft.index[state.id] = state;
}

function putAnswer(draft, thread, id, at) {
  const root = stateIn(draft.index, thread);
  if (root && root.replies[id] !== at) put(draft, { ...root, replies: { ...root.replies, [id]: at } });
}

function reacted(reactions, { by, data: { emoji } }) {
  const known = reactions.find((reaction) => reaction.emoji === emoji);
  if (!known) return [...reactions, { emoji, users: [by] }];
  if (known.users.some((user) => user.id === by.id)) return reactions;
  return reactions.map((each) => (each === known ? { emoji, users: [...each.users, by] } : each));
}

function unreacted(reactions, { by, data: { emoji } }) {
  return reactions
    .map((each) =>
      each.emoji === emoji
        ? { emoji, users: each.users.filter((user) => user.id !== by.id) }
        : each,
    )
    .filter((each) => each.users.length > 0);
}
