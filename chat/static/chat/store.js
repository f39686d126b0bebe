/**
 * What the client knows, as a pure reducer: an action in, the next state out. No socket, no page,
 * no clock: times arrive inside the actions.
 *
 * A room's log holds every event from `first` to `last` without a hole. An event is applied when
 * its number is last + 1, ignored when it is not above last, and held back otherwise until a sync
 * has filled the hole; `behind` names the rooms that need one.
 */

/** Above this many missed events a room starts afresh at its newest, and history fills the past. */
export const LONGEST_CATCH_UP = 300;
const KEPT_EVENTS = 600;
const TRIM_TO = 400;
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
  };
}

export function reduce(state, action) {
  return REDUCERS[action.type]?.(state, action) ?? state;
}

const REDUCERS = {
  ready(state, { ready, forget = false }) {
    const afresh = forget || state.epoch !== ready.epoch;
    const rooms = Object.fromEntries(
      ready.rooms.map((given) => [given.room, welcome(roomOf(state, given.room), given, afresh)]),
    );
    const { user: me, certificate, limits, epoch } = ready;
    const known = { me, certificate, limits, epoch, synced: true };
    return mark({ ...state, ...known, rooms, attending: false });
  },

  event(state, { event }) {
    const room = roomOf(state, event.room);
    if (concernsMe(state, event) && event.type === "member.left") {
      return room && event.seq > room.last ? without(state, event.room) : state;
    }
    if (!room && !concernsMe(state, event)) return state;
    if (!room) return reduce(withRoom(state, discovered(event)), { type: "event", event });
    return withRoom(state, receive(room, [event], context(state, room)));
  },

  /** The answer to `sync`; a room that is ours no more answers with an error. */
  sync(state, { rooms }) {
    return Object.entries(rooms).reduce((next, [slug, answer]) => {
      const room = roomOf(next, slug);
      if (!room) return next;
      if (answer.error) return without(next, slug);
      const moved = receive(room, answer.events, context(next, room));
      return withRoom(next, { ...moved, head: Math.max(moved.head, answer.head ?? 0) });
    }, state);
  },

  /** The answer to `history`: events that end right below the first one we have. */
  history(state, { room: slug, events, more }) {
    const room = roomOf(state, slug);
    if (!room) return state;
    const older = events.filter((event) => event.seq < room.first);
    if (older.length > 0 && older.at(-1).seq !== room.first - 1) return state;
    return withRoom(state, {
      ...room,
      events: [...older, ...room.events],
      first: older.length > 0 ? older[0].seq : room.first,
      more: more && (older[0]?.seq ?? room.first) > 1,
      asked: true,
    });
  },

  heads(state, { rooms }) {
    return Object.entries(rooms).reduce((next, [slug, head]) => {
      const room = roomOf(next, slug);
      return room && head > room.head ? withRoom(next, { ...room, head }) : next;
    }, state);
  },

  read(state, { room: slug, seq }) {
    const room = roomOf(state, slug);
    return room && seq > room.read ? withRoom(state, { ...room, read: seq }) : state;
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
    return withRoom(state, room ? named(room, given) : welcome(null, given, true));
  },

  "room.removed"(state, { room }) {
    return without(state, room);
  },

  opened(state, { room: slug }) {
    const closed = state.open !== null && state.open !== slug ? settle(state, state.open) : state;
    return mark({ ...closed, open: slug, attending: false });
  },

  /** Whether a person is looking at the newest message of the open room. */
  attending(state, { value }) {
    const room = roomOf(state, state.open);
    const next = { ...state, attending: value };
    if (!room) return next;
    if (value && room.read < room.last) return withRoom(next, { ...room, read: room.last });
    return next;
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
    return withRoom(state, { ...room, waiting, divider: entry.adopted ? room.divider : null });
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
    return room && room.events.length > KEPT_EVENTS ? withRoom(state, trim(room)) : state;
  },
};

// --- Rooms -----------------------------------------------------------------------------------

