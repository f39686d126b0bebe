/** A room's settings: what one hears of it oneself, and, for its owners, what it is. */

import { h, setText } from "./dom.js";

const LEVELS = [
  ["all", "Every message", ""],
  ["mentions", "Only what is meant for me", "Mentions of you, and answers to you."],
  ["nothing", "Nothing", "It stays in the list, and quiet."],
];
const WAITS = [
  [0, "Not at all"], [10, "10 seconds"], [30, "30 seconds"], [60, "1 minute"], [300, "5 minutes"],
  [900, "15 minutes"], [3600, "1 hour"],
];

/** Only what differs from what the room is now. */
export function changesOf(room, written) {
  const now = {
    name: room.name,
    description: room.description ?? "",
    posting: room.posting ?? "members",
    slow_seconds: room.slowSeconds ?? 0,
  };
  return Object.fromEntries(Object.entries(written).filter(([name, value]) => value !== now[name]));
}

export class SettingsPanel {
  title = "Settings";
  #desk;
  #room = null;
  #filled = null; // stamps of what is shown: of the fields in which one types, and of the rest
  #stamp = null;
  #notice = h("p", { class: "soft small", role: "status" });
  #error = h("p", { class: "form-error", role: "alert" });
  #levels = levelsForm();
  #form = roomForm();
  #foot = h("div", { class: "panel-foot" });

  constructor(desk) {
    this.#desk = desk;
    this.element = h("div", { class: "panel" }, this.#levels, this.#form, this.#notice, this.#error, this.#foot);
    this.#levels.addEventListener("change", () => this.#notify());
    this.#levels.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("submit", (event) => this.#save(event));
    this.#foot.addEventListener("click", (event) => this.#clicked(event));
  }

  open(room) {
    this.#filled = null;
    this.#stamp = null;
    this.#say("", "");
    this.show(room);
  }

  /** Fills the form again only where the room itself changed, so that nobody's typing is lost. */
  show(room) {
    this.#room = room;
    this.#fill(room);
    const { archived, role, kind, notify } = room;
    const stamp = [archived, role, kind, notify].join("|");
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    this.#showLevel();
    this.#form.hidden = role !== "owner" || kind === "direct" || Boolean(archived);
    this.#foot.replaceChildren(...footOf(room));
  }

  #showLevel() {
    this.#levels.elements.level.value = this.#room.notify ?? "all";
  }

  #fill({ name, description = "", posting = "members", slowSeconds: slow = 0 }) {
    const stamp = [name, description, posting, slow].join("|");
    if (stamp === this.#filled) return;
    this.#filled = stamp;
    const { elements } = this.#form;
    elements.name.value = name;
    elements.description.value = description;
    elements.posting.value = posting;
    if (![...elements.slow.options].some((option) => option.value === String(slow))) {
      elements.slow.append(h("option", { value: slow }, `${slow} seconds`));
    }
    elements.slow.value = String(slow);
  }

  // --- Doing ----------------------------------------------------------------------------------------

  async #notify() {
    const level = this.#levels.elements.level.value;
    const { slug } = this.#room;
    await this.#do(async () => {
      await this.#desk.ask("notify", { room: slug, level }).catch((refusal) => {
        this.#showLevel();
        throw refusal;
      });
      this.#desk.notified(slug, level);
      return "Saved.";
    });
  }

  async #save(event) {
    event.preventDefault();
    const { name, description, posting, slow } = this.#form.elements;
    const changes = changesOf(this.#room, {
      name: name.value.trim(),
      description: description.value.trim(),
      posting: posting.value,
      slow_seconds: Number(slow.value),
    });
    if (Object.keys(changes).length === 0) this.#say("Nothing is different.", "");
    else await this.#change(changes, "Saved.");
  }

  #change(changes, words) {
    const { slug } = this.#room;
    return this.#do(async () => {
      await this.#desk.ask("change", { room: slug, ...changes });
      return words;
    });
  }

  #clicked(event) {
    const action = event.target.closest("button")?.dataset.action;
    if (action === "archive") this.#change({ archived: true }, "Archived. You can open it again here.");
    if (action === "unarchive") this.#change({ archived: false }, "Open again.");
    if (action === "leave") this.#desk.askToLeave(this.#room);
  }

  async #do(work) {
    this.#say("", "");
    try {
      this.#say(await work(), "");
    } catch (refusal) {
      this.#say("", refusal.message);
    }
  }

  #say(notice, error) {
    setText(this.#notice, notice);
    setText(this.#error, error);
  }
}

function levelsForm() {
  return h(
    "form",
    { class: "form" },
    h(
      "fieldset",
      { class: "field" },
      h("legend", {}, "What do you want to hear of this room?"),
      h("div", { class: "choices" }, LEVELS.map(levelChoice)),
    ),
  );
}

function levelChoice([value, words, help]) {
  return h(
    "label",
    { class: "choice" },
    h("input", { type: "radio", name: "level", value }),
    h("span", {}, h("b", {}, words), help && h("span", { class: "helptext" }, h("br"), help)),
  );
}

function roomForm() {
  return h(
    "form",
    { class: "form", novalidate: true, hidden: true, "aria-label": "This room" },
    field("Name", h("input", { id: "settings-name", name: "name", maxlength: 80, autocomplete: "off" })),
    field(
      "What it is for",
      h("textarea", { id: "settings-description", name: "description", maxlength: 500, rows: 3 }),
    ),
    field(
      "Who may write here",
      h(
        "select",
        { id: "settings-posting", name: "posting" },
        h("option", { value: "members" }, "Everybody in the room"),
        h("option", { value: "moderators" }, "Owners and moderators"),
      ),
    ),
    field(
      "How long a member waits between two messages",
      h(
        "select",
        { id: "settings-slow", name: "slow" },
        WAITS.map(([value, words]) => h("option", { value }, words)),
      ),
    ),
    h("button", { type: "submit", class: "button is-primary" }, "Save"),
  );
}

function field(label, control) {
  return h("p", { class: "field" }, h("label", { for: control.id }, label), control);
}

function footOf({ role, kind, archived }) {
  if (kind === "direct") return [];
  const archive = archived
    ? button("unarchive", "Open the room again", "")
    : button("archive", "Archive the room", "");
  return [role === "owner" && archive, button("leave", "Leave the room…", " is-danger")].filter(Boolean);
}

function button(action, words, kind) {
  return h("button", { type: "button", class: `button${kind}`, "data-action": action }, words);
}
