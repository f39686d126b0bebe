/**
 * Keys that wait for their certificate, kept in this browser (IndexedDB) under the SHA-256 of the
 * link's token, until the file is saved. No other page of the web can read them; whoever uses this
 * browser under the same account can, as with any key it holds.
 *
 * Where the browser keeps nothing, they live in this page alone, and `isLasting` is false.
 */

const NAME = "signet-enrolment";
const KEYS = "keys";
const LONGEST_MS = 35 * 24 * 3600 * 1000; // longer than any link and its answer live

export class KeyStore {
  #database;
  #memory = new Map();

  constructor({ indexedDB = globalThis.indexedDB, now = Date.now } = {}) {
    this.now = now;
    this.#database = open(indexedDB).catch(() => null);
  }

  static async idOf(token) {
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  get isLasting() {
    return this.#database.then(Boolean);
  }

  async get(id) {
    const found = await this.#do("readonly", (keys) => keys.get(id)).catch(() => undefined);
    return found ?? this.#memory.get(id);
  }

  /** Keeps the record unless there is one: two windows with one link share the first one's key. */
  async keep(record) {
    const kept = { ...record, keptAt: this.now() };
    try {
      await this.#do("readwrite", (keys) => keys.add(kept));
    } catch {
      // There is one already, or this browser is out of space.
    }
    const found = (await this.get(record.id)) ?? kept;
    this.#memory.set(record.id, found);
    return found;
  }

  async remove(id) {
    this.#memory.delete(id);
    await this.#do("readwrite", (keys) => keys.delete(id));
  }

  /** Removes what nobody came back for. */
  async sweep() {
    const oldest = this.now() - LONGEST_MS;
    const records = await this.#do("readonly", (keys) => keys.getAll()).catch(() => []);
    for (const { id, keptAt } of records ?? []) if (keptAt < oldest) await this.remove(id);
  }

  async #do(mode, work) {
    const database = await this.#database;
    if (!database) return undefined;
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(KEYS, mode, { durability: "strict" });
      const request = work(transaction.objectStore(KEYS));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

function open(indexedDB) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(KEYS, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
