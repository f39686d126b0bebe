/** The cast of the client's tests: a clock that is wound by hand, a storage, and a chat server. */

export const ALICE = { id: 1, username: "alice", name: "Alice" };
export const BOB = { id: 2, username: "bob", name: "Bob" };

/** Numbers that look random and are the same each time. */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export class Clock {
  #timers = [];
  #ids = 0;

  constructor({ seed = 1, at = Date.UTC(2026, 2, 3, 12) } = {}) {
    this.at = at;
    this.random = dice(seed);
    this.now = () => this.at;
    this.uuid = () => `id-${seed}-${++this.#ids}`;
    this.after = (ms, action) => {
      const timer = { at: this.at + ms, action };
      this.#timers.push(timer);
      return () => (this.#timers = this.#timers.filter((other) => other !== timer));
    };
  }

  /** Lets time pass; whatever is due happens in its order. */
  async pass(ms) {
    const end = this.at + ms;
    await settled();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.at = Math.max(this.at, next.at);
      next.action();
      await settled();
    }
    this.at = end;
  }

  #next(end) {
    return this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
  }
}

/** All promises that can go on have gone on. */
export async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

export class MemoryStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  key(index) {
    return [...this.#items.keys()][index] ?? null;
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

export function message(seq, by = BOB, { room = "general", body = `message ${seq}`, ...rest } = {}) {
  const at = rest.at ?? new Date(Date.UTC(2026, 2, 3, 9, 0, seq)).toISOString();
  const client_id = rest.client_id ?? `${by.username}-${seq}`;
  const data = { body, html: `<p>${body}</p>`, client_id, ...rest.data };
  const event = { ev: "event", room, seq, id: `event-${seq}`, type: "message.posted", at, by, data };
  return { ...event, certificate: { serial: `serial-of-${by.username}` } };
}

export function note(seq, type, by = BOB, data = {}) {
  return { ...message(seq, by), type, data };
}

export function ready(rooms, { epoch = "first", user = ALICE } = {}) {
  const listed = Object.entries(rooms).map(([room, given]) => ({
    room, name: room, kind: "public", role: "member", head: 0, read: 0, ...given,
  }));
  return {
    ev: "ready", user, certificate: { serial: "aa" }, rooms: listed, heartbeat: 25, epoch,
    limits: { body_bytes: 1000, frame_bytes: 65536, rate: 30, burst: 200 },
  };
}

function isAbout({ type, id, data }, posted) {
  return id === posted || (type === "message.edited" && data.message === posted);
}

/** The data of an event whose words were taken away. */
export function emptied({ type, data: { client_id, thread, reply_to, message: id } }) {
  const kept = type === "message.posted" ? { client_id, thread, reply_to } : { message: id };
  return JSON.parse(JSON.stringify({ ...kept, deleted: true }));
}

/**
 * A chat server in the page. `sockets(user)` is a WebSocket class whose connections end here.
 * It keeps the contract; `loses` says, for each frame it is about to push, whether it gets lost.
 */
export class Server {
  constructor({ clock = null, rooms = ["general"], loses = () => false } = {}) {
    this.clock = clock;
    this.loses = loses;
    this.logs = Object.fromEntries(rooms.map((room) => [room, []]));
    this.reads = {};
    this.open = new Set();
    this.certificates = {}; // by serial number
    this.requests = [];
    this.answers = {}; // op → (request, user) => the fields of the reply, before what it does itself
    this.refusals = []; // the next answers to `post`, where they are not what it asked for
    this.refused = {}; // op → the error that its next request is answered with
    this.epoch = "first";
    this.closesWith = null; // a code with which every new connection ends
    this.isMute = false;
  }

  later(action) {
    if (this.clock) this.clock.after(20 + this.clock.random() * 60, action);
    else setTimeout(action, 5);
  }

  sockets(user) {
    const server = this;
    return class {
      constructor(url, protocols) {
        this.protocols = protocols;
        this.user = user;
        server.later(() => server.accept(this));
      }

      send(text) {
        server.later(() => server.open.has(this) && server.receive(this, JSON.parse(text)));
      }

      close() {
        server.open.delete(this);
      }
    };
  }

  accept(socket) {
    if (this.closesWith) {
      socket.onclose?.({ code: this.closesWith });
      return;
    }
    this.open.add(socket);
    const rooms = Object.fromEntries(
      Object.entries(this.logs).map(([room, log]) => [
        room,
        { head: log.length, read: this.reads[`${socket.user.id}.${room}`] ?? 0 },
      ]),
    );
    this.give(socket, ready(rooms, { epoch: this.epoch, user: socket.user }));
  }

  receive(socket, request) {
    this.requests.push(request);
    if (this.isMute) return;
    const { ref, op } = request;
    const { [op]: error, ...refused } = this.refused;
    this.refused = refused;
    if (error) return this.give(socket, { ref, ok: false, error });
    const reply = (result) => this.give(socket, { ref, ok: true, ...result });
    const answers = {
      ping: () => reply({}),
      typing: () => reply({}),
      presence: () => reply({}),
      certificates: () => reply({ certificates: this.certificatesOf(request) }),
      read: () => {
        this.reads[`${socket.user.id}.${request.room}`] = request.seq;
        reply({});
      },
      post: () => this.post(socket, request, reply),
      sync: () => reply({ rooms: this.sync(request) }),
      history: () => reply(this.history(request)),
      thread: () => reply(this.thread(request)),
      react: () => reply({ event: this.done(socket, "reaction.added", request) }),
      unreact: () => reply({ event: this.done(socket, "reaction.removed", request) }),
      pin: () => reply({ event: this.done(socket, "message.pinned", request) }),
      unpin: () => reply({ event: this.done(socket, "message.unpinned", request) }),
      edit: () => reply({ event: this.done(socket, "message.edited", request) }),
      delete: () => reply({ event: this.remove(socket, request) }),
      create: () => {
        this.logs[request.room] = [];
        const { name, kind } = request;
        const event = note(1, "room.created", socket.user, { name, kind });
        reply({ event: this.append(request.room, event) });
      },
      leave: () => reply({ event: note(99, "member.left", socket.user) }),
    };
    if (this.answers[op]) reply(this.answers[op](request, socket.user));
    else if (answers[op]) answers[op]();
    else this.give(socket, { ref, ok: false, error: { code: "unknown_op", detail: "No." } });
  }

  post(socket, { ref, op, room, client_id, body, ...data }, reply) {
    const stored = this.logs[room]?.find((event) => event.data.client_id === client_id);
    const refusal = this.refusals.shift();
    if (refusal) this.give(socket, { ref, ok: false, error: refusal });
    else if (stored) reply({ event: stored, duplicate: true });
    else reply({ event: this.say(socket.user, body, { room, client_id, data }) });
  }

  certificatesOf({ serials }) {
    const known = serials.filter((serial) => serial in this.certificates);
    return Object.fromEntries(known.map((serial) => [serial, this.certificates[serial]]));
  }

  history({ room, before, limit }) {
    const older = this.logs[room].filter((event) => event.seq < before);
    const events = older.slice(-limit);
    const ids = new Set(events.map((event) => event.id));
    const later = this.logs[room].filter(
      ({ seq, data }) => seq >= before && (ids.has(data.message) || ids.has(data.thread)),
    );
    return { events, later, more: older.length > limit };
  }

  thread({ room, message: id }) {
    const log = this.logs[room];
    const root = log.find((event) => event.id === id)?.data.thread ?? id;
    const events = log.filter((event) => event.id === root || event.data.thread === root);
    const ids = new Set(events.map((event) => event.id));
    return { events, later: log.filter(({ data }) => ids.has(data.message)), more: false };
  }

  /** Something about a message, as an event of its own. */
  done({ user }, type, { room, message: id, emoji, body, reason }) {
    const data = { message: id };
    if (emoji) Object.assign(data, { emoji });
    if (body) Object.assign(data, { body, html: `<p>${body}</p>` });
    if (reason) Object.assign(data, { reason });
    return this.append(room, note(0, type, user, data));
  }

  /** What the message said leaves the log, in all its versions. */
  remove(socket, request) {
    const event = this.done(socket, "message.deleted", request);
    this.logs[request.room] = this.logs[request.room].map((other) =>
      isAbout(other, request.message) ? { ...other, data: emptied(other) } : other,
    );
    return event;
  }

  sync({ rooms, limit = 200 }) {
    return Object.fromEntries(
      Object.entries(rooms).map(([room, last]) => {
        const log = this.logs[room];
        const events = log.slice(last, last + limit);
        return [room, { events, more: last + events.length < log.length, head: log.length }];
      }),
    );
  }

  say(user, body, { room = "general", ...rest } = {}) {
    const seq = this.logs[room].length + 1;
    return this.append(room, message(seq, user, { room, body, ...rest }));
  }

  append(room, event) {
    const seq = this.logs[room].length + 1;
    const stored = { ...event, room, seq, id: `event-${seq}` };
    this.logs[room].push(stored);
    for (const socket of this.open) {
      if (!this.loses(stored)) this.later(() => this.give(socket, stored));
    }
    return stored;
  }

  push(frame) {
    for (const socket of this.open) this.give(socket, frame);
  }

  give(socket, frame) {
    if (this.open.has(socket)) socket.onmessage?.({ data: JSON.stringify(frame) });
  }

  beat() {
    const heads = Object.entries(this.logs).map(([room, log]) => [room, log.length]);
    this.push({ ev: "heads", rooms: Object.fromEntries(heads) });
  }

  close(code, socket = null) {
    for (const each of socket ? [socket] : [...this.open]) {
      this.open.delete(each);
      each.onclose?.({ code });
    }
  }
}
