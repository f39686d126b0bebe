/**
 * What can be done with the message at hand: a bar that goes to the item under the pointer or with
 * the focus, and a menu with all of it, which is the only way on a touch screen.
 */

import { h, icon } from "./dom.js";

export const QUICK = ["👍", "❤️", "😂"];
/** Before Firefox 125 and Safari 17 there are none: the menu is shown and put away by hand. */
const HAS_POPOVERS = "popover" in HTMLElement.prototype;
const IN_BAR = ["reply", "thread"];
const DEEDS = {
  reply: ["Answer", "reply"],
  thread: ["Answer in a thread", "thread"],
  edit: ["Edit", "edit"],
  pin: ["Pin", "pin"],
  unpin: ["Unpin", "pin"],
  link: ["Copy the link", "link"],
  unread: ["Mark unread from here", "unread"],
  details: ["Details", "details"],
  history: ["Earlier versions", "history"],
  certificate: ["Certificate", "certificate"],
  report: ["Report", "flag"],
  delete: ["Delete", "trash"],
};

/** The deeds that are open for an item, in the order of the menu: [{name, label, icon}]. */
export function deedsFor(item) {
  return Object.entries(DEEDS)
    .filter(([name]) => name === "details" || item.rights.has(name))
    .map(([name, [label, symbol]]) => ({ name, label, icon: symbol }));
}

export class Toolbar {
  #bar;
  #menu;
  #on;
  #item = null;
  #element = null;
  #menuItem = null;
  #opener = null;

  /** @param {object} on  act(name, item, extra, anchor) */
  constructor({ on, host = document.body }) {
    this.#on = on;
    this.#bar = h("div", { class: "toolbar", role: "toolbar", "aria-label": "Message actions" });
    this.#bar.addEventListener("click", (event) => this.#pressed(event));
    this.#bar.addEventListener("keydown", (event) => this.#walked(event, "ArrowLeft", "ArrowRight"));
    this.#menu = makeMenu();
    this.#menu.addEventListener("click", (event) => this.#chosen(event));
    this.#menu.addEventListener("keydown", (event) => this.#menuKeyed(event));
    this.#menu.addEventListener("toggle", (event) => event.newState === "closed" && this.#closed());
    if (!HAS_POPOVERS) document.addEventListener("pointerdown", (event) => this.#pressedBeside(event));
    host.append(this.#menu);
  }

  get isMenuOpen() {
    return this.#menuItem !== null;
  }

  /** Whether the keyboard is at work in the bar, so that the pointer must not take it away. */
  get hasFocus() {
    return this.#bar.contains(document.activeElement) && this.#bar.querySelector(":focus-visible") !== null;
  }

  /** Goes to this item; where that can have none, away. */
  attach(element, item) {
    if (!item?.rights?.size) {
      this.detach();
      return;
    }
    const names = [...item.rights].join();
    if (element !== this.#element || names !== this.#bar.dataset.rights) this.#fill(item);
    this.#bar.dataset.rights = names;
    this.#item = item;
    this.#element = element;
    if (this.#bar.parentElement !== element) element.append(this.#bar);
  }

  detach() {
    this.#bar.remove();
    this.#element = null;
    this.#item = null;
  }

  #fill(item) {
    const quick = item.rights.has("react") ? QUICK : [];
    const buttons = [
      ...quick.map((emoji) => barButton("react", `React with ${emoji}`, emoji, emoji)),
      item.rights.has("react") && barButton("react", "Another reaction", icon("smile")),
      ...IN_BAR.filter((name) => item.rights.has(name)).map((name) =>
        barButton(name, DEEDS[name][0], icon(DEEDS[name][1])),
      ),
      barButton("menu", "More", icon("more")),
    ].filter(Boolean);
    buttons.forEach((button, index) => (button.tabIndex = index === 0 ? 0 : -1));
    this.#bar.replaceChildren(...buttons);
  }

  #pressed(event) {
    const button = event.target.closest("[data-action]");
    if (!button) return;
    event.stopPropagation();
    const { action, emoji } = button.dataset;
    if (action === "menu") this.open(this.#element, this.#item, button);
    else this.#on.act(action, this.#item, emoji, button);
  }

  /** The menu of an item, at the element that asked for it. */
  open(element, item, anchor = element) {
    if (!item?.rights?.size) return;
    this.#opener = anchor;
    const deeds = deedsFor(item).map(menuButton);
    const reactions = item.rights.has("react") ? reactionRow(item) : [];
    this.#menu.replaceChildren(...reactions, ...deeds);
    this.#menuItem = item;
    this.#menu.hidden = false;
    if (HAS_POPOVERS) this.#menu.showPopover();
    this.#place(anchor);
    this.#menu.querySelector("button").focus();
  }

  /** Beside what opened it and inside the page; a narrow page shows it at its foot. */
  #place(anchor) {
    const { style } = this.#menu;
    const at = anchor.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    const below = at.bottom + height + 8 < innerHeight;
    style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
    style.top = `${Math.max(8, below ? at.bottom + 4 : Math.min(at.top - height - 4, innerHeight - height - 8))}px`;
  }

  #chosen(event) {
    const button = event.target.closest("[data-action]");
    if (!button) return;
    const [item, opener] = [this.#menuItem, this.#opener];
    const { action, emoji } = button.dataset;
    this.#hide();
    this.#on.act(action, item, emoji, opener);
  }

  #hide() {
    if (HAS_POPOVERS) this.#menu.hidePopover();
    else this.#closed();
  }

  #pressedBeside({ target }) {
    if (this.isMenuOpen && !this.#menu.contains(target)) this.#hide();
  }

  #closed() {
    const hadFocus = this.#menu.contains(document.activeElement) || document.activeElement === document.body;
    if (hadFocus && this.#opener?.isConnected) this.#opener.focus({ preventScroll: true });
    this.#menu.hidden = true;
    this.#menuItem = null;
  }

  #menuKeyed(event) {
    if (event.key === "Escape") event.preventDefault(); // it closes the menu and no more
    if (event.key === "Tab" || event.key === "Escape") this.#hide();
    else this.#walked(event, "ArrowUp", "ArrowDown");
  }

