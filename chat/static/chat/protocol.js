/**
 * The chat socket, version 1, as the browser speaks it; twin of chat/protocol.py.
 *
 * No socket and no page here: text in, plain objects out, and what each close code means.
 */

export const SUBPROTOCOL = "signet.v1.json";

export const DEFAULTS = {
  heartbeat: 25,
  limits: { body_bytes: 16384, frame_bytes: 65536, rate: 30, burst: 200, silence: 600 },
};

/** What the server answered instead of doing what it was asked; `code` as in the contract. */
export class Refusal extends Error {
  constructor(code, detail = "", retryAfter = null) {
    super(detail || SENTENCES.get(code) || "The server refused this.");
    this.name = "Refusal";
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later, unchanged. */
  get passing() {
    return PASSING.has(this.code);
  }
}

/** `disconnected` and `timeout` are ours: the server may have heard the request or not. */
const PASSING = new Set(["rate_limited", "unavailable", "disconnected", "timeout"]);

const SENTENCES = new Map(Object.entries({
  bad_request: "The server did not understand this.",
  unknown_op: "The server does not know how to do this.",
  not_found: "There is no such room, or it is not open to you.",
  not_allowed: "You may not do this here.",
  too_large: "This is too long.",
  rate_limited: "That was too fast. It goes out in a moment.",
  client_id_conflict: "Another message was already sent under this number.",
  unavailable: "The server cannot do this just now.",
  disconnected: "The connection broke.",
  timeout: "The server did not answer in time.",
}));

export function encode(ref, op, fields) {
  return JSON.stringify({ ...fields, op, ref });
}

export function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/**
 * Reads one frame. The `kind` of the result is reply, ready, event, heads, read, typing, room (one the
 * person is in from now on), gone (one they are in no more), presence (who is here), certificate (one
 * that stands otherwise now), or unknown for whatever a newer server may say or a broken one garbles.
 */
export function parse(frame) {
  const message = parseObject(frame);
  if (message === null) return { kind: "unknown" };
  if ("ev" in message) return READERS.get(message.ev)?.(message) ?? { kind: "unknown" };
  return "ref" in message ? readReply(message) : { kind: "unknown" };
}

function parseObject(frame) {
  if (typeof frame !== "string") return null;
  try {
    const value = JSON.parse(frame);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

const READERS = new Map(Object.entries({
  ready: (m) =>
    isObject(m.user) && Array.isArray(m.rooms)
      ? {
          kind: "ready",
          user: m.user,
          certificate: m.certificate ?? {},
          rooms: m.rooms.filter((room) => isObject(room) && typeof room.room === "string"),
          limits: { ...DEFAULTS.limits, ...m.limits },
          heartbeat: m.heartbeat > 0 ? m.heartbeat : DEFAULTS.heartbeat,
          epoch: m.epoch ?? null,
        }
      : null,
  event: (m) => (isEvent(m) ? { kind: "event", event: m } : null),
  heads: (m) => (isObject(m.rooms) ? { kind: "heads", rooms: m.rooms } : null),
  read: (m) =>
    typeof m.room === "string" && isSeq(m.seq) ? { kind: "read", room: m.room, seq: m.seq } : null,
  typing: (m) =>
    typeof m.room === "string" && isObject(m.user)
      ? { kind: "typing", room: m.room, user: m.user }
      : null,
  room: (m) => (typeof m.room === "string" ? { kind: "room", room: m } : null),
  gone: (m) => (typeof m.room === "string" ? { kind: "gone", room: m.room } : null),
  presence: (m) => (isObject(m.people) ? { kind: "presence", people: m.people } : null),
  certificate: (m) =>
    typeof m.serial === "string" && typeof m.state === "string"
      ? { kind: "certificate", serial: m.serial, state: m.state, at: m.at }
      : null,
}));

function readReply(message) {
  if (message.ok === true) return { kind: "reply", ref: message.ref, result: message };
  const { code = "bad_request", detail = "", retry_after: wait = null } = message.error ?? {};
  return { kind: "reply", ref: message.ref, refusal: new Refusal(code, detail, wait) };
}

/** A numbered event, as pushed and as found in replies. */
function isEvent(value) {
  return (
    isObject(value) &&
    typeof value.room === "string" &&
    typeof value.type === "string" &&
    isSeq(value.seq) &&
    isObject(value.by) &&
    isObject(value.data)
  );
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSeq(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

/**
 * What a close means. `action` is
 *   reconnect  come back after a random part of a growing wait, at least `floor` seconds
 *   resync     the same, and forget the rooms' logs first
 *   stop       stay away and show `title`, `sentence` and `steps`
 */
export function verdict(code) {
  const known = CLOSES[code];
  if (known) return { code, ...known };
  if (code >= 4500 && code <= 4999) return { code, ...UNKNOWN_STOP };
  return { code, action: "reconnect", floor: 0 };
}

const UNKNOWN_STOP = {
  action: "stop",
  title: "The server closed this page",
  sentence: "The server ended the connection and asked this page not to come back by itself.",
  steps: ["Reload the page. If that does not help, tell your administrator the number below."],
};

const CLOSES = {
  1001: { action: "reconnect", floor: 1 },
  1009: { action: "reconnect", floor: 1 },
  1012: { action: "reconnect", floor: 1 },
  1013: { action: "reconnect", floor: 5 },
  4001: { action: "resync", floor: 0 },
  4008: { action: "reconnect", floor: 0 },
  4029: { action: "reconnect", floor: 10 },
  4030: { action: "reconnect", floor: 3 },
  4500: {
    action: "stop",
    title: "This page is out of step",
    sentence: "The page sent something the server does not understand, so the server hung up.",
    steps: [
      "Reload the page to get its current version. Messages that were not sent yet are kept.",
      "If it happens again, tell your administrator.",
    ],
  },
  4501: {
    action: "stop",
    title: "Certificate revoked",
    sentence: "Your certificate was revoked. This page is closed.",
    steps: [
      "If you revoked it yourself, open Signet on a device whose certificate is still good.",
      "If you did not expect this, ask your administrator for a new enrolment link.",
      "With a new certificate installed, close all windows of the browser and come back.",
    ],
  },
  4502: {
    action: "stop",
    title: "Certificate expired",
    sentence: "Your certificate reached the end of its time. This page is closed.",
    steps: [
      "Ask your administrator for a new enrolment link, or make one on another of your devices.",
      "With the new certificate installed, close all windows of the browser and come back.",
    ],
  },
  4503: {
    action: "stop",
    title: "Account disabled",
    sentence: "An administrator disabled your account. This page is closed.",
    steps: ["If you think this is a mistake, speak to your administrator."],
  },
  4504: {
    action: "stop",
    title: "No certificate",
    sentence: "Signet knows people by their certificates, and this connection came without one.",
    steps: [
      "Close all windows of the browser: it remembers that no certificate was chosen.",
      "Open Signet again and choose your certificate when the browser asks.",
      "If you have none yet, ask your administrator for an enrolment link.",
    ],
  },
  4505: {
    action: "stop",
    title: "Certificate not trusted",
    sentence: "The browser sent a certificate that this organisation did not issue for signing in.",
    steps: [
      "Close all windows of the browser: it remembers the certificate that was chosen.",
      "Open Signet again and choose the certificate that was issued here.",
    ],
  },
  4506: {
    action: "stop",
    title: "Device signed out",
    sentence: "This device was signed out: here, from another of your devices, or by an administrator. This page is closed.",
    steps: ["Reload the page to sign in again."],
  },
  4510: {
    action: "stop",
    title: "Too many connections",
    sentence: "You have more connections open than one person may have.",
    steps: ["Close Signet in other tabs, windows or devices, then reload this page."],
  },
};
