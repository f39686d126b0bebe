/**
 * Enrolment with a key made in this browser: the key, its request, the certificate, the file.
 *
 * What always holds: the key and the password of the file are made here and are in no request; the
 * same key and the same request are used until the link has its answer, whatever goes wrong on the
 * way; once the file is saved, the key is removed from this browser.
 */

import { delayBefore, readStatus, Refusal, sendRequest } from "./enrol-client.js";
import { KeyStore } from "./enrol-store.js";
import { makePassword } from "./password.js";
import { isAble, makeKey } from "./x509/key.js";
import { pack } from "./x509/pkcs12.js";
import { makeRequest } from "./x509/request.js";

const HERE = "browser"; // the choice that is never sent

const at = (id) => document.getElementById(id);
const form = at("enrol-form");
const asked = at("enrol-request"); // the page of a link whose request is on its way
const store = isAble() ? new KeyStore() : null;

let id = "";
let record = null; // { id, key, csr, password }
let file = null; // { blob, name }
let isUsed = Boolean(asked); // the server has the request
let isBusy = false;
let ready = null; // what was kept here has been read
let timer = 0;
let looks = 0;

// --- What the person reads -------------------------------------------------------------------

function say(words, { kind = "" } = {}) {
  const status = at("enrol-status");
  at("enrol-progress").hidden = false;
  status.hidden = false;
  status.className = `notice ${kind}`;
  status.textContent = words;
}

function showRefusal(error) {
  const place = at("enrol-error");
  at("enrol-status").hidden = true;
  at("enrol-forget").hidden = !(record && error.isFinal); // else the same key is used again
  place.hidden = false;
  place.textContent =
    error instanceof Refusal ? error.message : `This browser could not do it. ${error.message}`;
  for (const [field, sentences] of Object.entries(error.fields ?? {})) mark(field, sentences);
  (form?.querySelector("[aria-invalid]") ?? place).focus();
}

/** Says what is wrong with a field beside it, as the server's own pages do. */
function mark(name, sentences) {
  const input = form?.elements[name];
  if (!(input instanceof HTMLInputElement) || input.type === "hidden") {
    at("enrol-error").textContent += ` ${[sentences].flat().join(" ")}`;
    return;
  }
  const list = document.createElement("ul");
  list.className = "errorlist";
  list.id = `${input.id}_refusal`;
  for (const sentence of [sentences].flat()) {
    list.append(Object.assign(document.createElement("li"), { textContent: sentence }));
  }
  input.closest(".field").append(list);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", `${input.id}_helptext ${list.id}`);
}

function clearRefusal() {
  at("enrol-error").hidden = true;
  for (const list of form?.querySelectorAll(".errorlist") ?? []) list.remove();
  for (const input of form?.querySelectorAll("[aria-invalid]") ?? []) {
    input.removeAttribute("aria-invalid");
  }
}

function showNotes(notes) {
  const list = at("enrol-notes");
  list.replaceChildren(
    ...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
  );
  at("enrol-left-out").hidden = notes.length === 0;
}

function showPassword(password) {
  at("file-password").textContent = password;
}

function setBusy(value) {
  isBusy = value;
  at("enrol-submit")?.setAttribute("aria-disabled", String(value));
}

// --- The way of the key ----------------------------------------------------------------------

/** The key of this link: the one made before, if there is one. */
async function takeKey(password) {
  const before = record ?? (await store.get(id));
  if (before) return before;
  const key = await makeKey();
  const csr = await makeRequest(key, { commonName: form.dataset.username });
  return store.keep({ id, key, csr, password });
}

async function begin(password) {
  if (isBusy) return;
  setBusy(true);
  clearRefusal();
  try {
    say("Making the key…");
    await ready;
    record = await takeKey(password);
    showPassword(record.password);
    say("Asking for the certificate…");
    const answer = await sendRequest(form.dataset.csrUrl, {
      csr: record.csr,
      csrfToken: form.elements.csrfmiddlewaretoken.value,
      consolePasswords: consolePasswords(),
    });
    isUsed = true;
    for (const part of document.querySelectorAll("[data-before]")) part.hidden = true;
    await settle(answer, form.dataset.statusUrl);
    if (file) await save();
  } catch (error) {
    showRefusal(error);
  } finally {
    setBusy(false);
  }
}

function consolePasswords() {
  const inputs = form.querySelectorAll('[name^="console_password"]');
  return Object.fromEntries(Array.from(inputs, (input) => [input.name, input.value]));
}

