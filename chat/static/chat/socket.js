/**
 * One chat connection that comes back by itself: requests with replies, heartbeats, and waits that
 * grow and are drawn at random so that a restarted server is not stormed.
 */

import { systemClock } from "./outbox.js";
import { DEFAULTS, Refusal, SUBPROTOCOL, encode, parse, verdict } from "./protocol.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const READY_WITHIN = 15_000;
const REPLY_WITHIN = 20_000;
const STEADY_AFTER = 10_000;
const PROBE_WITHIN = 5_000;

/** Full jitter: anything from the floor to the doubled wait of this attempt. */
export function waitBefore(attempt, floor, random) {
  const ceiling = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(attempt, 10));
  return floor * 1000 + random() * ceiling;
}

export class Connection {
  #url;
  #on;
  #clock;
  #WebSocket;
  #socket = null;
  #requests = new Map(); // ref → {resolve, reject, cancel}
  #nextRef = 1;
  #attempt = 0; // since the last steady connection
  #failures = 0; // since the last `ready`
  #heartbeat = DEFAULTS.heartbeat;
  #said = false; // whether we sent anything since the last beat
  #cancels = {}; // by name: wait, ready, silence, steady

  /**
   * @param {object} o
   * @param {string} o.url
   * @param {object} o.on   ready(ready, {forget}), event, heads, read, typing, room, gone, state(state)
   *   where state.name is connecting, open, waiting ({until, failures}) or stopped ({verdict})
   */
  constructor({ url, on, clock = systemClock, WebSocket = globalThis.WebSocket }) {
    this.#url = url;
    this.#on = on;
    this.#clock = clock;
    this.#WebSocket = WebSocket;
    this.state = { name: "idle" };
    this.forget = false;
  }

  get isOpen() {
    return this.state.name === "open";
  }

  connect() {
    if (["connecting", "open", "stopped"].includes(this.state.name)) return;
    this.#cancel("wait");
    this.#enter({ name: "connecting" });
    const socket = new this.#WebSocket(this.#url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#heard(parse(data));
    socket.onclose = ({ code }) => this.#closed(code);
    this.#after("ready", READY_WITHIN, () => this.#abandon());
  }

  /** A sign that the network may be back, or the person asks: no more waiting. */
  retryNow() {
    if (this.state.name === "waiting") this.connect();
  }

  /** Is the other side still there? After sleep a socket may be dead without knowing it. */
  probe() {
    if (!this.isOpen) {
      this.retryNow();
      return;
    }
    this.request("ping", {}, { within: PROBE_WITHIN }).catch((refusal) => {
      if (refusal.code === "timeout") this.#abandon();
    });
  }

  /** Stays away for good, for a reason found elsewhere. */
  stop(reason) {
    this.#detach();
    this.#enter({ name: "stopped", verdict: reason });
  }

  /** Sends a request; the reply, or a Refusal, within a time. */
  request(op, fields = {}, { within = REPLY_WITHIN } = {}) {
    if (!this.isOpen) return Promise.reject(new Refusal("disconnected"));
    const ref = this.#nextRef++;
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(within, () => {
        this.#requests.delete(ref);
        reject(new Refusal("timeout"));
      });
      this.#requests.set(ref, { resolve, reject, cancel });
      this.#said = true;
      this.#socket.send(encode(ref, op, fields));
    });
  }

  // --- What comes in -----------------------------------------------------------------------------

  #heard(message) {
    this.#listen();
    switch (message.kind) {
      case "ready":
        return this.#ready(message);
      case "reply":
        return this.#answered(message);
      case "heads":
        this.#beat();
        return this.#on.heads?.(message);
      case "event":
      case "read":
      case "typing":
      case "room":
      case "gone":
      case "presence":
      case "certificate":
        return this.#on[message.kind]?.(message);
      default:
        return undefined; // a word of a newer server
    }
  }

  #ready(message) {
    this.#cancel("ready");
    this.#heartbeat = message.heartbeat;
    this.#after("steady", STEADY_AFTER, () => (this.#attempt = 0));
    this.#listen();
    this.#enter({ name: "open" });
    const forget = this.forget;
    this.forget = false;
    this.#on.ready?.(message, { forget });
  }

  #answered({ ref, result, refusal }) {
    const request = this.#requests.get(ref);
    if (!request) return;
    this.#requests.delete(ref);
    request.cancel();
    if (refusal) request.reject(refusal);
    else request.resolve(result);
  }

  /** The server's beat drives ours: its frames arrive even where a hidden tab's timers sleep. */
  #beat() {
    if (!this.#said) this.request("ping").catch(() => {});
    this.#said = false;
  }

  /** Two missed beats and a little more, and the connection counts as dead. */
  #listen() {
    this.#after("silence", (this.#heartbeat * 2 + 5) * 1000, () => this.#abandon());
  }

  // --- Ends --------------------------------------------------------------------------------------

  /** Gives up on a socket without waiting for its closing handshake, which may never come. */
  #abandon() {
    const socket = this.#socket;
    this.#closed(1006);
    socket?.close();
  }

  #closed(code) {
    const wasReady = this.isOpen;
    this.#detach();
    const reason = verdict(code);
    if (reason.action === "stop") {
      this.#enter({ name: "stopped", verdict: reason });
      return;
    }
    if (reason.action === "resync") this.forget = true;
    const wait = waitBefore(this.#attempt, reason.floor, this.#clock.random);
    this.#attempt += 1;
    this.#failures = wasReady ? 0 : this.#failures + 1;
    const until = this.#clock.now() + wait;
    this.#enter({ name: "waiting", until, failures: this.#failures });
    this.#after("wait", wait, () => this.connect());
  }

  #detach() {
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = null;
    for (const name of Object.keys(this.#cancels)) this.#cancel(name);
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    this.state = { name: "idle" };
    for (const request of requests) {
      request.cancel();
      request.reject(new Refusal("disconnected"));
    }
  }

  #enter(state) {
    this.state = state;
    this.#on.state?.(state);
  }

  #after(name, ms, action) {
    this.#cancel(name);
    this.#cancels[name] = this.#clock.after(ms, action);
  }

  #cancel(name) {
    this.#cancels[name]?.();
    delete this.#cancels[name];
  }
}
