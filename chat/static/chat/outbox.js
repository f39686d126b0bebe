/**
 * Messages on their way: kept in storage until the server has them, sent one at a time per place
 * (a room, or a thread in it) and in order, again and again under the same client id, so that none
 * is lost, doubled or overtaken. One the server refuses for good stays at the head of its place,
 * where it shows, until the person tries again or deletes it.
 *
 * Files go first: a message whose files are still under way holds its place in the queue, and keeps
 * the ids of those that have arrived. No other tab has these files, so it leaves the message alone,
 * and what waits behind it, as long as this one holds the lock of its name.
 *
 * States: waiting (behind another, or no connection, or until `until`), uploading, sending, failed. A
 * sent one is gone from here.
 */

const RETRY_MS = [1000, 2000, 4000, 8000, 15000, 30000];

export class Outbox {
  #entries = new Map(); // client id → entry, in the order of writing
  #parcels = new Map(); // client id → its files that are not all uploaded
  #timers = new Map(); // place → pause before the next try
  #connected = false;
  #written = 0;
  #tab = null; // what this tab's lock is called, once it has one
  #storage;
  #prefix;
  #send;
  #on;
  #clock;
  #locks;

  /**
   * @param {object} o
   * @param {Storage} o.storage  localStorage or the like; where it throws, messages live in memory
   * @param {string} o.user      the storage is shared by whoever uses this browser
   * @param {Function} o.send    (the fields of `post`) => Promise; rejects with a Refusal
   * @param {object} o.on        added(entry), changed(entry), stored(entry), deleted(entry)
   * @param {LockManager} o.locks  without it every other tab counts as gone
   */
  constructor({ storage, user, send, on, clock = systemClock, locks = navigator.locks }) {
    this.#storage = new CarefulStorage(storage);
    this.#prefix = `signet.outbox.${user}.`;
    this.#send = send;
    this.#on = on;
    this.#clock = clock;
    this.#locks = locks;
  }