async function settle(answer, statusUrl) {
  if (answer.state === "issued") {
    await packFile(answer);
  } else if (answer.state === "waiting") {
    await wait(answer, statusUrl);
  } else if (answer.state === "rejected" || answer.state === "withdrawn") {
    await forget();
    (at("state-title") ?? at("file-title")).textContent = "Not issued";
    const next = "The key has been removed from this browser. To try again, ask for a new link.";
    say(`${answer.detail} ${next}`, { kind: "is-bad" });
  } else {
    throw new Refusal(`The server knows this request as “${answer.state}”. Load the page again.`);
  }
}

async function wait({ detail }, statusUrl) {
  const lasting = await store.isLasting;
  const keeping = lasting
    ? "The key waits in this browser."
    : "This browser keeps nothing: leave this page open, or the key is lost.";
  say(`${detail} ${keeping}`);
  at("enrol-forget").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => look(statusUrl), delayBefore(looks));
  looks += 1;
}

/** Asks how the request stands. Without a connection it asks again later. */
async function look(statusUrl) {
  let answer;
  try {
    answer = await readStatus(statusUrl);
  } catch (error) {
    if (error.isFinal) return showRefusal(error);
    answer = { state: "waiting", detail: "The server cannot be reached now; this page tries again." };
  }
  try {
    await settle(answer, statusUrl);
  } catch (error) {
    showRefusal(error);
  }
}

async function packFile({ certificates, filename, notes = [] }) {
  say("Packing the file…");
  const name = filename.replace(/\.p12$/, "");
  const bytes = await pack({ key: record.key, certificates, password: record.password, name });
  file = { blob: new Blob([bytes], { type: "application/x-pkcs12" }), name: filename };
  document.title = "Your certificate is ready – Signet";
  for (const part of document.querySelectorAll("[data-after]")) part.hidden = false;
  showNotes(notes);
  say("Your certificate is ready. Save the file; the key is then removed from this browser.", {
    kind: "is-good",
  });
  at("enrol-save").hidden = false;
  at("enrol-forget").hidden = false;
}

async function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file.blob);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  await store.remove(id);
  record = null;
  at("enrol-forget").hidden = true;
  at("enrol-save").textContent = "Save the file again";
  at("enrol-save").classList.remove("is-primary", "is-large");
  say(
    "The file goes to your downloads, and the key has been removed from this browser. Keep this page open until the file is installed: it still shows the password and the steps below.",
    { kind: "is-good" },
  );
}

async function forget() {
  clearTimeout(timer);
  await store.remove(id);
  record = file = null;
  at("enrol-save").hidden = at("enrol-forget").hidden = true;
  at("file-password-field").hidden = isUsed; // it opens nothing any more
}

// --- The page --------------------------------------------------------------------------------

/** The link is open: offer to make the key here, and do so when the person says so. */
function offer() {
  const choice = form.querySelector(`[name="format"][value="${HERE}"]`);
  const modern = form.querySelector('[name="format"][value="p12"]');
  const servers = form.elements.password.value;
  const own = makePassword();
  choice.disabled = false;
  choice.closest(".choice").hidden = false;
  // With errors from the server on the page, it stays as the person sent it.
  if (!form.querySelector(".errorlist")) {
    choice.checked ||= !modern || modern.checked;
    modern?.closest(".choice").setAttribute("hidden", "");
  }
  const isHere = () => form.elements.format.value === HERE;
  const show = () => showPassword(isHere() ? (record?.password ?? own) : servers);
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    if (!isHere()) return;
    event.preventDefault();
    begin(own);
  });
  show();
  return show;
}

async function start() {
  const show = form ? offer() : null;
  id = await KeyStore.idOf(location.pathname.split("/")[2] ?? "");
  await store.sweep();
  record ??= (await store.get(id)) ?? null;
  show?.();
  if (asked) await resume();
}

/** The link was opened again: go on where this browser was. */
async function resume() {
  if (!record) {
    at("enrol-elsewhere").hidden = !["waiting", "issued"].includes(asked.dataset.state);
    return;
  }
  showPassword(record.password);
  at("enrol-file").hidden = false;
  at("enrol-standing").hidden = true; // said below, with what becomes of the key
  at("state-title").textContent = "The file";
  await look(asked.dataset.statusUrl);
}

at("enrol-save")?.addEventListener("click", () => file && save());
at("enrol-forget")?.addEventListener("click", async () => {
  const question = "A certificate is of no use without its key. Remove the key from this browser?";
  if (isBusy || !confirm(question)) return;
  await forget();
  clearRefusal();
  const next = isUsed ? "To enrol, ask for a new link." : "The button makes a new one.";
  say(`The key has been removed from this browser. ${next}`);
});
document.addEventListener("visibilitychange", () => {
  const url = (asked ?? form)?.dataset.statusUrl;
  if (!document.hidden && timer && record && !file && !isBusy) look(url);
});

if (store && (form?.dataset.csrUrl || asked)) ready = start();
else at("enrol-unable")?.removeAttribute("hidden");
