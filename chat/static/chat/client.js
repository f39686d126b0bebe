/**
 * A whole chat client without a page: socket, store and outbox tied together, asking the server for
 * whatever turns out to be missing. What it shows is `state`; `on.changed` says that it moved.
 */

import { CatchUp } from "./catchup.js";
import { Outbox, systemClock } from "./outbox.js";
import { Connection } from "./socket.js";
import * as store from "./store.js";

export class Client {
  #on;
  #clock;
  #wasOpen = false;
  #sought = null; // the room in which the first unread message is being looked for
  #wanted = null; // a message to go to as soon as there is a connection

  /**
   * @param {object} o
   * @param {string} o.url
   * @param {string} o.user   whose unsent messages lie in the storage
   * @param {object} o.on     changed(), ready(), arrived(event), stopped(verdict), failing(times),
   *   presence({people}), certificate({serial, state, at})
   */
  constructor({ url, user, storage, on, clock = systemClock, WebSocket = globalThis.WebSocket }) {
    this.#on = on;
    this.#clock = clock;
    this.state = store.initial();
    this.lostAt = clock.now();
    this.connection = new Connection({ url, on: this.#hear(), clock, WebSocket });
    this.outbox = new Outbox({ storage, user, on: this.#echo(), clock, send: (post) => this.#post(post) });
    this.catchUp = new CatchUp({ client: this, clock, rested: () => on.changed() });
  }

  /** What the page came with, in the shapes of the wire: rooms, and the end of the open one's log. */
  seed({ log, ...ready }) {
    this.dispatch({ type: "ready", ready });
    if (log === null) return;
    this.dispatch({ type: "sync", rooms: log.sync.rooms });
    this.dispatch({ type: "history", ...log.history });
    this.#resumeReading();
  }

  start() {
    this.outbox.restore();
    this.connection.connect();
  }

  dispatch(action) {
    const before = this.state;
    this.state = store.reduce(before, action);
    if (this.state !== before) this.#on.changed();
  }

  /** The answer, or null where there is none: what is missing is asked for again at the next beat. */
  async ask(op, fields) {
    try {
      return await this.connection.request(op, fields);
    } catch {
      return null;
    }
  }

  /** The answer, or {refusal} where the server said no. */
  async attempt(op, fields) {
    return this.connection.request(op, fields).catch((refusal) => ({ refusal }));
  }

  /** The answer; raises the Refusal that says why not. */
  request(op, fields) {
    return this.connection.request(op, fields);
  }

  get room() {
    return store.roomOf(this.state, this.state.open);
  }

  // --- What the person does -------------------------------------------------------------------------

  /** A room, at the first message that was not read: also where that is far back. */
  open(slug) {
    const isOther = slug !== this.state.open;
    this.#wanted = null;
    this.dispatch({ type: "opened", room: slug });
    if (isOther) this.#resumeReading();
    this.catchUp.pursue();
  }

  /**
   * A message of a room by its number, however far back; without a connection, as soon as there is
   * one. Answers {message, thread} for what is there: for an answer in a thread, `thread` is the
   * message that it stands under, and that one is gone to. Null where there is nothing.
   */
  async goTo(slug, seq) {
    if (slug !== this.state.open) this.dispatch({ type: "opened", room: slug });
    if (!this.connection.isOpen || !this.room) {
      this.#wanted = { slug, seq };
      return null;
    }
    this.#wanted = null;
    await this.#show(slug, Math.min(seq, Math.max(1, this.room.head)), { isTarget: true });
    const event = this.room && this.state.open === slug && store.eventAt(this.room, seq);
    if (!event) return null;
    const thread = event.data.thread ?? null;
    if (thread) await this.#showRoot(slug, thread);
    return { message: event.id, thread };
  }

  /** Back from far in the past. */
  toNewest() {
    this.dispatch({ type: "window.closed", room: this.state.open });
    this.catchUp.pursue();
  }

  /** What the page was opened for: a message, or the first unread one of a room far behind. */
  #resumeReading() {
    if (this.#wanted && this.connection.isOpen) this.goTo(this.#wanted.slug, this.#wanted.seq);
    else if (this.room && !this.room.window && store.isFarBehind(this.room)) this.#seek(this.room);
    else this.dispatch({ type: "seeking", room: this.state.open, value: false });
  }

  /** Nothing counts as seen before the place is found, be it that a connection has to come first. */
  async #seek({ slug, read }) {
    this.dispatch({ type: "seeking", room: slug, value: true });
    if (!this.connection.isOpen || this.#sought === slug) return;
    this.#sought = slug;
    await this.#show(slug, read + 1, { isTarget: false });
    this.#sought = null;
    this.catchUp.pursue();
  }

  async #show(slug, seq, { isTarget }) {
    if (this.room?.slug === slug && store.covers(this.room, seq)) {
      if (isTarget) this.dispatch({ type: "targeted", room: slug, seq });
    } else {
      const page = await this.catchUp.around(slug, seq);
      const target = isTarget ? seq : null;
      if (page !== null && this.state.open === slug) {
        this.dispatch({ type: "window.opened", room: slug, target, ...page });
      }
    }
    if (this.connection.isOpen) this.dispatch({ type: "seeking", room: slug, value: false });
  }

  async #showRoot(slug, id) {
    if (!store.messageOf(this.room, id)) await this.catchUp.learn(slug, id);
    const root = this.room && store.messageOf(this.room, id);
    if (root) await this.#show(slug, root.seq, { isTarget: true });
  }

  /** A quoted message by its id, where its number is not known; false where there is none. */
  async goToQuoted(slug, id) {
    if (!store.messageOf(this.room, id)) await this.catchUp.learn(slug, id);
    const quoted = this.room && store.messageOf(this.room, id);
    if (!quoted) return !this.room?.unfound.includes(id);
    await this.goTo(slug, quoted.seq);
    return true;
  }

  // --- What is done with a message ----------------------------------------------------------------

  /** Raises the Refusal that says why not. */
  async react({ room, id }, emoji) {
    this.learn((await this.request("react", { room, message: id, emoji })).event);
  }

  async unreact({ room, id }, emoji) {
    this.learn((await this.request("unreact", { room, message: id, emoji })).event);
  }

  async pin({ room, id }) {
    this.learn((await this.request("pin", { room, message: id })).event);
  }

  async unpin({ room, id }) {
    this.learn((await this.request("unpin", { room, message: id })).event);
  }

  async edit({ room, id }, body) {
    this.learn((await this.request("edit", { room, message: id, body })).event);
  }

  async remove({ room, id }, reason = "") {
    const fields = { room, message: id, ...(reason && { reason }) };
    this.learn((await this.request("delete", fields)).event);
  }

  async report({ room, id }, reason) {
    await this.request("report", { room, message: id, reason });
  }

  /** On this device alone, until the room is read again: the server's mark never goes back. */
  markUnread({ room, seq }) {
    this.dispatch({ type: "unread", room, seq });
  }

  /** Whether somebody sees the newest message of the open room. */
  attend(value) {
    if (value !== this.state.attending) this.dispatch({ type: "attending", value });
    if (value) this.dispatch({ type: "trimmed", room: this.state.open });
    this.catchUp.pursue();
  }

  /** Nothing waits any more, in any room. */
  readAll() {
    for (const room of Object.values(this.state.rooms)) {
      if (room.read >= room.head && store.unread(this.state, room) === 0) continue;
      this.dispatch({ type: "read", room: room.slug, seq: room.head });
      this.catchUp.noteRead(room.slug);
    }
    this.catchUp.pursue();
  }

  away() {
    this.dispatch({ type: "away" });
  }

  /** @param {object} post  room, reply_to, thread, attachments, parcel; as the outbox takes them */
  write(body, post = {}) {
    return this.outbox.add({ room: this.state.open, ...post, body });
  }

  typing() {
    if (this.connection.isOpen) this.ask("typing", { room: this.state.open });
  }

  async create(fields) {
    const { event } = await this.connection.request("create", fields);
    this.learn(event);
    return event.room;
  }

  async join(room) {
    this.learn((await this.connection.request("join", { room })).event);
  }

  async leave(room) {
    await this.connection.request("leave", { room });
    this.dispatch({ type: "room.removed", room });
  }

  // --- What the server says --------------------------------------------------------------------------

  #hear() {
    return {
      ready: (ready, { forget }) => this.#ready(ready, forget),
      event: ({ event }) => this.#arrived(event),
      heads: ({ rooms }) => {
        this.dispatch({ type: "heads", rooms });
        this.catchUp.pursue();
      },
      read: ({ room, seq }) => {
        this.catchUp.known(room, seq);
        this.dispatch({ type: "read", room, seq });
      },
      typing: ({ room, user }) => this.#typing(room, user),
      room: ({ room }) => {
        this.dispatch({ type: "room.added", room });
        this.catchUp.known(room.room, room.read ?? 0);
        this.catchUp.pursue();
      },
      gone: ({ room }) => this.dispatch({ type: "room.removed", room }),
      presence: (told) => this.#on.presence?.(told),
      certificate: (told) => this.#on.certificate?.(told),
      state: (state) => this.#entered(state),
    };
  }

  #ready(ready, forget) {
    this.dispatch({ type: "ready", ready, forget });
    this.catchUp.begin(ready.rooms);
    for (const entry of this.outbox.entries) this.dispatch({ type: "echo.added", entry });
    this.#on.ready();
    this.outbox.resume();
    this.#resumeReading();
    this.catchUp.pursue();
  }

