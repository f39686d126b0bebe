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

  /**
   * @param {object} o
   * @param {string} o.url
   * @param {string} o.user   whose unsent messages lie in the storage
   * @param {object} o.on     changed(), ready(), arrived(event), stopped(verdict), failing(times)
   */
  constructor({ url, user, storage, on, clock = systemClock, WebSocket = globalThis.WebSocket }) {
    this.#on = on;
    this.#clock = clock;
    this.state = store.initial();
    this.lostAt = clock.now();
    this.connection = new Connection({ url, on: this.#hear(), clock, WebSocket });
    this.outbox = new Outbox({ storage, user, on: this.#echo(), clock, send: (post) => this.#post(post) });
    this.catchUp = new CatchUp({ client: this, clock });
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

  get room() {
    return store.roomOf(this.state, this.state.open);
  }

  // --- What the person does -------------------------------------------------------------------------

  open(slug) {
    this.dispatch({ type: "opened", room: slug });
    this.catchUp.pursue();
  }

  /** Whether somebody sees the newest message of the open room. */
  attend(value) {
    if (value !== this.state.attending) this.dispatch({ type: "attending", value });
    if (value) this.dispatch({ type: "trimmed", room: this.state.open });
    this.catchUp.pursue();
  }

  away() {
    this.dispatch({ type: "away" });
  }

  write(body) {
    return this.outbox.add({ room: this.state.open, body });
  }

  typing() {
    if (this.connection.isOpen) this.ask("typing", { room: this.state.open });
  }

  async create({ room, name, kind, members }) {
    const fields = members ? { room, name, kind, members } : { room, name, kind };
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
      state: (state) => this.#entered(state),
    };
  }

  #ready(ready, forget) {
    this.dispatch({ type: "ready", ready, forget });
    for (const { room, read = 0 } of ready.rooms) this.catchUp.known(room, read);
    for (const entry of this.outbox.entries) this.dispatch({ type: "echo.added", entry });
    this.#on.ready();
    this.outbox.resume();
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