function blank(given) {
  return {
    slug: given.room,
    name: given.name || given.room,
    kind: given.kind ?? "public",
    role: given.role ?? "member",
    first: 1,
    last: 0,
    head: 0,
    read: 0,
    events: [],
    held: {},
    waiting: [],
    typing: {},
    more: true, // whether older events than `first` may exist
    asked: false, // whether history was asked for since the log began
    divider: null, // events above this number are under the line "New"
  };
}

/** A room as `ready` describes it, with the log we have of it where that still joins up. */
function welcome(known, given, afresh) {
  const room = known ?? blank(given);
  const head = given.head ?? 0;
  const read = Math.max(given.read ?? 0, afresh ? 0 : room.read);
  const next = { ...named(room, given), head, read: Math.min(read, head) };
  const joinsUp = known && !afresh && room.last <= head && head - room.last <= LONGEST_CATCH_UP;
  return joinsUp ? next : begin(next);
}

function named(room, { name, kind, role }) {
  return { ...room, name: name || room.name, kind: kind ?? room.kind, role: role ?? room.role };
}

/** An empty log that starts at what was read, or at the newest event where that is far behind. */
function begin(room) {
  const last = room.head - room.read <= LONGEST_CATCH_UP ? room.read : room.head;
  return { ...room, last, first: last + 1, events: [], held: {}, more: last > 0, asked: false };
}

/** A room we learn of by the event that puts this person into it: its log begins with that one. */
function discovered(event) {
  const { name, kind, role } = event.data;
  const room = blank({ room: event.room, name, kind, role });
  return begin({ ...room, head: event.seq - 1, read: event.seq - 1 });
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

function trim(room) {
  const events = room.events.slice(-TRIM_TO);
  return { ...room, events, first: events[0].seq, more: true };
}

// --- The rule of numbers ------------------------------------------------------------------------

function context(state, room) {
  const open = state.open === room.slug;
  return { me: state.me, open, attending: open && state.attending };
}

function receive(room, events, reader) {
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
  const { [event.seq]: taken, ...held } = room.held;
  const { [event.by.id]: typed, ...typing } = room.typing;
  const mine = event.by.id === me?.id;
  const caughtUp = room.read === room.last;
  const next = {
    ...withoutEcho(room, event, me),
    ...(event.type === "room.changed" && event.data.name && { name: event.data.name }),
    held,
    typing,
    last: event.seq,
    events: [...room.events, event],
  };
  if (attending || (caughtUp && (mine || event.type !== "message.posted"))) {
    return { ...next, read: event.seq };
  }
  return open && caughtUp ? { ...next, divider: room.read } : next;
}

/** A stored event takes the place of its local echo. */
function withoutEcho(room, event, me) {
  const clientId = event.by.id === me?.id ? event.data.client_id : null;
  if (!clientId || !room.waiting.some((entry) => entry.clientId === clientId)) return room;
  return { ...room, waiting: room.waiting.filter((entry) => entry.clientId !== clientId) };
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

const counted = new WeakMap(); // rooms never change, so a count holds for as long as its room

/** How many messages of others wait; where the log does not reach back, every event counts. */
export function unread(state, room) {
  if (!counted.has(room)) counted.set(room, countUnread(room, state.me?.id));
  return counted.get(room);
}

function countUnread(room, me) {
  const beyond = Math.max(0, room.first - 1 - room.read);
  const news = room.events.filter(
    (event) => event.seq > room.read && event.type === "message.posted" && event.by.id !== me,
  );
  return beyond + news.length;
}

export function unreadInAll(state) {
  return Object.values(state.rooms).reduce((sum, room) => sum + unread(state, room), 0);
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
  return room.last >= room.head && (room.asked || !room.more);
}

export function needsHistory(room) {
  return room.last >= room.head && !room.asked && room.more;
}

export function typists(room, at) {
  return Object.values(room.typing)
    .filter((entry) => entry.until > at)
    .map((entry) => entry.name);
}
