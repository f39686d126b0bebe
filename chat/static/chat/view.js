/** Draws the whole page from the state; knows elements, decides nothing. */

import { bannerFor } from "./banner.js";
import { h, setAttribute, setText } from "./dom.js";
import { MessageList } from "./messages.js";
import { RoomList, kindWords } from "./rooms.js";
import { badgeOf, isFilled, isFull, listed, roomOf, shown, typists, unread, unreadInAll } from "./store.js";
import { timeline } from "./timeline.js";

const wide = matchMedia("(min-width: 48rem)");

export class View {
  /**
   * @param {object} on      open(slug) and what the list of messages wants (messages.js)
   * @param {object} people  presenceOf(user id), countOf(slug): how many there are, if known
   */
  constructor({ find, on, people }) {
    this.find = find;
    this.people = people;
    this.rooms = new RoomList({ root: find("room-list"), on });
    this.messages = new MessageList({
      scroller: find("scroller"),
      list: find("timeline"),
      jump: find("jump"),
      on,
    });
  }

  get isWide() {
    return wide.matches;
  }

  show(state, { connection, lostAt, waiting, now }) {
    const room = roomOf(state, state.open);
    this.#showFrame(state, room);
    this.#showRooms(state);
    if (room) this.#showRoom(state, room, now);
    this.#showBanner({ connection, lostAt, waiting, now });
    this.find("chat").dataset.connection = connection.name;
    document.title = title(state, room);
  }

  #showFrame(state, room) {
    const { find } = this;
    find("chat").dataset.pane = state.open === null ? "rooms" : "room";
    document.body.classList.toggle("is-in-room", state.open !== null);
    find("loading").hidden = state.synced;
    find("room").hidden = !room;
    find("nothing-open").hidden = Boolean(room) || state.open !== null || !state.synced;
    if (!room) this.messages.clear();
  }

  #showRooms(state) {
    if (!state.synced) return; // what came with the page stays until more is known
    const rooms = listed(state).map((room) => this.#line(room));
    this.rooms.show(rooms, state.open);
    this.find("no-rooms").hidden = rooms.length > 0;
  }

  #line(room) {
    const { slug, name, kind, archived, notify, others, last, head } = room;
    const isTwo = kind === "direct" && others.length === 1;
    return {
      slug,
      name,
      kind,
      others,
      archived,
      ...badgeOf(room),
      isBehind: last < head,
      muted: notify === "nothing",
      presence: isTwo ? this.people.presenceOf(others[0]) : null,
    };
  }

  #showHead(room) {
    const { find } = this;
    const count = room.kind === "direct" ? room.others.length + 1 : this.people.countOf(room.slug);
    setText(find("room-name"), room.name);
    setText(find("room-kind"), kindWords(room));
    setText(find("member-count"), count ? String(count) : "");
    setAttribute(find("show-members"), "aria-label", membersWords(count));
    find("room").dataset.slug = room.slug;
    setAttribute(find("scroller"), "aria-label", `Messages in ${room.name}`);
  }

  #showRoom(state, room, now) {
    const { find } = this;
    const items = timeline(room, state.me, new Date(now));
    this.#showHead(room);
    const { more } = shown(room);
    const hasOlder = more && (room.window !== null || room.asked) && !isFull(room);
    find("room-start").hidden = more || !isFilled(room);
    find("older").hidden = !hasOlder;
    find("room-empty").hidden = !isFilled(room) || items.some((item) => item.isMessage);
    setText(find("typing"), typingWords(room.archived ? [] : typists(room, now)));
    this.messages.show({
      slug: room.slug,
      items,
      unread: unread(state, room),
      hasOlder,
      hasNewer: room.window !== null,
      isFilled: isFilled(room),
      target: room.target,
    });
  }

  #showBanner({ connection, lostAt, waiting, now }) {
    const banner = bannerFor({ connection, lostAt, now, waiting, isOnline: navigator.onLine });
    this.find("banner").hidden = banner === null;
    if (banner === null) return;
    setText(this.find("banner-text"), banner.text);
    setText(this.find("banner-wait"), banner.wait);
    this.find("retry-now").hidden = !banner.canRetry;
  }

  /** The last page of this visit: nothing of the chat stays on screen. */
  showStopped({ code, title: heading, sentence, steps }) {
    const { find } = this;
    this.messages.clear();
    this.rooms.clear();
    find("chat").hidden = true;
    document.body.classList.remove("is-in-room");
    setText(find("stopped-title"), heading);
    setText(find("stopped-text"), sentence);
    find("stopped-steps").replaceChildren(...steps.map((step) => h("li", {}, step)));
    setText(find("stopped-code"), String(code));
    find("stopped").dataset.code = code;
    find("stopped").hidden = false;
    find("stopped-title").focus();
    document.title = `${heading} – Signet`;
  }
}

function title(state, room) {
  const count = unreadInAll(state);
  return `${count > 0 ? `(${count}) ` : ""}${room ? room.name : "Chat"} – Signet`;
}

function membersWords(count) {
  if (!count) return "People in this room";
  return count === 1 ? "1 person in this room" : `${count} people in this room`;
}

function typingWords(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return "Several people are typing…";
}
