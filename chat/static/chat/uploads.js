/**
 * Files on their way to the server: in pieces, gone on with after a broken connection where the
 * server says, and taken back when the person changes their mind. No DOM.
 */

import { systemClock } from "./outbox.js";
import { Refusal } from "./protocol.js";
import { sizeWords } from "./sizes.js";

const TRIES = 6; // in a row, for one request
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const FORGERY = 400; // without JSON: the token was renewed meanwhile
const LATE = 408; // the endpoint's: the piece did not arrive in time
const known = new WeakMap(); // fetch → what the server told, or the promise of it

export const fileUrl = (room, { id, name }) =>
  `${address(room)}${encodeURIComponent(id)}/${encodeURIComponent(name)}`;
export const thumbnailUrl = (room, { id }) => `${address(room)}${encodeURIComponent(id)}/thumbnail`;

const address = (room) => `/rooms/${encodeURIComponent(room)}/files/`;

/**
 * What one may upload: {file_bytes, quota_bytes, used_bytes, per_message, chunk_bytes}. Asked once;
 * `used_bytes` is as old as that unless it is asked `again`.
 */
export function limits(room, { fetch = globalThis.fetch, clock, again = false } = {}) {
  if (again || !known.has(fetch)) {
    const asking = ask({ fetch, clock }, address(room), () => ({ cache: "no-store" }));
    known.set(fetch, asking);
    asking.catch(() => known.get(fetch) === asking && known.delete(fetch));
  }
  return known.get(fetch);
}

/**
 * Uploads a File; the attachment {id, name, size, type, width?, height?, thumbnail?} that a post
 * may name. Rejects with a Refusal, whose message is for people, or with the reason of `signal`;
 * then nothing of the file stays on the server.
 *
 * @param {string} room
 * @param {File} file
 * @param {object} o
 * @param {function} o.progress  called with {sent, size}
 * @param {AbortSignal} o.signal
 */
export async function upload(room, file, options = {}) {
  const { progress, signal } = options;
  const line = {
    fetch: options.fetch ?? globalThis.fetch,
    clock: options.clock ?? systemClock,
    signal,
    room,
  };
  signal?.throwIfAborted();
  const { file_bytes: most } = await limits(room, line);
  if (file.size > most) throw new Refusal("too_large", `${file.name} is larger than ${sizeWords(most)}.`);
  const begun = await change(line, address(room), () => ({
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: file.name, size: file.size, type: file.type }),
  }));
  const place = `${address(room)}${begun.id}/`;
  try {
    return await sendAll(line, place, file, begun.chunk_bytes, progress);
  } catch (reason) {
    takeBack(line, place);
    throw reason;
  }
}

async function sendAll(line, place, file, chunkBytes, progress) {
  let sent = 0;
  for (;;) {
    progress?.({ sent, size: file.size });
    const offset = sent;
    const piece = await pieceOf(file, offset, chunkBytes);
    const { received, attachment } = await change(line, `${place}?offset=${offset}`, () => ({
      method: "PUT",
      headers: { "Content-Type": "application/octet-stream" },
      body: piece,
    }));
    if (received === offset) throw new Refusal("unavailable"); // it goes nowhere
    sent = received;
    if (attachment) {
      progress?.({ sent, size: file.size });
      return attachment;
    }
  }
}

/** Read before it is sent: what comes of a changed file in a request looks like a broken connection. */
async function pieceOf(file, offset, most) {
  const end = Math.min(offset + most, file.size);
  const piece = await file.slice(offset, end).arrayBuffer().catch(() => null);
  if (piece?.byteLength === end - offset) return piece;
  throw new Refusal("changed", "The file was changed or removed since it was chosen. Attach it again.");
}

/** Nobody waits for the answer: what is not taken back now, the server removes within an hour. */
function takeBack(line, place) {
  const calm = { ...line, signal: undefined };
  change(calm, place, () => ({ method: "DELETE", keepalive: true }), { tries: 1 }).catch(() => {});
}

/** A request that changes something carries the token against forged ones; a new one if need be. */
async function change(line, url, make, { tries = TRIES } = {}) {
  const again = async (isStale) => {
    const { csrf } = await limits(line.room, { ...line, again: isStale });
    const withToken = () => {
      const request = make();
      return { ...request, headers: { ...request.headers, "X-CSRFToken": csrf } };
    };
    return ask(line, url, withToken, { tries });
  };
  try {
    return await again(false);
  } catch (reason) {
    if (reason.status !== FORGERY || reason.code !== "unreadable") throw reason;
    return again(true);
  }
}

/** The JSON of the answer. What the network or a proxy refuses is tried again, ever more patiently. */
async function ask({ fetch, clock = systemClock, signal }, url, make, { tries = TRIES } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await answer(await fetch(url, { credentials: "same-origin", signal, ...make() }));
    } catch (reason) {
      signal?.throwIfAborted();
      const isPassing = !(reason instanceof Refusal) || reason.code === "disconnected";
      if (!isPassing) throw reason;
      if (attempt >= tries) throw new Refusal("disconnected");
      await pause(clock, signal, attempt);
    }
  }
}

async function answer(response) {
  if (response.status === 204) return {};
  const told = await response.json().catch(() => null);
  if (response.ok && told) return told;
  if (response.status === 409 && told) return told; // {received}: go on there
  if (told?.error) throw new Refusal(told.error.code, told.error.detail);
  const isPassing = response.status >= 500 || response.status === LATE;
  const refusal = new Refusal(isPassing ? "disconnected" : "unreadable");
  throw Object.assign(refusal, { status: response.status });
}

function pause(clock, signal, attempt) {
  const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempt);
  return new Promise((resolve, reject) => {
    const cancel = clock.after(most / 2 + (clock.random() * most) / 2, resolve);
    signal?.addEventListener("abort", () => (cancel(), reject(signal.reason)), { once: true });
  });
}
