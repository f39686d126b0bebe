/** Asks the server for what the state lacks, and tells it what was read. Each at most once at a time. */

import * as store from "./store.js";

const READ_AFTER_MS = 400;
const SYNC_ROOMS = 20;
const SYNC_LIMIT = 200;
const HISTORY_LIMIT = 50;
const SCROLLED_LIMIT = 25; // so that what scrolling brings is drawn within a few frames
const AROUND = HISTORY_LIMIT / 2; // events after a message that is gone to
const MOST_PAGES = 8; // where long messages make short pages

export class CatchUp {
  #client;
  #clock;
  #syncing = false;
  #loading = new Set();
  #marks = new Map(); // room → the highest `read` the server knows
  #reading = false;
  #learning = false;

  constructor({ client, clock }) {
    this.#client = client;
    this.#clock = clock;
  }

  pursue() {
    const { state, room, connection } = this.#client;
    if (!connection.isOpen) return;
    this.#sync(state);
    if (room && store.needsHistory(room)) this.history();
    if (room) this.#learnQuotes(room);
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

  // --- The past -------------------------------------------------------------------------------------

  /** The page before the first event on screen. */
  async history() {
    const { room } = this.#client;
    if (!room) return;
    const limit = room.window || room.asked ? SCROLLED_LIMIT : HISTORY_LIMIT;
    await this.#load(room.slug, () => this.#before(room.slug, store.shown(room).first, limit));
  }

  /** The page after the last event on screen, where that is not the newest part of the log. */
  async newer() {
    const { room } = this.#client;
    if (!room?.window) return;
    const { last } = room.window;
    await this.#load(room.slug, () => this.#reaching(room.slug, last + SCROLLED_LIMIT + 1, last + 1));
  }

  /** Events on both sides of a number; null where there is no answer. */
  async around(slug, seq) {
    return this.#reaching(slug, seq + AROUND + 1, Math.max(1, seq - 1));
  }

  /** One request for a room at a time: scrolling asks again and again. */
  async #load(slug, ask) {
    if (!this.#client.connection.isOpen || this.#loading.has(slug)) return;
    this.#loading.add(slug);
    const answer = await ask();
    this.#loading.delete(slug);
    if (answer !== null) this.#client.dispatch({ type: "history", room: slug, ...answer });
    this.pursue();
  }

  async #before(room, before, limit = HISTORY_LIMIT) {
    const answer = await this.#client.ask("history", { room, before, limit });
    return answer && { events: answer.events, later: answer.later ?? [], more: answer.more };
  }

  /** The events before a number, down to another: a page of long messages holds few of them. */
  async #reaching(slug, before, wanted) {
    let whole = await this.#before(slug, before);
    for (let pages = 1; whole && pages < MOST_PAGES; pages += 1) {
      const first = whole.events[0]?.seq ?? wanted;
      if (first <= wanted) break;
      const page = await this.#before(slug, first, Math.min(HISTORY_LIMIT, first - wanted));
      if (page === null) return null;
      whole = {
        events: [...page.events, ...whole.events],
        later: [...page.later, ...whole.later],
        more: page.more,
      };
    }
    return whole;
  }

  /** What is quoted on screen and lies elsewhere, one after the other. */
  async #learnQuotes(room) {
    const [wanted] = store.unknownQuotes(room);
    if (!wanted || this.#learning) return;
    this.#learning = true;
    await this.learn(room.slug, wanted);
    this.#learning = false;
    if (this.#client.room) this.#learnQuotes(this.#client.room);
  }

  /** Gets to know one message, wherever in the log it is. */
  async learn(slug, wanted) {
    const answer = await this.#client.attempt("thread", { room: slug, message: wanted });
    if (answer.refusal?.passing) return;
    const { events = [], later = [] } = answer;
    this.#client.dispatch({ type: "learned", room: slug, wanted, events, later });
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
