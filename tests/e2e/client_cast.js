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
  const data = { body, html: `<p>${body}</p>`, client_id: rest.client_id ?? `${by.username}-${seq}` };
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
    this.requests = [];
    this.refusals = []; // the next answers to `post`, where they are not what it asked for
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
    const reply = (result) => this.give(socket, { ref, ok: true, ...result });
    const answers = {
      ping: () => reply({}),
      typing: () => reply({}),
      read: () => {
        this.reads[`${socket.user.id}.${request.room}`] = request.seq;
        reply({});
      },
      post: () => this.post(socket, request, reply),
      sync: () => reply({ rooms: this.sync(request) }),
      history: () => {
        const older = this.logs[request.room].filter((event) => event.seq < request.before);
        reply({ events: older.slice(-request.limit), more: older.length > request.limit });
      },
      create: () => {
        this.logs[request.room] = [];
        const { name, kind } = request;
        const event = note(1, "room.created", socket.user, { name, kind });
        reply({ event: this.append(request.room, event) });
      },
      leave: () => reply({ event: note(99, "member.left", socket.user) }),
    };
    if (answers[op]) answers[op]();
    else this.give(socket, { ref, ok: false, error: { code: "unknown_op", detail: "No." } });
  }

  post(socket, { ref, room, client_id, body }, reply) {
    const stored = this.logs[room]?.find((event) => event.data.client_id === client_id);
    const refusal = this.refusals.shift();
    if (refusal) this.give(socket, { ref, ok: false, error: refusal });
    else if (stored) reply({ event: stored, duplicate: true });
    else reply({ event: this.say(socket.user, body, { room, client_id }) });
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
    const stored = { ...event, room, seq: this.logs[room].length + 1 };
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
