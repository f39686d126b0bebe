/**
 * The box one writes in: Enter sends, drafts are kept for each room and thread, and it is never shut
 * while one may write. It is used twice, for the room and for the thread beside it, and builds its
 * parts into the form it is given.
 */

import { parseCommand } from "./commands.js";
import { build, countWords, grow, nameIn, quoteOf, showTask } from "./composer_parts.js";
import { setAttribute, setText } from "./dom.js";
import { callsAll, isMany } from "./mentions.js";
import { byteLength } from "./protocol.js";
import { Question } from "./question.js";
import { WaitLine } from "./slowmode.js";
import { Suggestions } from "./suggestions.js";
import { toast } from "./toast.js";
import { FileRow } from "./tray.js";

const TYPING_EVERY_MS = 3000;
const IME = 229; // the key code of a key that an input method takes

/** On a touch keyboard Enter means a new line, and the button sends. */
const touch = matchMedia("(hover: none) and (pointer: coarse)");

export class Composer {
  #form;
  #parts;
  #drafts;
  #on;
  #people;
  #files;
  #suggestions;
  #question;
  #wait;
  #place = null; // {slug, name, thread, …}: where what is written goes
  #key = null; // of its draft
  #reply = null; // {id, author, body}
  #editing = null;
  #unsaved = new Map(); // key → the edit that was refused while one was elsewhere: {message, body, why}
  #isBusy = false;
  #typedAt = 0;

