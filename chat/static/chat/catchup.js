/** Asks the server for what the state lacks, and tells it what was read. Each at most once at a time. */

import * as store from "./store.js";

const READ_AFTER_MS = 400;
const SYNC_ROOMS = 20;
const MOST_EVENTS = 200; // that an answer holds
const HISTORY_LIMIT = 50;
const SCROLLED_LIMIT = 25; // so that what scrolling brings is drawn within a few frames
const AROUND = HISTORY_LIMIT / 2; // events after a message that is gone to
const MOST_PAGES = 8; // where long messages make short pages
const REST_S = 5; // after a refusal that does not say how long to wait

export class CatchUp {
  #client;
  #clock;
  #rested;
  #syncing = false;
  #loading = new Set();
  #marks = new Map(); // room → the highest `read` the server knows
  #untold = new Set(); // rooms in which more was read than that
  #reading = false;
  #learning = false;
  #endRest = null; // while nothing is asked for, because something was refused

  /** @param {Function} rested  what was refused may be asked for again */
  constructor({ client, clock, rested }) {
    this.#client = client;
    this.#clock = clock;
    this.#rested = rested;
  }

  /** A new connection: the server says what it knows, and an older refusal holds no more. */
  begin(rooms) {
    this.#endRest?.();
    this.#endRest = null;
    for (const { room, read = 0 } of rooms) this.known(room, read);
  }

  pursue() {
    const { state, room } = this.#client;
    if (room) this.noteRead(room.slug);
    if (!this.#mayAsk) return;
    this.#sync(state);
    if (room && store.needsHistory(room)) this.history();
    if (room) this.#learnQuotes(room);
    this.#sendReads();
  }

  get #mayAsk() {
    return this.#client.connection.isOpen && this.#endRest === null;
  }

  /** The answer, or {refusal}: after one that passes nothing is asked for until then. */
  async #ask(op, fields) {
    const answer = await this.#client.attempt(op, fields);
    if (answer.refusal?.passing && this.#client.connection.isOpen) this.#rest(answer.refusal);
    return answer;
  }

  #rest({ retryAfter }) {
    this.#endRest?.();
    this.#endRest = this.#clock.after((retryAfter ?? REST_S) * 1000, () => {
      this.#endRest = null;
      this.#rested();
      this.pursue();
    });
  }

  // --- Numbers that are missing ---------------------------------------------------------------------

  async #sync(state) {
    const behind = Object.entries(store.behind(state));
    if (this.#syncing || behind.length === 0) return;
    this.#syncing = true;
    behind.sort(([a], [b]) => (b === state.open) - (a === state.open));
    const rooms = Object.fromEntries(behind.slice(0, SYNC_ROOMS));
    const answer = await this.#ask("sync", { rooms, limit: MOST_EVENTS });
    this.#syncing = false;
    if (!answer.refusal) this.#synced(answer);
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
    if (!room || store.isFull(room)) return;
    const { first, events } = store.shown(room);
    const limit = room.window || room.asked ? pageBefore(events) : HISTORY_LIMIT;
    await this.#load(room.slug, () => this.#before(room.slug, first, limit));
  }

  /** The page after the last event on screen, where that is not the newest part of the log. */
  async newer() {
    const { room } = this.#client;
    if (!room?.window || store.isFull(room)) return;
    const { last } = room.window;
    await this.#load(room.slug, () => this.#reaching(room.slug, last + SCROLLED_LIMIT + 1, last + 1));
  }

  /** Events on both sides of a number; null where there is no answer. */
  async around(slug, seq) {
    return this.#reaching(slug, seq + AROUND + 1, Math.max(1, seq - 1));
  }

  /** One request for a room at a time: scrolling asks again and again. */
  async #load(slug, ask) {
    if (!this.#mayAsk || this.#loading.has(slug)) return;
    this.#loading.add(slug);
    const answer = await ask();
    this.#loading.delete(slug);
    if (answer === null) return;
    this.#client.dispatch({ type: "history", room: slug, ...answer });
    this.pursue();
  }

  async #before(room, before, limit = HISTORY_LIMIT) {
    const { refusal, events, later = [], more } = await this.#ask("history", { room, before, limit });
    return refusal ? null : { events, later, more };
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

  /** What is quoted on screen and lies elsewhere, one after the other as long as there are answers. */
  async #learnQuotes(room) {
    const [wanted] = store.unknownQuotes(room);
    if (!wanted || this.#learning) return;
    this.#learning = true;
    const isAnswered = await this.learn(room.slug, wanted);
    this.#learning = false;
    if (isAnswered && this.#client.room) this.#learnQuotes(this.#client.room);
  }

  /** Gets to know one message, wherever in the log it is; whether there was an answer, be it no. */
  async learn(slug, wanted) {
    const answer = await this.#ask("thread", { room: slug, message: wanted });
    if (answer.refusal?.passing) return false;
    const { events = [], later = [] } = answer;
    this.#client.dispatch({ type: "learned", room: slug, wanted, events, later });
    return true;
  }

  // --- Reading ----------------------------------------------------------------------------------------

  known(room, seq) {
    this.#marks.set(room, Math.max(seq, this.#marks.get(room) ?? 0));
  }

  #isNews(slug) {
    const room = store.roomOf(this.#client.state, slug);
    return room && room.read > (this.#marks.get(slug) ?? 0);
  }

  /** What was read of a room is told in a moment, though another may be open by then. */
  noteRead(slug) {
    if (this.#isNews(slug)) this.#untold.add(slug);
  }

  #sendReads() {
    if (this.#reading || this.#untold.size === 0) return;
    this.#reading = true;
    this.#clock.after(READ_AFTER_MS, async () => {
      for (const slug of this.#untold) await this.#sendRead(slug);
      this.#reading = false;
      this.pursue();
    });
  }

  async #sendRead(slug) {
    if (!this.#mayAsk) return;
    const seq = store.roomOf(this.#client.state, slug)?.read ?? 0;
    const { refusal } = this.#isNews(slug) ? await this.#ask("read", { room: slug, seq }) : {};
    if (refusal?.passing) return;
    this.known(slug, seq);
    if (!this.#isNews(slug)) this.#untold.delete(slug);
  }
}

/** Little at a time; much where little of it shows. */
function pageBefore(events) {
  const upper = events.slice(0, HISTORY_LIMIT);
  return store.lines(upper).length * 5 < upper.length ? MOST_EVENTS : SCROLLED_LIMIT;
}
