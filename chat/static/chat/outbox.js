/**
 * Messages on their way: kept in storage until the server has them, sent one at a time per room
 * and in order, again and again under the same client id, so that none is lost, doubled or
 * overtaken. One the server refuses for good stays at the head of its room until the person tries
 * again or deletes it.
 *
 * States: waiting (behind another, or no connection), sending, failed. A sent one is gone from here.
 */

const RETRY_MS = [1000, 2000, 4000, 8000, 15000, 30000];

export class Outbox {
  #entries = new Map(); // client id → entry, in the order of writing
  #timers = new Map(); // room → pause before the next try
  #connected = false;
  #written = 0;
  #storage;
  #prefix;
  #send;
  #on;
  #clock;

  /**
   * @param {object} o
   * @param {Storage} o.storage  localStorage or the like; where it throws, messages live in memory
   * @param {string} o.user      the storage is shared by whoever uses this browser
   * @param {Function} o.send    ({room, client_id, body}) => Promise; rejects with a Refusal
   * @param {object} o.on        added(entry), changed(entry), stored(entry), deleted(entry)
   */
  constructor({ storage, user, send, on, clock = systemClock }) {
    this.#storage = new CarefulStorage(storage);
    this.#prefix = `signet.outbox.${user}.`;
    this.#send = send;
    this.#on = on;
    this.#clock = clock;
  }

  /** Takes up what an earlier page, or another tab that is gone, left unsent. */
  restore() {
    const found = this.#storage
      .under(this.#prefix)
      .map(parseEntry)
      .filter((entry) => entry && !this.#entries.has(entry.clientId))
      .sort((a, b) => a.at - b.at || a.order - b.order);
    for (const entry of found) {
      const waiting = { ...entry, state: "waiting", error: null, adopted: true };
      this.#entries.set(entry.clientId, waiting);
      this.#on.added(waiting);
    }
  }

  get entries() {
    return [...this.#entries.values()];
  }

  add({ room, body }) {
    const entry = {
      clientId: this.#clock.uuid(),
      room,
      body,
      at: this.#clock.now(),
      order: this.#written++,
      state: "waiting",
      error: null,
      tries: 0,
    };
    this.#entries.set(entry.clientId, entry);
    this.#keep(entry);
    this.#on.added(entry);
    this.#advance(room);
    return entry;
  }

  /** The person tries a failed message again. */
  retry(clientId) {
    const entry = this.#entries.get(clientId);
    if (entry?.state !== "failed") return;
    this.#change(entry, { state: "waiting", error: null, tries: 0 });
    this.#advance(entry.room);
  }

  /** The person gives a message up; one that is under way can no longer be called back. */
  discard(clientId) {
    const entry = this.#entries.get(clientId);
    if (entry && entry.state !== "sending") this.#drop(entry, "deleted");
  }

  /** The server has this message: it said so, or its event was seen. */
  settle(clientId) {
    const entry = this.#entries.get(clientId);
    if (entry) this.#drop(entry, "stored");
  }

  /** Another tab of this browser is done with an entry (the window's `storage` event). */
  heard({ key, newValue }) {
    if (newValue !== null || !key?.startsWith(this.#prefix)) return;
    const entry = this.#entries.get(key.slice(this.#prefix.length));
    if (entry) this.#drop(entry, "deleted");
  }

  resume() {
    this.#connected = true;
    for (const room of this.#rooms()) this.#advance(room);
  }

  pause() {
    this.#connected = false;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  // --- One room's queue --------------------------------------------------------------------------

  #rooms() {
    return new Set(this.entries.map((entry) => entry.room));
  }

  #first(room) {
    return this.entries.find((entry) => entry.room === room);
  }

  #advance(room) {
    const entry = this.#first(room);
    if (!this.#connected || entry?.state !== "waiting" || this.#timers.has(room)) return;
    this.#post(entry);
  }

  async #post(entry) {
    this.#change(entry, { state: "sending", tries: entry.tries + 1 });
    try {
      const { room, body } = entry;
      await this.#send({ room, client_id: entry.clientId, body });
      this.settle(entry.clientId);
    } catch (refusal) {
      this.#refused(entry.clientId, refusal);
    }
    this.#advance(entry.room);
  }

  #refused(clientId, refusal) {
    const entry = this.#entries.get(clientId);
    if (!entry) return; // its event came before the answer
    if (!refusal.passing) {
      this.#change(entry, { state: "failed", error: refusal.message });
      return;
    }
    this.#change(entry, { state: "waiting" });
    if (this.#connected) this.#pauseRoom(entry, refusal);
  }

  #pauseRoom(entry, refusal) {
    const growing = RETRY_MS[Math.min(entry.tries - 1, RETRY_MS.length - 1)];
    const wait = Math.max(growing, (refusal.retryAfter ?? 0) * 1000);
    const cancel = this.#clock.after(wait, () => {
      this.#timers.delete(entry.room);
      this.#advance(entry.room);
    });
    this.#timers.set(entry.room, cancel);
  }

  // --- Entries -----------------------------------------------------------------------------------

  /** Entries are replaced, never changed, so that whoever holds one may compare. */
  #change(entry, fields) {
    const next = { ...entry, ...fields };
    this.#entries.set(next.clientId, next);
    this.#on.changed(next);
  }

  #drop(entry, ending) {
    this.#entries.delete(entry.clientId);
    this.#storage.remove(this.#prefix + entry.clientId);
    this.#on[ending](entry);
    this.#advance(entry.room);
  }

  #keep({ clientId, room, body, at, order }) {
    const text = JSON.stringify({ clientId, room, body, at, order });
    this.#storage.set(this.#prefix + clientId, text);
  }
}

function parseEntry(text) {
  try {
    const { clientId, room, body, at, order = 0 } = JSON.parse(text);
    const isWhole = [clientId, room, body].every((part) => typeof part === "string");
    return isWhole ? { clientId, room, body, at: Number(at) || 0, order, tries: 0 } : null;
  } catch {
    return null;
  }
}

/** Storage that is full, forbidden or missing costs the safety net, never the message. */
export class CarefulStorage {
  #storage;

  constructor(storage) {
    this.#storage = storage;
  }

  get(key) {
    return this.#try((storage) => storage.getItem(key)) ?? null;
  }

  set(key, value) {
    this.#try((storage) => storage.setItem(key, value));
  }

  remove(key) {
    this.#try((storage) => storage.removeItem(key));
  }

  /** The values of all keys that begin with `prefix`. */
  under(prefix) {
    return (
      this.#try((storage) =>
        Array.from({ length: storage.length }, (_, index) => storage.key(index))
          .filter((key) => key.startsWith(prefix))
          .map((key) => storage.getItem(key)),
      ) ?? []
    );
  }

  #try(action) {
    try {
      return this.#storage ? action(this.#storage) : undefined;
    } catch {
      return undefined;
    }
  }
}

export const systemClock = {
  now: () => Date.now(),
  uuid: () => crypto.randomUUID(),
  random: () => Math.random(),
  after(ms, action) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};
