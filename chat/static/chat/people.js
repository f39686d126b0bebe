/**
 * What is known of people beyond what they write: who is here, and which certificates are behind their
 * messages. Certificates are asked for as they come into view, many at once, and again when told of.
 */

import { systemClock } from "./outbox.js";

const GATHER_MS = 60;
const AT_ONCE = 50;
const KEPT = 1000;

/** Reasons that say nothing against what was written before. */
const ROUTINE = new Set(["superseded", "cessationOfOperation", "affiliationChanged"]);

const REASONS = {
  keyCompromise: "the key was lost or stolen",
  cACompromise: "the authority behind it is no longer safe",
  authority: "the authority that issued it was revoked",
  affiliationChanged: "the person moved or changed their name",
  superseded: "a new certificate took its place",
  cessationOfOperation: "it is no longer used",
  certificateHold: "it is being looked into",
  privilegeWithdrawn: "the person may no longer use it",
};

export class People {
  #ask;
  #changed;
  #clock;
  #here = new Map(); // person → active or away
  #isTold = false;
  #isStale = true; // what comes next is everybody who is here
  #known = new Map(); // serial → what the server says, null where it says nothing
  #wanted = new Set();
  #asking = false;
  #timer = null;

  /**
   * @param {Function} o.ask      (op, fields) => Promise of the answer, null where there is none
   * @param {Function} o.changed  () => void
   */
  constructor({ ask, changed, clock = systemClock }) {
    this.#ask = ask;
    this.#changed = changed;
    this.#clock = clock;
  }

  /** Connected again: people came and went meanwhile, and certificates may have been revoked. */
  ready() {
    this.#isStale = true;
    for (const serial of this.#known.keys()) this.#wanted.add(serial);
    this.#soon();
  }

  // --- Who is here ----------------------------------------------------------------------------------

  /** A push: some people, or after `ready` everybody who is here. */
  seen({ people }) {
    if (this.#isStale) this.#here.clear();
    [this.#isStale, this.#isTold] = [false, true];
    for (const [id, state] of Object.entries(people)) {
      if (state === "offline") this.#here.delete(Number(id));
      else this.#here.set(Number(id), state);
    }
    this.#changed();
  }

  /** active, away or offline; null while nothing has been told. */
  stateOf(userId) {
    return this.#here.get(userId) ?? (this.#isTold ? "offline" : null);
  }

  // --- Certificates ---------------------------------------------------------------------------------

  /** What is known of a certificate; asks for it where that is nothing yet. */
  certificate(serial) {
    if (serial && !this.#known.has(serial)) {
      this.#wanted.add(serial);
      this.#soon();
    }
    return this.#known.get(serial) ?? null;
  }

  /** The same, once the server has answered. */
  async learn(serial) {
    if (!this.#known.get(serial)) await this.#fetch([serial]);
    return this.#known.get(serial) ?? null;
  }

  /** A push: a certificate stands otherwise now. */
  stands({ serial, state, at }) {
    if (!this.#known.has(serial)) return;
    const known = this.#known.get(serial);
    if (known) this.#known.set(serial, { ...known, ...standing(state, at) });
    this.#wanted.add(serial); // for the reason
    this.#soon();
    this.#changed();
  }

  /** Why to look twice at who wrote something: [{kind, label, title}]. */
  marksOf({ serial, at }) {
    const certificate = this.certificate(serial);
    if (!certificate) return [];
    return [markOfState(certificate, at), markOfName(certificate.owner)].filter(Boolean);
  }

  #soon() {
    if (this.#wanted.size > 0) this.#timer ??= this.#clock.after(GATHER_MS, () => this.#askNow());
  }

  async #askNow() {
    this.#timer = null;
    if (this.#asking) return;
    this.#asking = true;
    const serials = [...this.#wanted].slice(0, AT_ONCE);
    const isAnswered = await this.#fetch(serials);
    this.#asking = false;
    if (isAnswered) this.#soon(); // else when there is a connection again
  }

  async #fetch(serials) {
    const answer = await this.#ask("certificates", { serials });
    if (answer === null) return false;
    for (const serial of serials) {
      this.#wanted.delete(serial);
      this.#known.delete(serial);
      this.#known.set(serial, answer.certificates[serial] ?? null);
    }
    for (const serial of this.#known.keys()) {
      if (this.#known.size > KEPT) this.#known.delete(serial);
    }
    this.#changed();
    return true;
  }
}

function standing(state, at) {
  return /^(revoked|held)$/.test(state) ? { state, revoked_at: at } : { state, revoked_at: undefined };
}

// --- In plain words ---------------------------------------------------------------------------------

/** How a certificate stood at a moment: good, revoked, held, expired, not_yet_valid or unknown. */
export function stateAt(certificate, moment) {
  if (certificate.state === "unknown") return "unknown";
  if (certificate.revoked_at && moment >= new Date(certificate.revoked_at)) return certificate.state;
  if (moment > new Date(certificate.not_after)) return "expired";
  if (moment < new Date(certificate.not_before)) return "not_yet_valid";
  return "good";
}

/** Why it was revoked, as the end of a sentence; empty where nobody said. */
export function reasonWords({ reason }) {
  return REASONS[reason] ?? "";
}

function markOfState(certificate, at) {
  const { state } = certificate;
  if (state === "unknown") {
    return { kind: "unknown", label: "Certificate unknown", title: "The certificate behind this is not known here any more." };
  }
  if (state === "held") {
    return { kind: "held", label: "Certificate on hold", title: "Do not rely on this certificate until it is released." };
  }
  if (state !== "revoked") return null;
  const why = reasonWords(certificate);
  const wasGood = stateAt(certificate, at) === "good";
  return {
    kind: ROUTINE.has(certificate.reason) ? "retired" : "revoked",
    label: ROUTINE.has(certificate.reason) ? "Old certificate" : "Certificate revoked",
    title: `Revoked${why && `: ${why}`}. ${wasGood ? "It was good when this was written." : "It was revoked before this was written."}`,
  };
}

function markOfName({ flag, lookalike_of: other, username } = {}) {
  if (flag === "lookalike") {
    return {
      kind: "lookalike",
      label: `Looks like @${other}`,
      title: `This is @${username}. The name looks the same as that of @${other}, who is somebody else.`,
    };
  }
  if (flag !== "mixed") return null;
  return {
    kind: "mixed",
    label: "Mixed letters",
    title: `This is @${username}. The name mixes letters of several scripts, so it may look like another one.`,
  };
}
