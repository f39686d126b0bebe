/**
 * The list of messages: drawn from the timeline, and careful with the place the reader is at. It
 * follows new messages only at the end, and keeps the view still when others come in above or below.
 */

import { keyed, setText } from "./dom.js";
import { makeItem, messageElement, setTabbable, updateItem } from "./messageview.js";
import { Toolbar } from "./toolbar.js";

export { messageElement };

const NEAR_END = 100;
const NEAR_START = 800;
const LONG = 300; // lines: less than what is kept of a room at the least, where it has more
const MARKED_MS = 3000; // as long as the style sheet takes to fade it

export class MessageList {
  #scroller;
  #list;
  #jump;
  #on;
  #toolbar;
  #slug = null;
  #landed = false;
  #following = true;
  #end = 0; // where the view was last when it was at the end
  #expanded = new Set();
  #items = new Map();
  #hasOlder = false;
  #hasNewer = false;
  #turn = 0; // of the target that was gone to last

  /**
   * @param {object} on  older(), newer(), newest(), moved(), toggled(), retry(clientId),
   *   discard(clientId), jump({id, seq}), act(name, item, extra, anchor)
   */
  constructor({ scroller, list, jump, on }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#jump = jump;
    this.#on = on;
    this.#toolbar = new Toolbar({ on: { act: (...deed) => this.#act(...deed) } });
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("keydown", (event) => this.#keyed(event));
    list.addEventListener("focusin", (event) => this.#focused(event));
    list.addEventListener("pointerover", (event) => this.#pointed(event));
    list.addEventListener("pointerleave", () => this.#unpointed());
    const observer = new ResizeObserver(() => this.#following && this.#landed && this.#scrollToEnd());
    observer.observe(scroller);
    observer.observe(list);
  }

  /** Whether somebody who looks at the page sees the newest message. */
  get showsEnd() {
    return this.#isInView && this.#following && !this.#hasNewer;
  }

  get #isInView() {
    return this.#landed && this.#scroller.clientHeight > 0;
  }

  show({ slug, items, unread, hasOlder, hasNewer = false, isFilled, target = null }) {
    if (slug !== this.#slug) this.#begin(slug);
    this.#hasOlder = hasOlder;
    this.#hasNewer = hasNewer;
    this.#noteScrolling();
    const place = this.#following && !hasNewer ? null : this.#placeOfReader();
    this.#draw(items);
    const isExchanged = this.#following && hasNewer; // who was at the end is far back now
    const isWanted = target !== null && target.turn !== this.#turn && isFilled;
    if (isWanted && this.#goTo(target)) this.#landed = true;
    else if ((!this.#landed || isExchanged) && isFilled) this.#land();
    else if (this.#following && !hasNewer) this.#scrollToEnd();
    else this.#restore(place);
    if (this.#isInView && !this.#following) this.#lookForEnd();
    this.#showJump(unread);
    this.#fetch();
  }

  /** To the newest message of the room, also from far back. */
  toEnd() {
    this.#following = true;
    this.#end = 0; // what is drawn next may be another part of the room
    if (this.#hasNewer) this.#on.newest();
    else this.#scrollToEnd();
  }

  clear() {
    this.#begin(null);
  }

  /** The item with this number gets the focus, so that the keyboard goes on from there. */
  focus(seq) {
    this.#list.querySelector(`:scope > [data-seq="${seq}"]`)?.focus({ preventScroll: true });
  }

  // --- Place --------------------------------------------------------------------------------------

  #begin(slug) {
    this.#slug = slug;
    this.#landed = false;
    this.#following = true;
    this.#end = 0;
    this.#turn = 0;
    this.#expanded.clear();
    this.#items.clear();
    this.#toolbar.detach();
    this.#list.replaceChildren();
  }

  /** The first look at a room: where the new messages begin, or at the end. */
  #land() {
    this.#landed = true;
    const news = this.#list.querySelector(".divider-new");
    this.#scrollToEnd();
    if (news) this.#scroller.scrollTop += this.#below(news) - this.#scroller.clientHeight / 5;
    this.#lookForEnd();
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#end = this.#scroller.scrollTop;
  }

  /** Shows a message in the middle and marks it; false where it is not drawn (yet). */
  #goTo({ seq, turn }) {
    const element = this.#elementAt(seq);
    if (!element) return false;
    this.#turn = turn;
    const row = rowOf(element);
    const space = this.#scroller.clientHeight - row.offsetHeight;
    this.#scroller.scrollTop += this.#below(row) - Math.max(0, space / 2);
    this.#lookForEnd();
    for (const other of this.#list.querySelectorAll(".is-target")) other.classList.remove("is-target");
    element.classList.add("is-target");
    setTimeout(() => element.classList.remove("is-target"), MARKED_MS);
    element.focus({ preventScroll: true });
    return true;
  }

  /** The item with this number, or the next one: not everything that has a number is shown. */
  #elementAt(seq) {
    const items = [...this.#items.values()].filter((item) => item.seq >= seq && Number.isFinite(item.seq));
    const key = items[0]?.key ?? [...this.#items.values()].at(-1)?.key;
    return [...this.#list.children].find((child) => child.dataset.key === key);
  }

  /** How far an element is below the upper edge of what is seen. */
  #below(element) {
    return element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
  }

  #toLowerEdge() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  /** Who is near the end follows what comes there. */
  #lookForEnd() {
    this.#following = !this.#hasNewer && this.#toLowerEdge() < NEAR_END;
    this.#end = this.#scroller.scrollTop;
  }

  #scrolled() {
    if (!this.#isInView) return;
    this.#lookForEnd();
    this.#fetch();
    this.#on.moved();
  }

  /** The browser tells of scrolling with its next frame only; who has left the end stays away. */
  #noteScrolling() {
    if (this.#following && this.#scroller.scrollTop < this.#end - 1) this.#lookForEnd();
  }

  /**
   * What comes before and after, where little of it is left; also where nothing can be scrolled. On a
   * screen that has space for all that is kept of a room, what came would push out what came before.
   */
  #fetch() {
    if (!this.#isInView) return;
    const [above, below] = [this.#scroller.scrollTop, this.#toLowerEdge()];
    if (this.#items.size > LONG && above + below < 4 * NEAR_START) return;
    if (this.#hasOlder && above < NEAR_START) this.#on.older();
    if (this.#hasNewer && below < NEAR_START) this.#on.newer();
  }

  /** The first row that is seen; rows stand in order, so few of them are measured. */
  #placeOfReader() {
    const { children } = this.#list;
    const edge = this.#scroller.getBoundingClientRect().top;
    let [low, high] = [0, children.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rowOf(children[middle]).getBoundingClientRect().bottom > edge) high = middle;
      else low = middle + 1;
    }
    const child = children[low];
    return child ? { child, below: this.#below(rowOf(child)) } : null;
  }

  /** Lines above a row come and go, so the row itself is what stays where it was. */
  #restore(place) {
    if (!place?.child.isConnected) return;
    const moved = this.#below(rowOf(place.child)) - place.below;
    if (moved !== 0) this.#scroller.scrollTop += moved;
  }

  #showJump(unread) {
    this.#jump.hidden = (this.#following && !this.#hasNewer) || !this.#landed;
    const newest = this.#hasNewer ? "Back to the newest" : "Latest";
    const label = unread > 0 ? `${unread > 99 ? "99+" : unread} new` : newest;
    setText(this.#jump.querySelector("span"), label);
    this.#jump.dataset.unread = unread;
  }

  // --- Drawing ------------------------------------------------------------------------------------

  #draw(items) {
    this.#items = new Map(items.map((item) => [item.key, item]));
    let said = ""; // of whoever wrote what stands above
    for (const item of items) {
      item.isExpanded = this.#expanded.has(item.key);
      const marks = this.#on.marksOf?.(item) ?? [];
      const words = marks.map(({ title }) => title).join();
      item.marks = item.isHead || words !== said ? marks : [];
      item.stamp += `${item.isExpanded ? "|open" : ""}|${item.marks.length > 0 ? words : ""}`;
      said = words;
    }
    const hadBar = this.#list.querySelector(":scope > li > .toolbar")?.parentElement;
    keyed(this.#list, items, { make: makeItem, update: updateItem });
    if (hadBar?.isConnected) this.#toolbar.attach(hadBar, this.#itemOf(hadBar));
    else this.#toolbar.detach();
    if (!this.#list.querySelector(":scope > [tabindex='0']") && this.#list.lastElementChild) {
      this.#giveTabStop(this.#list.lastElementChild);
    }
  }

  #itemOf(element) {
    return this.#items.get(element.dataset.key);
  }

  // --- Deeds --------------------------------------------------------------------------------------

  #clicked(event) {
    const element = event.target.closest("li[data-key]");
    const button = event.target.closest("[data-action]");
    if (!element || !button) return;
    const { action, emoji } = button.dataset;
    const item = this.#itemOf(element);
    if (action === "retry") this.#on.retry(element.dataset.clientId);
    else if (action === "discard") this.#on.discard(element.dataset.clientId);
    else if (action === "jump") this.#jumpFrom(button);
    else if (action === "menu") this.#toolbar.open(element, item, button);
    else this.#act(action, item, emoji, button);
  }

  #jumpFrom({ dataset: { id, seq } }) {
    this.#on.jump({ id, seq: seq ? Number(seq) : null });
  }

  #act(name, item, extra, anchor) {
    if (name === "details") this.#toggle(item.key);
    else this.#on.act(name, item, extra, anchor);
  }

  #toggle(key) {
    if (!this.#expanded.delete(key)) this.#expanded.add(key);
    this.#on.toggled();
  }

  // --- Pointer ------------------------------------------------------------------------------------

  #pointed(event) {
    const element = event.target.closest("li[data-key]");
    if (!element || event.pointerType === "touch") return;
    if (this.#toolbar.isMenuOpen || this.#toolbar.hasFocus) return;
    this.#toolbar.attach(element, this.#itemOf(element));
  }

  #unpointed() {
    if (this.#toolbar.isMenuOpen || this.#toolbar.hasFocus) return;
    const focused = document.activeElement?.closest?.("li[data-key]");
    if (focused && this.#list.contains(focused)) this.#toolbar.attach(focused, this.#itemOf(focused));
    else this.#toolbar.detach();
  }

  // --- Keyboard: one tab stop, arrows inside ------------------------------------------------------

  #keyed(event) {
    const element = event.target.closest("li[data-key]");
    if (event.key === "Escape" && element && event.target !== element) {
      element.focus();
      event.preventDefault();
      return;
    }
    if (isForMenu(event) && element) {
      this.#toolbar.open(element, this.#itemOf(element), element);
      event.preventDefault();
      return;
    }
    if (!element || event.target !== element) return;
    const target = {
      ArrowUp: element.previousElementSibling,
      ArrowDown: element.nextElementSibling,
      Home: this.#list.firstElementChild,
      End: this.#list.lastElementChild,
    }[event.key];
    if (event.key === "Enter" || event.key === " ") this.#toggle(element.dataset.key);
    else if (target) target.focus();
    else return;
    event.preventDefault();
  }

  #focused(event) {
    const element = event.target.closest("li[data-key]");
    if (!element) return; // the list itself, by the link that skips to it
    this.#giveTabStop(element);
    if (!this.#toolbar.isMenuOpen) this.#toolbar.attach(element, this.#itemOf(element));
  }

  #giveTabStop(element) {
    for (const other of this.#list.querySelectorAll(":scope > [tabindex='0']")) {
      if (other === element) return;
      other.tabIndex = -1;
      setTabbable(other, false);
    }
    element.tabIndex = 0;
    setTabbable(element, true);
  }
}

function rowOf(element) {
  return element.querySelector(".message-row");
}

function isForMenu({ key, shiftKey }) {
  return key === "ContextMenu" || (key === "F10" && shiftKey);
}
