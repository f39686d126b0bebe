/**
 * All that is around the room on screen: the list's dialogs, the switcher, the directory, and the
 * column on the right. It asks the server for what is shown there, and goes where the person wants.
 */

import { Aside } from "./aside.js";
import { Confirmation, CreateForm, FormDialog, directRoom } from "./dialogs.js";
import { Directory } from "./directory.js";
import { h } from "./dom.js";
import { messageFragment } from "./html.js";
import { MembersPanel } from "./panel_members.js";
import { PinsPanel } from "./panel_pins.js";
import { SearchPanel } from "./panel_search.js";
import { SettingsPanel } from "./panel_settings.js";
import { ThreadPanel } from "./panel_thread.js";
import { Residents } from "./residents.js";
import { badgeOf, isBroughtIn, listed, messageOf, nameOf, roomOf } from "./store.js";
import { Switcher } from "./switcher.js";
import { fullTime } from "./timeline.js";
import { toast } from "./toast.js";

const OPENS_WITHIN = 5000;

export class Desk {
  #client;
  #find;
  #on;
  #makeComposer;
  #panels;
  #waiting = []; // for the socket to open
  #counted = null; // the room whose people were asked for last

  /**
   * @param {object} o
   * @param {object} o.me
   * @param {Function} o.makeComposer  (form) => the box for a thread
   * @param {object} o.on  open(slug), leave(slug): a Promise, goTo(slug, seq), goToQuoted(id), changed(),
   *   act(name, item, extra, anchor, place), placeOf(room) → where the box of a room writes, presenceOf(user id),
   *   marksOf(item) → why to look twice at who wrote it, closed()
   */
  constructor({ client, find, me, makeComposer, on }) {
    this.#client = client;
    this.#find = find;
    this.#on = on;
    this.#makeComposer = makeComposer;
    this.me = me;
    this.residents = new Residents({ ask: (op, fields) => this.ask(op, fields), changed: on.changed });
    this.confirmation = new Confirmation(find("confirm-dialog"));
    this.aside = this.#makeAside();
    this.dialogs = this.#makeDialogs();
    document.addEventListener("click", (event) => this.#pressed(event));
  }

  // --- What the parts ask of it ---------------------------------------------------------------------

  /** The answer, or the Refusal. */
  async ask(op, fields) {
    await this.#opened();
    return this.#client.connection.request(op, fields);
  }

  /** The page can be used before its socket is open: what is wanted by then waits a little. */
  async #opened() {
    if (this.#client.connection.isOpen) return;
    await new Promise((resolve) => {
      this.#waiting.push(resolve);
      setTimeout(resolve, OPENS_WITHIN);
    });
  }

  room(slug) {
    return roomOf(this.#client.state, slug);
  }

  people = async (query) => (await this.ask("people", { query })).people;

  publicRooms = async (query) => (await this.ask("rooms", query ? { query } : {})).rooms;

  /** Whether the directory lists a room at this address: then one may join it. */
  isPublic = async (slug) => (await this.publicRooms(slug)).some(({ room }) => room === slug);

  /** One's own rooms, as the list has them. */
  get rooms() {
    return listed(this.#client.state);
  }

  presenceOf = (userId) => this.#on.presenceOf(userId);

  marksOf = (item) => this.#on.marksOf(item);

  makeComposer(form) {
    return this.#makeComposer(form);
  }

  placeOf(room) {
    return this.#on.placeOf(room);
  }

  /** A column that covers the room would hide what it leads to. */
  goTo(slug, seq) {
    if (!this.aside.isBeside) this.aside.close({ isBack: true });
    this.#on.goTo(slug, seq);
  }

  goToQuoted(id) {
    if (!this.aside.isBeside) this.aside.close({ isBack: true });
    this.#on.goToQuoted(id);
  }

  act(name, item, extra, anchor, place = {}) {
    this.#on.act(name, item, extra, anchor, place);
  }

  /** The box of the thread that is open; null before one was. */
  get threadComposer() {
    return this.#panels.thread.composer;
  }

  retry(clientId) {
    this.#client.outbox.retry(clientId);
  }

  discard(clientId) {
    this.#client.outbox.discard(clientId);
  }

  async leave(slug) {
    await this.#opened();
    return this.#on.leave(slug);
  }

  notified(slug, level) {
    this.#client.dispatch({ type: "room.added", room: { room: slug, notify: level } });
  }

  /** Opens the conversation with one other person, which begins now if there was none. */
  async direct(person) {
    const known = this.#directWith(person);
    this.#on.open(known ? known.slug : await this.#create(directRoom(this.me, [person])));
  }

  async join(slug) {
    await this.#opened();
    if (!this.room(slug)) await this.#client.join(slug);
    this.#on.open(slug);
  }

  async #create(fields) {
    await this.#opened();
    return this.#client.create(fields);
  }

  #directWith(person) {
    return Object.values(this.#client.state.rooms).find(
      ({ kind, others }) => kind === "direct" && others.length === 1 && others[0] === person.id,
    );
  }

  // --- What the page tells it -----------------------------------------------------------------------

  show(state) {
    const room = roomOf(state, state.open);
    this.aside.show(room, state);
    if (room && room.slug !== this.#counted && this.#client.connection.isOpen) this.#count(room.slug);
  }

  /** How many are in a room stands in its head. */
  #count(slug) {
    this.#counted = slug;
    this.residents.load(slug).catch(() => {}); // it says so where somebody looks for the people
  }

  heard(event) {
    this.#welcome(event);
    this.residents.heard(event);
  }

  /** Somebody else brought this person into a room. */
  #welcome(event) {
    const room = this.room(event.room);
    if (!room || !isBroughtIn(event, this.me)) return;
    const name = nameOf(event.by);
    const isTalk = room.kind === "direct";
    toast(isTalk ? `${name} began a conversation with you.` : `${name} brought you into ${room.name}.`);
  }