  /** Takes up what an earlier page left unsent; what another tab has in hand, once that is gone. */
  restore() {
    const tabs = new Set(this.#stored().map(({ tab }) => tab));
    for (const tab of tabs) this.#onceGone(tab, () => this.#adoptFrom(tab));
  }

  get entries() {
    return [...this.#entries.values()];
  }

  /**
   * @param {object} o
   * @param {Array} o.attachments  what is uploaded already
   * @param {object} o.parcel      files under way: {names, whole() => Promise of all attachments, cancel()}
   */
  add({ room, body, reply_to = null, thread = null, attachments = [], parcel = null }) {
    const entry = {
      clientId: this.#clock.uuid(),
      room,
      body,
      reply_to,
      thread,
      attachments,
      missing: parcel?.names ?? [],
      until: null,
      at: this.#clock.now(),
      order: this.#written++,
      tab: parcel ? this.#nameTab() : this.#queue(placeOf({ room, thread })).at(-1)?.tab ?? null,
      state: "waiting",
      error: null,
      tries: 0,
    };
    this.#entries.set(entry.clientId, entry);
    if (parcel) this.#parcels.set(entry.clientId, parcel);
    this.#keep(entry);
    this.#on.added(entry);
    this.#advance(placeOf(entry));
    return entry;
  }

  /** The person tries a failed message again; what was lost of its files is left out. */
  retry(clientId) {
    const entry = this.#entries.get(clientId);
    const isLost = entry && entry.missing.length > 0 && !this.#parcels.has(clientId);
    if (entry?.state !== "failed" || (isLost && isEmpty(entry))) return;
    const missing = isLost ? [] : entry.missing;
    this.#change(entry, { state: "waiting", error: null, tries: 0, missing });
    this.#advance(placeOf(entry));
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

  /** Until when the next message of a room has to wait, as the server asked; null where it need not. */
  waitOf(room) {
    return this.entries.find((entry) => entry.room === room && entry.until)?.until ?? null;
  }

  resume() {
    this.#connected = true;
    for (const place of new Set(this.entries.map(placeOf))) this.#advance(place);
  }

  pause() {
    this.#connected = false;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  // --- One place's queue -------------------------------------------------------------------------

  #queue(place) {
    return this.entries.filter((entry) => placeOf(entry) === place);
  }

  #advance(place) {
    const [entry] = this.#queue(place);
    if (!this.#connected || entry?.state !== "waiting" || this.#timers.has(place)) return;
    if (this.#parcels.has(entry.clientId)) this.#upload(entry);
    else this.#post(entry);
  }

  async #upload(entry) {
    const { clientId } = entry;
    this.#change(entry, { state: "uploading", tries: entry.tries + 1, until: null });
    try {
      const attachments = await this.#parcels.get(clientId).whole();
      this.#parcels.delete(clientId);
      const current = this.#entries.get(clientId);
      if (current) this.#keep(this.#change(current, { attachments, missing: [], state: "waiting", tries: 0 }));
    } catch (refusal) {
      this.#refused(clientId, refusal);
    }
    this.#advance(placeOf(entry));
  }

  async #post(entry) {
    this.#change(entry, { state: "sending", tries: entry.tries + 1, until: null });
    try {
      await this.#send(requestOf(entry));
      this.settle(entry.clientId);
    } catch (refusal) {
      this.#refused(entry.clientId, refusal);
    }
    this.#advance(placeOf(entry));
  }

  #refused(clientId, refusal) {
    const entry = this.#entries.get(clientId);
    if (!entry) return; // its event came before the answer
    if (!refusal.passing) {
      this.#change(entry, { state: "failed", error: refusal.message });
      return;
    }
    this.#change(entry, { state: "waiting" });
    if (this.#connected) this.#pausePlace(entry, refusal);
  }

  #pausePlace(entry, refusal) {
    const place = placeOf(entry);
    const growing = RETRY_MS[Math.min(entry.tries - 1, RETRY_MS.length - 1)];
    const wait = Math.max(growing, (refusal.retryAfter ?? 0) * 1000);
    const cancel = this.#clock.after(wait, () => {
      this.#timers.delete(place);
      this.#advance(place);
    });
    this.#timers.set(place, cancel);
    const current = this.#entries.get(entry.clientId);
    if (refusal.retryAfter) this.#change(current, { until: this.#clock.now() + wait });
  }

  // --- Tabs --------------------------------------------------------------------------------------

  /** This tab's name; its lock is let go with the page. */
  #nameTab() {
    if (!this.#locks || this.#tab) return this.#tab;
    this.#tab = this.#clock.uuid();
    this.#locks.request(this.#prefix + this.#tab, () => new Promise(() => {})).catch(() => {});
    return this.#tab;
  }

  #onceGone(tab, action) {
    if (tab === null || !this.#locks) action();
    else this.#locks.request(this.#prefix + tab, action).catch(action);
  }

  #stored() {
    const found = this.#storage.under(this.#prefix).map(parseEntry).filter(Boolean);
    return found.sort((a, b) => a.at - b.at || a.order - b.order);
  }

  #adoptFrom(tab) {
    for (const entry of this.#stored()) {
      if (entry.tab !== tab || this.#entries.has(entry.clientId)) continue;
      const adopted = { ...entry, ...stateAfterReload(entry), adopted: true };
      this.#entries.set(entry.clientId, adopted);
      this.#on.added(adopted);
      this.#advance(placeOf(adopted));
    }
  }

  // --- Entries -----------------------------------------------------------------------------------

  /** Entries are replaced, never changed, so that whoever holds one may compare. */
  #change(entry, fields) {
    const next = { ...entry, ...fields };
    this.#entries.set(next.clientId, next);
    this.#on.changed(next);
    return next;
  }

  #drop(entry, ending) {
    this.#entries.delete(entry.clientId);
    this.#parcels.get(entry.clientId)?.cancel();
    this.#parcels.delete(entry.clientId);
    this.#storage.remove(this.#prefix + entry.clientId);
    this.#on[ending](entry);
    this.#advance(placeOf(entry));
  }

  #keep(entry) {
    const kept = Object.fromEntries(KEPT.map((name) => [name, entry[name]]));
    this.#storage.set(this.#prefix + entry.clientId, JSON.stringify(kept));
  }
}

const KEPT = "clientId room body reply_to thread attachments missing at order tab".split(" ");

/** No room's name has a space in it. */
function placeOf({ room, thread }) {
  return thread ? `${room} ${thread}` : room;
}

/** The fields of `post`: a message says nothing of what it has not. */
function requestOf({ clientId, room, body, reply_to, thread, attachments }) {
  return {
    room,
    client_id: clientId,
    body,
    ...(reply_to && { reply_to }),
    ...(thread && { thread }),
    ...(attachments.length > 0 && { attachments: attachments.map(({ id }) => id) }),
  };
}

function isEmpty({ body, attachments }) {
  return !body && attachments.length === 0;
}

/** Files that were not uploaded went with the page that held them. */
function stateAfterReload({ missing }) {
  if (missing.length === 0) return { state: "waiting", error: null };
  const names = missing.map((name) => `“${name}”`).join(", ");
  const fate = `The page was closed before ${names} had been uploaded.`;
  return { state: "failed", error: `${fate} Attach it again, or send the rest.` };
}

function parseEntry(text) {
  try {
    const { clientId, room, body, at, order = 0, ...rest } = JSON.parse(text);
    const isWhole = [clientId, room, body].every((part) => typeof part === "string");
    if (!isWhole) return null;
    const { reply_to = null, thread = null, attachments = [], missing = [], tab = null } = rest;
    const found = { clientId, room, body, reply_to, thread, at: Number(at) || 0, order, tab };
    return { ...found, attachments: [...attachments], missing: [...missing], until: null, tries: 0 };
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
