/** The settings of notices: on this device, with or without text, and room by room. */

import { h, setText } from "./dom.js";
import { listed, roomOf } from "./store.js";

const LEVELS = [
  ["all", "Every message"],
  ["mentions", "What is meant for me"],
  ["nothing", "Nothing"],
];

const ON_DEVICE = {
  default:
    "Signet can tell you of new messages while you look elsewhere. The browser asks you once, and " +
    "what is written goes to nobody else’s servers.",
  granted: "",
  denied: "This browser blocks notices from Signet. You can allow them in its settings for this site.",
  missing: "This browser shows no notices from pages.",
};

export class NoticesDialog {
  #dialog;
  #device;
  #rooms;
  #error;
  #notices;
  #on;

  /** @param {object} on  state() => the client's state; choose(slug, level) => Promise */
  constructor({ notices, on }) {
    this.#notices = notices;
    this.#on = on;
    this.#device = h("div", { class: "stack" });
    this.#rooms = h("ul", { class: "notice-rooms" });
    this.#error = h("p", { class: "form-error", role: "alert", hidden: true });
    this.#dialog = h(
      "dialog",
      { id: "notices-dialog", class: "dialog", "aria-labelledby": "notices-title" },
      h("h2", { id: "notices-title" }, "Notices"),
      h("h3", {}, "On this device"),
      this.#device,
      h("h3", { id: "notices-rooms" }, "Tell me about"),
      this.#rooms,
      this.#error,
      h("div", { class: "dialog-foot" }, closeButton()),
    );
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog || target.closest("[data-action=cancel]")) this.#dialog.close();
    });
    this.#rooms.addEventListener("change", ({ target }) => this.#choose(target));
    document.body.append(this.#dialog);
  }

  open() {
    this.#say("");
    this.#showDevice();
    this.#rooms.replaceChildren(...listed(this.#on.state()).map(roomRow));
    this.#dialog.showModal();
  }

  #showDevice() {
    const { permission } = this.#notices;
    const reason = ON_DEVICE[permission];
    this.#device.replaceChildren(
      ...[
        reason && h("p", {}, reason),
        permission === "default" && this.#askButton(),
        permission === "granted" && this.#onBox(),
        permission !== "missing" && this.#textBox(),
      ].filter(Boolean),
    );
  }

  #askButton() {
    const click = async () => {
      await this.#notices.turnOn();
      this.#showDevice();
      this.#device.querySelector("input, button")?.focus();
    };
    return h("button", { type: "button", class: "button", on: { click } }, "Show notices on this device");
  }

  #onBox() {
    const change = async ({ target }) => {
      if (!target.checked) this.#notices.turnOff();
      else if (!(await this.#notices.turnOn())) this.#showDevice();
    };
    return checkbox("Show notices on this device", this.#notices.isOn, change);
  }

  #textBox() {
    const change = ({ target }) => this.#notices.showText(target.checked);
    const help = "Otherwise a notice says who wrote where, and whoever sees your screen learns no more.";
    return checkbox("Show what was written", this.#notices.showsText, change, help);
  }

  async #choose(select) {
    this.#say("");
    const slug = select.name;
    try {
      await this.#on.choose(slug, select.value);
    } catch (error) {
      select.value = roomOf(this.#on.state(), slug)?.notify ?? "all";
      this.#say(error.message);
    }
  }

  #say(sentence) {
    this.#error.hidden = !sentence;
    setText(this.#error, sentence);
  }
}

function closeButton() {
  const words = { type: "button", class: "button is-primary", "data-action": "cancel" };
  return h("button", words, "Close");
}

function checkbox(label, checked, change, help = "") {
  const box = h("input", { type: "checkbox", checked, on: { change } });
  const words = h("span", {}, label, help && h("span", { class: "helptext" }, help));
  return h("label", { class: "choice" }, box, words);
}

function roomRow({ slug, name, notify }) {
  const id = `notices-of-${slug}`;
  const options = LEVELS.map(([value, words]) => h("option", { value, selected: value === notify }, words));
  return h(
    "li",
    {},
    h("label", { for: id }, h("bdi", {}, name)),
    h("select", { id, name: slug }, options),
  );
}
