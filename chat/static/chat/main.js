/** The page: the client's state goes to the view, and the person's wishes go to the client. */

import { seqOf, slugOf } from "./address.js";
import { Announcer } from "./announcer.js";
import { CertificateCard } from "./certificate_card.js";
import { Client } from "./client.js";
import { Deeds } from "./deeds.js";
import { Desk } from "./desk.js";
import { slugFromAnything } from "./dialogs.js";
import { Idle } from "./idle.js";
import { Badge, Notices } from "./notices.js";
import { NoticesDialog } from "./notices_dialog.js";
import { CarefulStorage } from "./outbox.js";
import { Outside } from "./outside.js";
import { People } from "./people.js";
import { verdict } from "./protocol.js";
import { listed, isFilled, messageOf, nameOf, roomOf, unread } from "./store.js";
import { wordsOf } from "./timeline.js";
import { toast } from "./toast.js";
import * as uploads from "./uploads.js";
import { View } from "./view.js";
import { Writing, showCommands, takeDrops } from "./writing.js";

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
    ready() {
      people.ready();
      idle.ready();
      desk.ready();
      openFirst();
    },
    arrived(event) {
      announce(event);
      notices.arrived(event);
      desk.heard(event);
    },
    stopped,
    failing: (times) => times >= ASK_WHY_AFTER && askWhy(),
    presence: (told) => people.seen(told),
    certificate: (told) => people.stands(told),
  },
});

// --- People ---------------------------------------------------------------------------------------

const people = new People({
  ask: (op, fields) => client.ask(op, fields),
  changed() {
    certificateCard.refresh();
    schedule();
  },
});
const certificateCard = new CertificateCard({ dialog: find("certificate-dialog"), people });
const idle = new Idle({ tell: (state) => client.connection.isOpen && client.ask("presence", { state }) });
idle.watch();

function presenceOf(userId) {
  return people.stateOf(userId);
}

function marksOf(item) {
  return people.marksOf(item);
}

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
  desk.aside.close({ isBack: true });
  view.showStopped(reason);
}

// --- Drawing --------------------------------------------------------------------------------------

