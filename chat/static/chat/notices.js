/**
 * Telling a person who looks elsewhere: notices of the browser, and a mark on the page's icon. A
 * notice says who wrote where and not what, unless the person wants the text, on this device. None is
 * shown while its room is in view here, or once another device of the person has read it.
 */

import { systemClock } from "./outbox.js";
import { badgeOf, messageOf, nameOf, roomOf } from "./store.js";

const WAIT_MS = 2000; // for another device to say that it has read the message
const SPOKEN_LETTERS = 200;

/**
 * What to show for a new event: {title, text} or null.
 *
 * @param {object} room  with kind, name and notify
 */
export function noticeOf(event, { me, room }) {
  if (event.type !== "message.posted" || event.by.id === me?.id) return null;
  const deed = deedOf(event.data, { me, room });
  if (room.notify === "nothing" || (room.notify === "mentions" && deed === "wrote")) return null;
  const author = nameOf(event.by);
  const { body = "" } = event.data;
  const text = body.length > SPOKEN_LETTERS ? `${body.slice(0, SPOKEN_LETTERS)}…` : body;
  const title = room.kind === "direct" ? `${author} wrote to you` : `${author} ${deed} in ${room.name}`;
  return { title, text };
}

/** What the author did to this person; only “wrote” where it was not meant for them. */
function deedOf({ mentions = [], everyone = false, reply_to, thread }, { me, room }) {
  if (everyone || mentions.includes(me?.id)) return "named you";
  const answered = [reply_to, thread].map((id) => messageOf(room, id)?.author.id);
  return answered.includes(me?.id) ? "answered you" : "wrote";
}

export class Notices {
  #storage;
  #prefix;
  #api;
  #clock;
  #on;
  #icon;
  #shown = new Map(); // slug → {notice, seq}
  #isRefused; // by a browser that has the interface and lets no page use it, as this version on Android

  /**
   * @param {object} o
   * @param {Function} o.api    the browser's Notification; missing in some
   * @param {object} o.on       open(slug, seq) when one is clicked; state() => the client's state;
   *   isInView(slug) => whether somebody sees the end of that room here
   */
  constructor({ storage, user, icon = "", on, api = globalThis.Notification, clock = systemClock }) {
    this.#storage = storage;
    this.#prefix = `signet.notices.${user}.`;
    this.#icon = icon;
    this.#on = on;
    this.#api = api;
    this.#clock = clock;
    this.#isRefused = storage.get(`${this.#prefix}refused`) === navigator.userAgent;
  }

  /** `default` before the person was asked, `granted`, `denied`, or `missing`. */
  get permission() {
    return (!this.#isRefused && this.#api?.permission) || "missing";
  }

  get isOn() {
    return this.permission === "granted" && this.#storage.get(`${this.#prefix}off`) === null;
  }

  get showsText() {
    return this.#storage.get(`${this.#prefix}text`) !== null;
  }

  /**
   * Only after a gesture: browsers refuse those who ask by themselves, and so do people. The first
   * notice says that they are on; where it cannot be shown, none can.
   */
  async turnOn() {
    this.#storage.remove(`${this.#prefix}off`);
    if (this.permission === "default") await this.#api.requestPermission();
    if (this.isOn) this.#make("Signet shows notices here", this.#options({ tag: "signet" }));
    return this.isOn;
  }

  turnOff() {
    this.#storage.set(`${this.#prefix}off`, "1");
    for (const slug of [...this.#shown.keys()]) this.#close(slug);
  }

  showText(value) {
    if (value) this.#storage.set(`${this.#prefix}text`, "1");
    else this.#storage.remove(`${this.#prefix}text`);
  }

  arrived(event) {
    if (this.isOn && this.#wanted(event)) this.#clock.after(WAIT_MS, () => this.#tell(event));
  }

  /** Takes back the notices of what has been read meanwhile, here or elsewhere. */
  follow(state) {
    for (const [slug, { seq }] of this.#shown) {
      const room = roomOf(state, slug);
      if (!room || room.read >= seq) this.#close(slug);
    }
  }

  #wanted(event) {
    const state = this.#on.state();
    const room = roomOf(state, event.room);
    const isSeen = !room || room.read >= event.seq || this.#on.isInView(event.room);
    return isSeen ? null : noticeOf(event, { me: state.me, room });
  }

  #tell(event) {
    const wanted = this.isOn && this.#wanted(event);
    if (!wanted) return;
    const { room, seq } = event;
    const body = this.showsText ? wanted.text : "";
    const notice = this.#make(wanted.title, this.#options({ body, tag: `signet-${room}` }));
    if (!notice) return;
    notice.onclick = () => {
      this.#close(room);
      this.#on.open(room, seq);
    };
    this.#shown.set(room, { notice, seq });
  }

  #options(given) {
    return { icon: this.#icon, silent: true, ...given };
  }

  #make(title, options) {
    try {
      return new this.#api(title, options);
    } catch {
      this.#isRefused = true;
      this.#storage.set(`${this.#prefix}refused`, navigator.userAgent);
      return null;
    }
  }

  #close(slug) {
    this.#shown.get(slug)?.notice.close();
    this.#shown.delete(slug);
  }
}

