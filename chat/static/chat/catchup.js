/** Asks the server for what the state lacks, and tells it what was read. Each at most once at a time. */

import * as store from "./store.js";

const READ_AFTER_MS = 400;
const SYNC_ROOMS = 20;
const SYNC_LIMIT = 200;
const HISTORY_LIMIT = 50;

export class CatchUp {
  #client;
  #clock;
  #syncing = false;
  #loading = new Set();
  #marks = new Map(); // room → the highest `read` the server knows
  #reading = false;

  constructor({ client, clock }) {
    this.#client = client;
    this.#clock = clock;
  }

  pursue() {
    const { state, room, connection } = this.#client;
    if (!connection.isOpen) return;
    this.#sync(state);
    if (room && store.needsHistory(room)) this.history();
    if (room) this.#sendRead(room.slug);
  }

  // --- Numbers that are missing ---------------------------------------------------------------------

  async #sync(state) {
    const behind = Object.entries(store.behind(state));
    if (this.#syncing || behind.length === 0) return;
    this.#syncing = true;
    behind.sort(([a], [b]) => (b === state.open) - (a === state.open));
    const rooms = Object.fromEntries(behind.slice(0, SYNC_ROOMS));
    const answer = await this.#client.ask("sync", { rooms, limit: SYNC_LIMIT });
    this.#syncing = false;
    if (answer !== null) this.#synced(answer);
  }

  /** Goes on while that helps; where it does not, the next beat tries again. */
  #synced(answer) {
    const before = this.#client.state;
    this.#client.dispatch({ type: "sync", rooms: answer.rooms });
    this.#client.settle(Object.values(answer.rooms).flatMap((room) => room.events ?? []));
    if (this.#client.state !== before) this.pursue();
  }

  /** The page before the first event of the open room. */
  async history() {
    const { room, connection } = this.#client;
    if (!room || !connection.isOpen || this.#loading.has(room.slug)) return;
    this.#loading.add(room.slug);
    const { slug, first: before } = room;
    const answer = await this.#client.ask("history", { room: slug, before, limit: HISTORY_LIMIT });
    this.#loading.delete(slug);
    if (answer === null) return;
    const { events, more } = answer;
    this.#client.dispatch({ type: "history", room: slug, events, more });
  }

  // --- Reading ----------------------------------------------------------------------------------------

  known(room, seq) {
    this.#marks.set(room, Math.max(seq, this.#marks.get(room) ?? 0));
  }

  #isNews(slug) {
    const room = store.roomOf(this.#client.state, slug);
    return room && room.read > (this.#marks.get(slug) ?? 0);
  }

  #sendRead(slug) {
    if (this.#reading || !this.#isNews(slug)) return;
    this.#reading = true;
    this.#clock.after(READ_AFTER_MS, async () => {
      const seq = store.roomOf(this.#client.state, slug)?.read;
      const answer = seq && (await this.#client.ask("read", { room: slug, seq }));
      if (answer) this.known(slug, seq);
      this.#reading = false;
      if (answer) this.pursue();
    });
  }
}
