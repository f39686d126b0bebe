/** “Who is this really?”: the certificate that a message was authenticated with, in plain words. */

import { FormDialog } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { reasonWords, stateAt } from "./people.js";
import { fullTime } from "./timeline.js";

const WORDS = {
  good: "Good",
  revoked: "Revoked",
  held: "On hold",
  expired: "Expired",
  not_yet_valid: "Not valid yet",
  unknown: "Unknown",
};

const CAUTION =
  "Somebody else may have had the key for a while before that. If it matters, ask the person in another way.";

export class CertificateCard {
  #dialog;
  #form;
  #people;
  #shown = null;

  /** @param {People} o.people */
  constructor({ dialog, people }) {
    this.#dialog = dialog;
    this.#form = new FormDialog(dialog);
    this.#people = people;
    dialog.addEventListener("click", (event) => this.#clicked(event));
  }

  /** @param {Date} [at]  when the message was written that it authenticated */
  async show(serial, at = null) {
    this.#shown = { serial, at };
    this.#fill(h("p", { class: "soft" }, "Asking the server…"));
    this.#form.open();
    if ((await this.#people.learn(serial)) === null) this.#sayNothingKnown();
    this.refresh();
  }

  /** What is known may have changed while it is looked at. */
  refresh() {
    const certificate = this.#dialog.open && this.#people.certificate(this.#shown.serial);
    const stamp = JSON.stringify(certificate);
    if (!certificate || this.#shown.stamp === stamp) return;
    this.#shown.stamp = stamp;
    this.#fill(...card(certificate, this.#shown.at, new Date()));
  }

  #sayNothingKnown() {
    this.#fill(h("p", {}, "The server tells nothing about this certificate now. Try again in a moment."));
  }

  #fill(...parts) {
    this.#dialog.querySelector(".certificate-body").replaceChildren(...parts.filter(Boolean));
    setText(this.#dialog.querySelector("[role=status]"), "");
  }

  async #clicked(event) {
    const text = event.target.closest("[data-copies]")?.dataset.copies;
    if (!text) return;
    const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    setText(this.#dialog.querySelector("[role=status]"), copied ? "Copied." : "The browser did not let it be copied.");
  }
}

function card(certificate, at, now) {
  if (certificate.state === "unknown") {
    return [h("p", {}, "The certificate behind this message is not known here any more. Nobody can say whose it was.")];
  }
  const { owner } = certificate;
  return [
    h("p", { class: "lead" }, ...leadOf(certificate, at)),
    warningOf(owner),
    standings(certificate, at, now),
    certificate.reason === "keyCompromise" && h("p", {}, CAUTION),
    facts(certificate),
  ];
}

function leadOf(certificate, at) {
  const { owner } = certificate;
  const person = [h("bdi", {}, owner.name), " (", h("bdi", {}, `@${owner.username}`), ")"];
  const isProof = at && stateAt(certificate, at) === "good";
  if (isProof) return ["This comes from ", ...person, ", as their certificate proves."];
  return [at ? "This was authenticated with a certificate of " : "This is a certificate of ", ...person, "."];
}

function warningOf({ flag, lookalike_of: other }) {
  if (!flag) return null;
  const words =
    flag === "lookalike"
      ? ["The name looks the same as that of ", h("bdi", {}, `@${other}`), ", who is somebody else. Go by the username."]
      : ["The name mixes letters of several scripts, so it may look like another one. Go by the username."];
  return h("p", { class: "certificate-warning" }, icon("warning"), h("span", {}, words));
}

function standings(certificate, at, now) {
  const lines = [at && ["When this was written", stateAt(certificate, at), at], ["Now", stateAt(certificate, now), now]];
  return h(
    "dl",
    { class: "certificate-standing" },
    lines.filter(Boolean).map(([term, state, moment]) =>
      h(
        "div",
        { "data-state": state },
        h("dt", {}, term),
        h("dd", {}, icon(state === "good" ? "certificate" : "warning"), h("span", {}, h("b", {}, WORDS[state]), moreWords(certificate, state, moment))),
      ),
    ),
  );
}

function moreWords(certificate, state, moment) {
  if (state === "good") return ", it counts.";
  if (state === "expired") return ` since ${fullTime(new Date(certificate.not_after))}.`;
  if (state === "not_yet_valid") return `, only from ${fullTime(new Date(certificate.not_before))} on.`;
  const why = reasonWords(certificate);
  const since = new Date(certificate.revoked_at);
  return moment >= since ? ` since ${fullTime(since)}${why && `: ${why}`}.` : ".";
}

function facts(certificate) {
  const { owner, device, subject, issuer, serial, sha256, not_before: from, not_after: to } = certificate;
  const rows = [
    ["Person", [h("bdi", {}, owner.name), " (", h("bdi", {}, `@${owner.username}`), ")"]],
    device && ["Device", h("bdi", {}, device)],
    ["Valid", [timeOf(from), " – ", timeOf(to)]],
    ["Subject", h("bdi", { class: "certificate-name" }, subject)],
    ["Issued by", h("bdi", { class: "certificate-name" }, issuer)],
    ["Serial number", h("code", { class: "serial" }, grouped(serial))],
    ["Fingerprint", [h("code", { class: "serial" }, grouped(sha256)), copyButton(sha256)]],
  ];
  return h(
    "dl",
    { class: "facts certificate-facts" },
    rows.filter(Boolean).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

function timeOf(text) {
  return h("time", { datetime: text }, fullTime(new Date(text)));
}

/** In fours, as people compare them aloud. */
export function grouped(digits) {
  return digits.toUpperCase().replace(/(.{4})(?=.)/g, "$1 ");
}

/** It copies what other tools print: AB:CD:… */
function copyButton(digest) {
  const colons = digest.toUpperCase().replace(/(..)(?=.)/g, "$1:");
  return h("button", { type: "button", class: "button", "data-copies": colons }, icon("copy"), "Copy the SHA-256 fingerprint");
}
