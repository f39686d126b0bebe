/**
 * The right column: what one asks about a room. One panel at a time, a whole page where the screen
 * is narrow. Whoever opens it with the keyboard gets back to where they were.
 *
 * A panel has a `title` and an `element`, and these methods, of which all but the first may lack:
 *   open(room, options)   from now on it shows this room
 *   show(room, state)     the state moved
 *   refresh()             what was asked for may be old
 *   begin()               takes the focus; without it, the heading does
 *   close()
 */

import { setAttribute, setText } from "./dom.js";

/** There is space for the room and the column; where there is less, the column covers the room. */
const beside = matchMedia("(min-width: 72rem)");
const TABS = new Set(["members", "pins", "search", "settings"]);

export class Aside {
  #root;
  #workspace;
  #title;
  #body;
  #tabs;
  #panels;
  #on;
  #name = null;
  #slug = null;
  #returnTo = null;
  #isPage = false; // whether the browser's way back closes it

  /**
   * @param {object} o
   * @param {Element} o.root       the `<aside>`
   * @param {Element} o.workspace  is told by `data-aside` that a column is open
   * @param {object} o.panels      by name: thread, pins, search, members, settings
   * @param {object} o.on          closed() where the focus has nowhere to go back to
   */
  constructor({ root, workspace, panels, on }) {
    this.#root = root;
    this.#workspace = workspace;
    this.#panels = panels;
    this.#on = on;
    this.#title = root.querySelector("#aside-title");
    this.#body = root.querySelector("#aside-body");
    this.#tabs = root.querySelector("#aside-tabs");
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("keydown", (event) => this.#keyed(event));
    addEventListener("popstate", () => this.#isPage && this.close({ isBack: true }));
  }

  get isBeside() {
    return beside.matches;
  }

  get name() {
    return this.#name;
  }

  /** The panel of this name, about this room; the same one again begins anew. */
  open(name, room, options = {}) {
    if (!room) return;
    if (this.#name === null) this.#arrive();
    this.#put(name, room, options);
    const panel = this.#panels[name];
    if (panel.begin) panel.begin();
    else this.#title.focus();
  }

  /** The same panel puts itself away again. */
  toggle(name, room) {
    if (this.#name === name) this.close();
    else this.open(name, room);
  }

  close({ isBack = false } = {}) {
    if (this.#name === null) return;
    this.#panels[this.#name].close?.();
    const hadFocus = this.#root.contains(document.activeElement);
    this.#name = null;
    this.#slug = null;
    this.#root.hidden = true;
    this.#body.replaceChildren();
    delete this.#workspace.dataset.aside;
    if (this.#isPage && !isBack && history.state?.isAside) history.back();
    this.#isPage = false;
    if (hadFocus) this.#giveBack();
    this.#returnTo = null;
  }

  /** Another room: what is about a room goes along, the rest is over. */
  show(room, state) {
    if (this.#name === null) return;
    if (!room) this.close({ isBack: true });
    else if (room.slug === this.#slug) this.#panels[this.#name].show?.(room, state);
    else if (TABS.has(this.#name) && this.isBeside) this.#put(this.#name, room, {});
    else this.close({ isBack: true });
  }

  refresh() {
    if (this.#name !== null) this.#panels[this.#name].refresh?.();
  }

  // --- Coming and going -----------------------------------------------------------------------------

  #arrive() {
    this.#returnTo = document.activeElement;
    this.#isPage = !this.isBeside;
    if (this.#isPage) history.pushState({ isAside: true }, "", location.href);
  }

  #giveBack() {
    const isThere = this.#returnTo?.isConnected && this.#returnTo.getClientRects().length > 0;
    if (isThere && this.#returnTo !== document.body) this.#returnTo.focus();
    else this.#on.closed();
  }

  #put(name, room, options) {
    if (this.#name !== null) this.#panels[this.#name].close?.();
    const panel = this.#panels[name];
    this.#name = name;
    this.#slug = room.slug;
    this.#root.hidden = false;
    this.#root.dataset.panel = name;
    this.#workspace.dataset.aside = name;
    this.#tabs.hidden = !TABS.has(name);
    for (const tab of this.#tabs.children) {
      setAttribute(tab, "aria-current", tab.dataset.panel === name ? "true" : null);
    }
    setText(this.#title, panel.title);
    this.#body.replaceChildren(panel.element);
    this.#body.scrollTop = 0;
    panel.open(room, options);
  }

  #clicked(event) {
    const action = event.target.closest("[data-action]")?.dataset.action;
    if (action === "close-aside") this.close();
  }

  #keyed(event) {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
    event.preventDefault();
    this.close();
  }
}