  /** Arrows go round the buttons; Home and End to the first and the last. */
  #walked(event, back, on) {
    const buttons = [...event.currentTarget.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const to = {
      [back]: (at - 1 + buttons.length) % buttons.length,
      [on]: (at + 1) % buttons.length,
      Home: 0,
      End: buttons.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    for (const button of buttons) button.tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
}

function makeMenu() {
  const words = { class: "menu", role: "menu", "aria-label": "Message actions" };
  return h("div", { ...words, popover: HAS_POPOVERS && "auto", hidden: true });
}

function barButton(action, label, face, emoji = null) {
  return h(
    "button",
    { type: "button", "data-action": action, "data-emoji": emoji, "aria-label": label, title: label },
    face,
  );
}

function menuButton({ name, label, icon: symbol }) {
  return h(
    "button",
    { type: "button", role: "menuitem", tabindex: "-1", class: `is-${name}`, "data-action": name },
    icon(symbol),
    h("span", {}, label),
  );
}

function reactionRow(item) {
  const mine = new Set(item.reactions.filter((each) => each.isMine).map((each) => each.emoji));
  const quick = QUICK.map((emoji) =>
    h(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        "data-action": mine.has(emoji) ? "unreact" : "react",
        "data-emoji": emoji,
        "aria-label": mine.has(emoji) ? `Take ${emoji} back` : `React with ${emoji}`,
      },
      emoji,
    ),
  );
  const other = h(
    "button",
    { type: "button", role: "menuitem", tabindex: "-1", "data-action": "react", "aria-label": "Another reaction" },
    icon("smile"),
  );
  return [h("div", { class: "menu-reactions" }, ...quick, other)];
}
