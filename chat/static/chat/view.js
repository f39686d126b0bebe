/** Draws the whole page from the state; knows elements, decides nothing. */

import { bannerFor } from "./banner.js";
import { h, setAttribute, setText } from "./dom.js";
import { MessageList } from "./messages.js";
import { KINDS, RoomList } from "./rooms.js";
import { isFilled, listed, roomOf, typists, unread, unreadInAll } from "./store.js";
import { timeline } from "./timeline.js";

const wide = matchMedia("(min-width: 48rem)");

export class View {
  /** @param {object} on  open(slug), older(), moved(), toggled(), retry(clientId), discard(clientId) */
  constructor({ find, on }) {
    this.find = find;
    this.rooms = new RoomList({ list: find("room-list"), filter: find("room-filter"), on });
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
    find("outside").hidden = Boolean(room) || state.open === null || !state.synced;
    find("nothing-open").hidden = Boolean(room) || state.open !== null || !state.synced;
    setText(find("outside-name"), state.open ?? "");
    if (!room) this.messages.clear();
  }

  #showRooms(state) {
    const rooms = listed(state).map((room) => {
      const { slug, name, kind } = room;
      return { slug, name, kind, unread: unread(state, room) };
    });
    this.rooms.show(rooms, state.open);
    this.find("no-rooms").hidden = rooms.length > 0 || !state.synced;
  }

  #showRoom(state, room, now) {
    const { find } = this;
    const items = timeline(room, state.me, new Date(now));
    setText(find("room-name"), room.name);
    find("leave-room").hidden = room.kind === "direct";
    setText(find("room-kind"), KINDS[room.kind] ?? "");
    find("room").dataset.slug = room.slug;
    setAttribute(find("scroller"), "aria-label", `Messages in ${room.name}`);
    find("room-start").hidden = room.more || !isFilled(room);
    find("older").hidden = !room.more || !room.asked;
    find("room-empty").hidden = !isFilled(room) || items.some((item) => item.isMessage);
    setText(find("typing"), typingWords(typists(room, now)));
    this.messages.show({
      slug: room.slug,
      items,
      unread: unread(state, room),
      hasOlder: room.more && room.asked,
      isFilled: isFilled(room),
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
    find("room-list").replaceChildren();
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

function typingWords(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return "Several people are typing…";
}