  #arrived(event) {
    const known = store.roomOf(this.state, event.room);
    const isNew = !known || event.seq > known.last;
    this.learn(event);
    if (isNew) this.#on.arrived(event);
  }

  /** Takes an event in, wherever it came from. */
  learn(event) {
    this.dispatch({ type: "event", event });
    this.settle([event]);
    this.catchUp.pursue();
  }

  /** A stored message of ours needs no more sending. */
  settle(events) {
    for (const event of events) {
      const clientId = event.by.id === this.state.me?.id && event.data.client_id;
      if (clientId) this.outbox.settle(clientId);
    }
  }

  #typing(room, user) {
    this.dispatch({ type: "typing", room, user, at: this.#clock.now() });
    const expire = () => this.dispatch({ type: "typing.expired", at: this.#clock.now() });
    this.#clock.after(store.TYPING_MS, expire);
  }

  #entered(state) {
    if (state.name !== "open") this.outbox.pause();
    if (state.name === "open" || this.#wasOpen) this.lostAt = this.#clock.now();
    this.#wasOpen = state.name === "open";
    if (state.name === "stopped") this.#on.stopped(state.verdict);
    else this.#on.changed();
    if (state.failures) this.#on.failing(state.failures);
  }

  // --- Messages on their way --------------------------------------------------------------------------

  async #post(post) {
    this.learn((await this.connection.request("post", post)).event);
  }

  #echo() {
    return {
      added: (entry) => this.dispatch({ type: "echo.added", entry }),
      changed: (entry) => this.dispatch({ type: "echo.changed", entry }),
      stored: (entry) => this.dispatch({ type: "echo.changed", entry: { ...entry, state: "sent" } }),
      deleted: ({ room, clientId }) => this.dispatch({ type: "echo.dropped", room, clientId }),
    };
  }
}