  /**
   * @param {object} o
   * @param {HTMLFormElement} o.form  its id names the parts: `<id>-input` is the box
   * @param {Drafts} o.drafts
   * @param {object} o.people         members(slug) and called(query), each a Promise that never fails
   * @param {Function} o.trayOf       (slug, changed) => Tray
   * @param {Function} o.me           () => the person
   * @param {object} o.on
   *   send(post), edit(message, body) => Promise, command(command) => Promise, typing(),
   *   takeBack(clientId | null) => refused post | null, lastOwn() => message | null, pickEmoji(anchor) => Promise, limitsOf(slug) => Promise of words
   */
  constructor({ form, drafts, people, trayOf, me, on }) {
    this.#form = form;
    this.#drafts = drafts;
    this.#people = people;
    this.#on = on;
    this.#parts = build(form);
    this.#listen();
    this.#watchWidth();
    const { ask: element, wait: line, waitWords: words, waitCount: count } = this.#parts;
    this.#files = new FileRow({
      list: this.#parts.tray,
      trayOf,
      on: {
        changed: (key, attachments) => this.#filesChanged(key, attachments),
        pressed: () => this.#box.focus({ preventScroll: true }),
      },
    });
    this.#question = new Question({ element, closed: () => this.#box.focus({ preventScroll: true }) });
    this.#wait = new WaitLine({ line, words, count });
    this.#suggestions = new Suggestions({
      box: this.#box,
      list: this.#parts.suggestions,
      status: this.#parts.suggested,
      sources: {
        members: () => people.members(this.#place.slug),
        people: people.called,
        me,
      },
      taken: () => this.#changed(),
    });
  }

  /**
   * Where one writes now. Called at every drawing, it does nothing where nothing moved.
   *
   * @param {object} place  {slug, name, thread, limit, shut, slow, until}; `shut` is the sentence that
   *   stands instead of the box, `slow` the seconds between messages, `until` when the next may go
   */
  open(place) {
    const { slug, name, thread = null, shut = "" } = place;
    const key = thread === null ? slug : `${slug}.${thread}`;
    const isMoved = key !== this.#key;
    if (isMoved) this.#leave();
    this.#place = { limit: Infinity, slow: 0, until: null, ...place, thread };
    this.#box.placeholder = thread === null ? `Message ${name}` : "Answer in this thread";
    setText(this.#parts.label, thread === null ? `Message to ${name}` : `Message to the thread in ${name}`);
    if (isMoved) this.#enter(key);
    this.#showShut(shut);
    this.#wait.show(this.#place.slow, this.#place.until);
  }

  focus() {
    if (!touch.matches && !this.#parts.body.hidden) this.#box.focus({ preventScroll: true });
  }

  /** @param {object} message  {id, author, body} */
  beginReply(message) {
    if (this.#editing) this.cancel();
    this.#reply = { id: message.id, author: nameIn(message.author), body: quoteOf(message) };
    this.#keep();
    this.#showTask();
    this.#box.focus({ preventScroll: true });
  }

  /** What was being written comes back when the edit is over. */
  beginEdit(message, { body = message.body, why = "" } = {}) {
    this.#editing = message;
    this.#write(body);
    this.#say(why);
    this.#showTask();
    this.#box.focus({ preventScroll: true });
    this.#box.setSelectionRange(body.length, body.length);
  }

  /** Takes a message that was refused into the box again, where that costs nothing that is written there. */
  rewrite(clientId) {
    if (this.#parts.body.hidden) throw new Error(this.#parts.shut.textContent);
    if (!this.#isBlank) throw new Error("Send what is in the box first, or clear it.");
    this.#takeBack(clientId);
    this.#box.focus({ preventScroll: true });
  }

  /** Gives up the edit, or the reply where there is none. */
  cancel() {
    if (this.#isBusy) return;
    if (this.#editing) this.#endEdit();
    else this.#dropReply();
    this.#showTask();
    this.#box.focus({ preventScroll: true });
  }

  /** Files from a paste, a drop or the button. */
  attach(files) {
    if (this.#editing || this.#parts.body.hidden) return;
    this.#say(this.#tray.add(files).join(" "));
    this.#box.focus({ preventScroll: true });
  }

  /** Where one writes now, as `open` was told. */
  get place() {
    return this.#place;
  }

  get takesFiles() {
    return this.#key !== null && !this.#parts.body.hidden && !this.#editing;
  }

  // --- From place to place -----------------------------------------------------------------------------

  get #box() {
    return this.#parts.box;
  }

  get #tray() {
    return this.#files.tray;
  }

  /** Every change was kept already; another tab may have written here since. */
  #leave() {
    if (this.#key === null) return;
    this.#suggestions.close();
    if (this.#editing) this.#endEdit();
  }

  #enter(key) {
    this.#key = key;
    this.#editing = null;
    this.#typedAt = 0;
    this.#showBusy(false); // what another room waits for is no reason to wait here
    const { text, reply, attachments } = this.#drafts.get(key);
    this.#reply = reply;
    this.#write(text);
    this.#say("");
    this.#question.close();
    this.#showTask();
    this.#files.open(key, this.#place.slug, attachments);
    this.#resumeEdit();
  }

  /** An edit is nobody's draft. */
  #keep() {
    if (this.#key === null || this.#editing) return;
    const { attachments } = this.#tray;
    this.#drafts.set(this.#key, { text: this.#box.value, reply: this.#reply, attachments });
  }

  // --- Keys --------------------------------------------------------------------------------------------

  #listen() {
    const { box, file, attach, emoji, drop } = this.#parts;
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    box.addEventListener("input", () => this.#changed());
    box.addEventListener("keydown", (event) => this.#keyed(event));
    box.addEventListener("click", () => this.#suggestions.update());
    box.addEventListener("paste", (event) => this.#pasted(event));
    box.enterKeyHint = touch.matches ? "enter" : "send";
    attach.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.attach([...file.files]);
      file.value = "";
    });
    for (const name of ["pointerenter", "focus", "click"]) {
      attach.addEventListener(name, () => this.#tellLimits(), { once: true });
    }
    emoji.addEventListener("click", () => this.#insertEmoji());
    drop.addEventListener("click", () => this.cancel());
    this.#form.addEventListener("keydown", (event) => this.#escaped(event));
  }

  #keyed(event) {
    if (this.#suggestions.keyed(event)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (this.#sends(event)) {
      event.preventDefault();
      this.#form.requestSubmit();
    } else if (event.key === "ArrowUp" && this.#isBlank && !hasModifier(event)) {
      if (this.#takeBack() || this.#editLast()) event.preventDefault();
    }
  }

  /** A message that was refused can be written anew, with what arrived of its files: this one, or the first. */
  #takeBack(clientId = null) {
    const refused = this.#on.takeBack(clientId);
    if (!refused) return false;
    this.#write(refused.body);
    this.#tray.restore(refused.attachments);
    this.#dropReply();
    this.#showTask();
    if (refused.answered) this.beginReply(refused.answered);
    if (refused.missing.length > 0) this.#say(`Attach again: ${refused.missing.join(", ")}`);
    return true;
  }

  #editLast() {
    const last = this.#on.lastOwn();
    if (last) this.beginEdit(last);
    return Boolean(last);
  }

  #sends(event) {
    if (event.key !== "Enter" || event.isComposing || event.keyCode === IME) return false;
    return !touch.matches && !hasModifier(event);
  }

  /** Escape takes back the last thing that was begun, one at a time. */
  #escaped(event) {
    if (event.key !== "Escape" || event.isComposing) return;
    if (this.#question.isOpen) this.#question.close();
    else if (this.#editing || this.#reply) this.cancel();
    else if (this.#parts.notice.textContent) this.#say("");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  get #isBlank() {
    return !this.#box.value && !this.#editing && this.#tray.isEmpty;
  }

  // --- Sending -----------------------------------------------------------------------------------------

  async #submit(event) {
    event.preventDefault();
    if (this.#isBusy || this.#parts.body.hidden) return;
    const text = this.#box.value.trim();
    if (byteLength(text) > this.#place.limit) return;
    this.#say("");
    this.#suggestions.close();
    if (this.#editing) return this.#saveEdit(text);
    const command = parseCommand(text);
    if (command.name === "wrong") return this.#say(command.sentence);
    if (command.name !== "post") return this.#obey(command);
    if (!command.body && this.#tray.isEmpty) return;
    if (!callsAll(command.body)) return this.#send(command.body);
    const { value: isMeant } = await this.#busy(() => this.#mayCall(command.body));
    if (isMeant) this.#send(command.body);
  }

  #send(body) {
    const { slug: room, thread } = this.#place;
    const { attachments, parcel } = this.#tray.take();
    const reply_to = this.#reply?.id ?? null;
    this.#clear();
    this.#on.send({ room, body, reply_to, thread, attachments, parcel });
  }

  #clear() {
    this.#reply = null;
    this.#typedAt = 0;
    this.#question.close();
    this.#write("");
    this.#keep();
    this.#showTask();
    this.#box.focus({ preventScroll: true });
  }

  async #obey(command) {
    const key = this.#key;
    const { value = "", error } = await this.#busy(() => this.#on.command(command));
    if (!error) this.#blank(key);
    const isHere = key === this.#key;
    if (error && isHere) this.#say(error);
    else if (error) toast(error, { isRefusal: true });
    else if (value && isHere) toast(value);
  }

  /** The words of a draft are done with, be it open or not. */
  #blank(key) {
    if (key === this.#key && !this.#editing) this.#write("");
    this.#drafts.set(key, { ...this.#drafts.get(key), text: "" });
  }

  async #saveEdit(body) {
    const message = this.#editing;
    const [key, { name }] = [this.#key, this.#place];
    if (!body) return this.#say("An edit cannot be empty. Delete the message instead.");
    if (body === message.body.trim()) return this.cancel();
    const { error } = await this.#busy(() => this.#on.edit(message, body));
    if (this.#editing === message) return error ? this.#say(`Not saved. ${error}`) : this.cancel();
    if (!error) return;
    toast(`Your edit in ${name} was not saved. ${error}`, { isRefusal: true });
    this.#unsaved.set(key, { message, body, why: `Not saved. ${error}` });
    this.#resumeEdit();
  }

  #resumeEdit() {
    const edit = this.#unsaved.get(this.#key);
    if (!edit || this.#editing) return;
    this.#unsaved.delete(this.#key);
    this.beginEdit(edit.message, edit);
  }

  /** One thing at a time; the box can be read meanwhile and keeps its text. */
  async #busy(action) {
    const key = this.#key;
    this.#showBusy(true);
    try {
      return { value: await action() };
    } catch (error) {
      return { error: error.message };
    } finally {
      if (key === this.#key) this.#showBusy(false);
    }
  }

  #showBusy(value) {
    this.#isBusy = value;
    this.#box.readOnly = value;
    setAttribute(this.#form, "aria-busy", value ? "true" : null);
  }

  /** A word to everybody of a large room is asked about first; the room may be gone meanwhile. */
  async #mayCall(body) {
    const key = this.#key;
    const members = await this.#people.members(this.#place.slug);
    if (key !== this.#key) return false;
    if (!isMany(members.length)) return true;
    this.#askAll(body, members.length);
    return false;
  }

  #askAll(body, count) {
    this.#question.ask({
      words: `@all tells all ${count} people in ${this.#place.name}. Send it?`,
      verb: "Send to all",
      then: () => this.#send(body),
    });
  }

  // --- What shows ----------------------------------------------------------------------------------------

  #changed() {
    this.#say("");
    this.#keep();
    this.#fit();
    this.#question.close();
    this.#suggestions.update();
    if (this.#editing || !this.#box.value.trim()) return;
    if (Date.now() - this.#typedAt <= TYPING_EVERY_MS) return;
    this.#typedAt = Date.now();
    this.#on.typing(this.#place);
  }

  #write(text) {
    this.#box.value = text;
    this.#fit();
  }

  #endEdit() {
    this.#editing = null;
    this.#write(this.#drafts.get(this.#key).text);
  }

  #dropReply() {
    this.#reply = null;
    this.#keep();
  }

  async #insertEmoji() {
    const emoji = await this.#on.pickEmoji(this.#parts.emoji);
    this.#box.focus({ preventScroll: true });
    if (!emoji) return;
    this.#box.setRangeText(emoji, this.#box.selectionStart, this.#box.selectionEnd, "end");
    this.#changed();
  }

  #pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || this.#editing) return;
    event.preventDefault();
    this.attach(files);
  }

  #say(sentence) {
    setText(this.#parts.notice, sentence);
    this.#parts.notice.hidden = !sentence;
  }

  /** Grows with its text up to what the style sheet allows, and counts near the limit. */
  #fit() {
    grow(this.#box, this.#form);
    const limit = this.#place?.limit ?? Infinity;
    const left = limit - byteLength(this.#box.value.trim());
    const isNear = left < limit / 5;
    this.#parts.count.hidden = !isNear;
    if (isNear) setText(this.#parts.count, countWords(left));
    this.#form.classList.toggle("is-too-long", left < 0);
    this.#box.setAttribute("aria-invalid", String(left < 0));
  }

  /** Lines break elsewhere in a box of another width. */
  #watchWidth() {
    let width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width !== width) this.#fit();
      width = contentRect.width;
    }).observe(this.#box);
  }

  #showTask() {
    this.#form.classList.toggle("is-editing", Boolean(this.#editing));
    showTask(this.#parts, { isEditing: Boolean(this.#editing), reply: this.#reply });
  }

  #showShut(sentence) {
    const { body, shut } = this.#parts;
    if (body.hidden === Boolean(sentence) && shut.textContent === sentence) return;
    body.hidden = Boolean(sentence);
    shut.hidden = !sentence;
    setText(shut, sentence);
    this.#fit();
  }

  // --- Files ---------------------------------------------------------------------------------------------

  async #tellLimits() {
    const words = await this.#on.limitsOf(this.#place.slug);
    if (words) this.#parts.attach.title = `Attach files. ${words}.`;
  }

  /** The files of a draft that is not open go on, too. */
  #filesChanged(key, attachments) {
    this.#drafts.set(key, { ...this.#drafts.get(key), attachments });
  }
}

function hasModifier({ shiftKey, ctrlKey, altKey, metaKey }) {
  return shiftKey || ctrlKey || altKey || metaKey;
}