  /** Connected again: what was asked for before may be old. */
  ready() {
    for (const go of this.#waiting.splice(0)) go();
    this.residents.doubt();
    this.#counted = null;
    this.aside.refresh();
  }

  openPanel(name, options) {
    this.aside.open(name, this.#client.room, options);
  }

  // --- What a message's tools lead to -----------------------------------------------------------------

  askToDelete(message) {
    const isOwn = message.author.id === this.me.id;
    const room = this.#client.room.slug;
    this.confirmation.ask({
      title: "Delete this message?",
      words: "Its words and files are gone for everybody, in all versions. That somebody wrote here stays.",
      verb: "Delete",
      reason: isOwn ? null : { label: "Why? Everybody in the room can read it." },
      submit: (reason) => this.#client.remove({ room, id: message.id }, reason),
    });
  }

  askToReport(message) {
    const room = this.#client.room.slug;
    this.confirmation.ask({
      title: "Report this message?",
      words: `Administrators will look at what ${nameOf(message.author)} wrote. Nobody in the room learns of it.`,
      verb: "Report",
      reason: {
        label: "What is wrong with it?",
        needed: "Say what is wrong with it; only those who moderate see it.",
      },
      submit: async (reason) => {
        await this.#client.report({ room, id: message.id }, reason);
        toast("Reported. An administrator will look at it.");
      },
    });
  }

  /** All that a message has said, the newest first. */
  showVersions(message) {
    const known = messageOf(this.#client.room, message.id) ?? message;
    const versions = [...known.versions].reverse();
    this.#find("versions-list").replaceChildren(...versions.map(drawVersion));
    this.dialogs.versions.open();
  }

  askToLeave({ slug, name, kind }) {
    this.confirmation.ask({
      title: `Leave ${name}?`,
      words:
        kind === "public"
          ? "You will no longer see what is written there. You can join again whenever you like."
          : "You will no longer see what is written there. Somebody in it has to let you back.",
      verb: "Leave",
      stay: "Stay",
      submit: () => this.leave(slug),
    });
  }

  // --- Parts ------------------------------------------------------------------------------------------

  #makeAside() {
    this.#panels = {
      members: new MembersPanel(this),
      settings: new SettingsPanel(this),
      search: new SearchPanel(this),
      pins: new PinsPanel(this),
      thread: new ThreadPanel(this),
    };
    return new Aside({
      root: this.#find("aside"),
      workspace: this.#find("chat"),
      panels: this.#panels,
      on: { closed: this.#on.closed },
    });
  }

  #makeDialogs() {
    const find = this.#find;
    const createForm = new CreateForm(find("create-form"), { me: this.me, askPeople: this.people });
    const goes = {
      open: (slug) => this.#on.open(slug),
      join: (slug) => this.join(slug),
      direct: (person) => this.direct(person),
    };
    find("versions-dialog").addEventListener("close", () => find("versions-list").replaceChildren());
    return {
      create: new FormDialog(find("create-dialog"), async (_form, isAwaited) => {
        const slug = await this.#create(createForm.read());
        if (isAwaited()) this.#on.open(slug);
        else toast(`“${this.room(slug)?.name ?? slug}” is in your list now.`);
      }),
      directory: new Directory({ dialog: find("directory-dialog"), source: this.publicRooms, on: goes }),
      switcher: new Switcher({ dialog: find("switcher-dialog"), source: this.#source(), on: goes }),
      versions: new FormDialog(find("versions-dialog")),
      keys: new FormDialog(find("keys-dialog")),
    };
  }

  #source() {
    return {
      me: this.me,
      rooms: () =>
        listed(this.#client.state).map((room) => {
          const { slug, name, kind, others, archived } = room;
          return { slug, name, kind, others, archived, ...badgeOf(room) };
        }),
      people: this.people,
      publicRooms: this.publicRooms,
      directWith: (person) => this.#directWith(person),
    };
  }

  #pressed(event) {
    const opener = event.target.closest("[data-opens]");
    if (opener) this.dialogs[opener.dataset.opens].open();
    const tab = event.target.closest("button[data-panel]");
    if (!tab) return;
    if (tab.closest("#aside")) this.openPanel(tab.dataset.panel);
    else this.aside.toggle(tab.dataset.panel, this.#client.room);
  }
}

function drawVersion({ body, html, at }, index, all) {
  const text = h("div", { class: "message-body", dir: "auto" });
  if (html) text.append(messageFragment(html));
  else text.append(h("p", { class: "plain" }, body ?? ""));
  const word = index === 0 ? "Now" : index === all.length - 1 ? "At first" : "Before";
  return h(
    "li",
    { class: "version" },
    h("p", { class: "soft small" }, `${word}, `, h("time", { datetime: at }, fullTime(new Date(at)))),
    text,
  );
}
