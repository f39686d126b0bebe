/** The page: the client's state goes to the view, and the person's wishes go to the client. */

import { Announcer } from "./announcer.js";
import { Client } from "./client.js";
import { Composer } from "./composer.js";
import { CreateForm, FormDialog, slugFromAnything } from "./dialogs.js";
import { CarefulStorage } from "./outbox.js";
import { verdict } from "./protocol.js";
import { listed, isFilled, nameOf, roomOf, unread } from "./store.js";
import { View } from "./view.js";

const DRAW_AFTER_MS = 16;
const ASK_WHY_AFTER = 2;

const find = (id) => document.getElementById(id);
const bootstrap = JSON.parse(find("bootstrap").textContent);
const user = bootstrap.user.username;
const localStorage = openStorage();
const storage = new CarefulStorage(localStorage);

function openStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return null; // forbidden by the browser's settings
  }
}

// --- Client ---------------------------------------------------------------------------------------

const client = new Client({
  url: new URL(bootstrap.socket, location.href.replace(/^http/, "ws")).href,
  user,
  storage: localStorage,
  on: {
    changed: schedule,
    ready: openFirst,
    arrived: announce,
    stopped,
    failing: (times) => times >= ASK_WHY_AFTER && askWhy(),
  },
});

/** After several failures in a row: does the server know us at all? A socket cannot tell. */
async function askWhy() {
  try {
    const answer = await fetch("/whoami", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const { certificate, user: known } = await answer.json();
    const isRefused = known === null && client.connection.state.name !== "open";
    if (isRefused) client.connection.stop(verdict(codeFor(certificate)));
  } catch {
    // No answer is an answer: the network is away, and the banner says so.
  }
}

function codeFor(certificate) {
  const error = String(certificate?.authorization_error ?? "");
  if (!certificate?.presented) return 4504;
  if (/revoked/i.test(error)) return 4501;
  if (/expired/i.test(error)) return 4502;
  if (/disabled/i.test(error)) return 4503;
  return 4505;
}

function stopped(reason) {
  clearInterval(ticking);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  view.showStopped(reason);
}

// --- Drawing --------------------------------------------------------------------------------------

const view = new View({
  find,
  on: {
    open,
    older: () => client.catchUp.history(),
    moved: attend,
    toggled: schedule,
    retry(clientId) {
      client.outbox.retry(clientId);
      composer.focus(); // the pressed button is about to go
    },
    discard(clientId) {
      client.outbox.discard(clientId);
      composer.focus();
    },
  },
});
let drawing = null;

/** A timer and not an animation frame: the title counts on while the tab is hidden. */
function schedule() {
  drawing ??= setTimeout(draw, DRAW_AFTER_MS);
}

function draw() {
  clearTimeout(drawing);
  drawing = null;
  const { state, connection, outbox, lostAt, room } = client;
  if (connection.state.name === "stopped") return;
  const waiting = outbox.entries.length;
  view.show(state, { connection: connection.state, lostAt, waiting, now: Date.now() });
  if (room) composer.open({ slug: room.slug, name: room.name, limit: state.limits?.body_bytes });
  attend();
}

function attend() {
  const { room } = client;
  client.attend(Boolean(room && isFilled(room) && !document.hidden && view.messages.showsEnd));
}

const announcer = new Announcer((words) => (find("arrivals").textContent = words));

function announce(event) {
  const isNews = event.type === "message.posted" && event.by.id !== client.state.me?.id;
  if (isNews && event.room === client.state.open) {
    announcer.arrived(nameOf(event.by), event.data.body ?? "");
  }
}

// --- Writing --------------------------------------------------------------------------------------

const composer = new Composer({
  form: find("composer"),
  box: find("composer-input"),
  count: find("draft-count"),
  storage,
  user,
  on: {
    send(body) {
      view.messages.toEnd();
      client.write(body);
    },
    typing: () => client.typing(),
  },
});

// --- From room to room ----------------------------------------------------------------------------

const lastKey = `signet.last.${user}`;

function slugOfPage() {
  return /^\/rooms\/([a-z0-9-]+)\/$/.exec(location.pathname)?.[1] ?? null;
}

function open(slug, how = "pushState") {
  const path = slug === null ? "/" : `/rooms/${slug}/`;
  if (location.pathname !== path) history[how](null, "", path);
  if (slug !== null) storage.set(lastKey, slug);
  announcer.forget();
  client.open(slug);
  draw();
  if (client.room) composer.focus();
}

/** A wide page has space for a room beside the list, so it shows one at once. */
function openFirst() {
  if (client.state.open !== null || !view.isWide) return;
  const rooms = listed(client.state);
  const first =
    rooms.find((room) => room.slug === storage.get(lastKey)) ??
    rooms.find((room) => unread(client.state, room) > 0) ??
    rooms[0];
  if (first) open(first.slug, "replaceState");
}

/** The room that answers may be an older one: with each person there is one conversation of two. */
async function create() {
  open(await client.create(createForm.read()));
}

async function join(slug) {
  if (!roomOf(client.state, slug)) await client.join(slug);
  open(slug);
}

async function leave() {
  await client.leave(client.state.open);
  open(null, "replaceState");
  openFirst();
}

const createForm = new CreateForm(find("create-form"), { me: bootstrap.user });
const dialogs = {
  create: new FormDialog(find("create-dialog"), create),
  join: new FormDialog(find("join-dialog"), (form) => join(slugFromAnything(form.elements.room.value))),
  leave: new FormDialog(find("leave-dialog"), leave),
  keys: new FormDialog(find("keys-dialog")),
};

for (const button of document.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => dialogs[button.dataset.opens].open());
}
find("show-rooms").addEventListener("click", (event) => {
  event.preventDefault();
  open(null);
});
find("outside-join").addEventListener("click", async ({ currentTarget: button }) => {
  button.disabled = true;
  const error = await join(client.state.open).catch((refusal) => refusal);
  find("outside-error").textContent = error?.message ?? "";
  button.disabled = false;
});
find("retry-now").addEventListener("click", () => client.connection.retryNow());
find("stopped-reload").addEventListener("click", () => location.reload());

// --- The browser ----------------------------------------------------------------------------------

addEventListener("popstate", () => open(slugOfPage(), "replaceState"));
addEventListener("online", () => client.connection.probe());
addEventListener("offline", schedule);
addEventListener("pageshow", (event) => event.persisted && client.connection.probe());
addEventListener("storage", (event) => client.outbox.heard(event));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) client.away();
  else client.connection.probe();
  schedule();
});

document.addEventListener("keydown", (event) => {
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  if (shortcut(event)) event.preventDefault();
});

function shortcut(event) {
  const step = event.altKey && { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const neighbour = step && view.rooms.neighbour(step);
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") findRoom();
  else if (neighbour) open(neighbour);
  else if (event.key === "?" && !event.target.closest("input, textarea")) dialogs.keys.open();
  else return false;
  return true;
}

function findRoom() {
  if (!view.isWide) open(null);
  find("room-filter").focus();
}

/** The soft keyboard of iOS covers the page instead of shrinking it; the page shrinks by itself. */
globalThis.visualViewport?.addEventListener("resize", () => {
  const { height, scale } = visualViewport;
  if (scale !== 1) return; // somebody looks closely, which must not squeeze the page
  document.documentElement.style.setProperty("--visible-height", `${height}px`);
  scrollTo(0, 0);
});

/** The banner counts seconds while there is no connection. */
const ticking = setInterval(() => client.connection.isOpen || schedule(), 1000);

client.open(slugOfPage());
client.start();