const view = new View({
  find,
  people: {
    presenceOf,
    countOf: (slug) => desk.residents.of(slug)?.members.length ?? null,
  },
  on: {
    open,
    older: () => client.catchUp.history(),
    newer: () => client.catchUp.newer(),
    newest: () => client.toNewest(),
    jump: ({ id, seq }) => (seq ? goTo(client.state.open, seq) : goToQuoted(id)),
    act: (name, item, extra, anchor) => deeds.act(name, item, extra, anchor),
    moved: attend,
    marksOf,
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
  outside.show(state);
  desk.show(state);
  if (room) composer.open(writing.placeOf(room));
  notices.follow(state);
  badge.show(state);
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
    const message = messageOf(client.room, event.id);
    announcer.arrived(nameOf(event.by), message ? wordsOf(message) : "");
  }
}

// --- Writing --------------------------------------------------------------------------------------

const writing = new Writing({
  client,
  storage,
  user,
  files: uploads,
  people: {
    members: (slug) =>
      desk.residents.load(slug).then(({ members }) => members.map((member) => member.user), () => []),
    called: (query) => (query ? desk.people(query).catch(() => []) : Promise.resolve([])),
  },
  on: {
    sent: (thread) => thread === null && view.messages.toEnd(),
    join: (text) => desk.join(slugFromAnything(text)),
    leave: () => desk.askToLeave(client.room),
    help: () => desk.dialogs.keys.open(),
  },
});
const composer = writing.composerIn(find("composer"));
showCommands(find("commands"));
takeDrops({ overlay: find("drop"), writing });

// --- Notices --------------------------------------------------------------------------------------

const badge = new Badge(document.querySelector("link[rel=icon]"));
const notices = new Notices({
  storage,
  user,
  icon: document.querySelector("link[rel=apple-touch-icon]")?.href,
  on: {
    state: () => client.state,
    isInView: (slug) => slug === client.state.open && client.state.attending,
    open(slug, seq) {
      focus();
      goTo(slug, seq);
    },
  },
});
const noticesDialog = new NoticesDialog({
  notices,
  on: {
    state: () => client.state,
    async choose(slug, level) {
      await client.connection.request("notify", { room: slug, level });
      desk.notified(slug, level);
    },
  },
});
find("show-notices").addEventListener("click", () => noticesDialog.open());

// --- From room to room ----------------------------------------------------------------------------

const lastKey = `signet.last.${user}`;

function open(slug, how = "pushState") {
  const path = slug === null ? "/" : `/rooms/${slug}/`;
  if (location.pathname !== path) history[how](null, "", path);
  if (slug !== null) storage.set(lastKey, slug);
  announcer.forget();
  client.open(slug);
  draw();
  document.querySelector("dialog[open]")?.close(); // it would give the keyboard back to what opened it
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

async function leave(slug) {
  await client.leave(slug);
  open(null, "replaceState");
  openFirst();
}

/** To a message, however far back; one of a thread is shown under the message it belongs to. */
async function goTo(slug, seq, how = "pushState") {
  const path = `/rooms/${slug}/`;
  if (location.pathname !== path) history[how](null, "", path);
  storage.set(lastKey, slug);
  announcer.forget();
  const found = await client.goTo(slug, seq);
  if (found?.thread) desk.openPanel("thread", { message: messageOf(client.room, found.message) });
}

async function goToQuoted(id) {
  const found = await client.goToQuoted(client.state.open, id);
  if (!found) toast("This message is not to be found any more.", { isRefusal: true });
}

let followed = ""; // the address

/** Where the address of the page leads. */
function follow(how) {
  followed = location.href;
  const [slug, seq] = [slugOf(location), seqOf(location)];
  if (slug !== null && seq !== null) goTo(slug, seq, how);
  else open(slug, how);
}

/** A link to a room or a message of ours leads there in this very page. */
document.addEventListener("click", (event) => {
  const link = event.target.closest(".message-body a[href]");
  const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !isPlain || link.origin !== location.origin) return;
  const slug = slugOf(link);
  if (slug === null || !roomOf(client.state, slug)) return;
  event.preventDefault();
  const seq = seqOf(link);
  if (seq === null) open(slug);
  else goTo(slug, seq);
});

const desk = new Desk({
  client,
  find,
  me: bootstrap.user,
  makeComposer: (form) => writing.composerIn(form),
  on: {
    open,
    leave,
    goTo,
    goToQuoted,
    changed: schedule,
    closed: () => composer.focus(),
    act: (...deed) => deeds.act(...deed),
    placeOf: (room) => writing.placeOf(room),
    presenceOf,
    marksOf,
  },
});

const outside = new Outside({
  find,
  on: {
    isPublic: (slug) => desk.isPublic(slug),
    join: (slug) => desk.join(slug),
    changed: schedule,
  },
});

const deeds = new Deeds({
  client,
  parts: {
    composer: (isInThread) => (isInThread && desk.threadComposer) || composer,
    openThread: (message) => desk.openPanel("thread", { message }),
    pickEmoji: (anchor) => writing.pickEmoji(anchor),
    askToDelete: (message) => desk.askToDelete(message),
    askToReport: (message) => desk.askToReport(message),
    showVersions: (message) => desk.showVersions(message),
    showCertificate: (serial, at) => certificateCard.show(serial, at),
  },
});

find("show-rooms").addEventListener("click", (event) => {
  event.preventDefault();
  open(null);
});
find("retry-now").addEventListener("click", () => client.connection.retryNow());
find("stopped-reload").addEventListener("click", () => location.reload());

// --- The browser ----------------------------------------------------------------------------------

/** Who closes a column that was a page, or follows a link within the page, stays where they are. */
addEventListener("popstate", () => {
  const isSame = location.href === followed || seqOf(location) === null;
  if (slugOf(location) !== client.state.open || !isSame) follow("replaceState");
});
addEventListener("online", () => client.connection.probe());
addEventListener("offline", () => (client.connection.isOpen ? client.connection.probe() : schedule()));
addEventListener("pageshow", (event) => event.persisted && client.connection.probe());
addEventListener("storage", (event) => client.outbox.heard(event));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) client.away();
  else client.connection.probe();
  schedule();
});

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.defaultPrevented) return;
  if (document.querySelector("dialog[open], [role=menu]:not([hidden])")) return;
  if (shortcut(event)) event.preventDefault();
});

function shortcut(event) {
  const step = event.altKey && { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const neighbour = step && view.rooms.neighbour(step);
  const key = event.ctrlKey || event.metaKey ? event.key.toLowerCase() : null;
  if (key === "k") desk.dialogs.switcher.open();
  else if (key === "f" && event.shiftKey) desk.openPanel("search");
  else if (neighbour) open(neighbour);
  else if (event.key === "Escape" && event.shiftKey) client.readAll();
  else if (event.key === "Escape" && desk.aside.name) desk.aside.close();
  else if (event.key === "?" && !event.target.closest("input, textarea")) desk.dialogs.keys.open();
  else return false;
  return true;
}

/** The soft keyboard of iOS covers the page instead of shrinking it; the page shrinks by itself. */
globalThis.visualViewport?.addEventListener("resize", () => {
  const { height, scale } = visualViewport;
  if (scale !== 1) return; // somebody looks closely, which must not squeeze the page
  document.documentElement.style.setProperty("--visible-height", `${height}px`);
  scrollTo(0, 0);
});

/** What came with the page is shown before the socket says it again; it does not stay in the page. */
function seed() {
  const shell = find("shell");
  const known = JSON.parse(shell?.textContent || "null");
  shell?.remove();
  if (!known) return;
  client.seed(known);
  openFirst();
}

/** The banner counts seconds while there is no connection. */
const ticking = setInterval(() => client.connection.isOpen || schedule(), 1000);

follow("replaceState");
seed();
client.start();