// --- The page's icon ---------------------------------------------------------------------------------------

const DISC = '<circle r="15.5" fill="#0b6557"/>';
const S =
  "M5.2-4.6C4.4-6.5 2.5-7.6.1-7.6c-2.9 0-5 1.5-5 3.8c0 5.2 10.2 2.5 10.2 7.8c0 2.3-2.2 3.8-5.2 3.8c-2.6 0-4.6-1.2-5.5-3.3";
const LETTER = `<path fill="none" stroke="#fbfaf7" stroke-width="2.9" stroke-linecap="round" d="${S}"/>`;

const DIGITS =
  'font-family="sans-serif" font-size="13" font-weight="700" text-anchor="middle" fill="#2b1d00"';

/** The icon with a number where somebody is named, with a dot where something waits; "" for neither. */
export function markedIcon({ unread, mentions }) {
  if (unread === 0 && mentions === 0) return "";
  const number = mentions > 9 ? "9+" : String(mentions);
  const mark =
    mentions > 0
      ? `<circle cx="8" cy="8" r="9" fill="#e6b549"/><text x="8" y="12.5" ${DIGITS}>${number}</text>`
      : '<circle cx="10" cy="10" r="6.5" fill="#e6b549"/>';
  const frame = 'xmlns="http://www.w3.org/2000/svg" viewBox="-17 -17 34 34"';
  return `data:image/svg+xml,${encodeURIComponent(`<svg ${frame}>${DISC}${LETTER}${mark}</svg>`)}`;
}

/** What waits in all rooms, as far as the person wants to hear of them. */
export function waiting(state) {
  const badges = Object.values(state.rooms).map(badgeOf);
  const sum = (name) => badges.reduce((total, badge) => total + badge[name], 0);
  return { unread: sum("unread"), mentions: sum("mentions") };
}

/** The icon of the page, and of the installed application. */
export class Badge {
  #link;
  #plain;
  #now = "";

  constructor(link) {
    this.#link = link;
    this.#plain = link?.href ?? "";
  }

  show(state) {
    const { unread, mentions } = waiting(state);
    const icon = markedIcon({ unread, mentions });
    if (icon === this.#now) return;
    this.#now = icon;
    if (this.#link) this.#link.href = icon || this.#plain;
    const told = mentions > 0 ? navigator.setAppBadge?.(mentions) : this.#plainBadge(unread);
    told?.catch(() => {}); // only installed applications have one
  }

  #plainBadge(unread) {
    return unread > 0 ? navigator.setAppBadge?.() : navigator.clearAppBadge?.();
  }
}
