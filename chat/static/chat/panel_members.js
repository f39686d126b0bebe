/** The people of a room: who they are, bringing some in, and what owners and moderators may do. */

import { h, icon, keyed, setText } from "./dom.js";
import { peopleFieldParts, PeopleField } from "./people_field.js";
import { dot } from "./rooms.js";
import { seal } from "./seal.js";
import { nameOf } from "./store.js";

const ROLES = { owner: "Owner", moderator: "Moderator", member: "" };
const ORDER = ["owner", "moderator", "member"];
const BECOMES = { owner: "Make them an owner", moderator: "Make them a moderator", member: "Make them a member" };

/** What this person may do about another one in a room; the server decides again. */
export function actionsAbout(member, { me, role, kind }) {
  if (member.user.id === me.id || kind === "direct") return [];
  const isOwner = role === "owner";
  const mayRemove = isOwner || (role === "moderator" && member.role === "member");
  return [
    { name: "direct", words: "Write to them" },
    ...(isOwner ? ORDER.filter((other) => other !== member.role) : []).map((becomes) => ({
      name: "role",
      becomes,
      words: BECOMES[becomes],
    })),
    ...(mayRemove ? [{ name: "remove", words: "Remove…" }, { name: "ban", words: "Ban…" }] : []),
  ];
}

export function inOrder(members) {
  return [...members].sort(
    (a, b) =>
      ORDER.indexOf(a.role) - ORDER.indexOf(b.role) || nameOf(a.user).localeCompare(nameOf(b.user)),
  );
}

export class MembersPanel {
  title = "People";
  #desk;
  #room = null;
  #expanded = null;
  #error = h("p", { class: "form-error", role: "alert" });
  #invite = inviteForm();
  #list = h("ul", { class: "members", "aria-label": "People in this room" });
  #banned = h("section", { class: "stack", hidden: true, "aria-label": "Banned" });
  #waiting = h("p", { class: "soft small" }, "Asking who is here…");
  #field;

  constructor(desk) {
    this.#desk = desk;
    this.element = h(
      "div",
      { class: "panel" },
      this.#invite,
      this.#error,
      this.#waiting,
      this.#list,
      this.#banned,
    );
    this.#field = new PeopleField({
      root: this.#invite.querySelector(".people-field"),
      ask: desk.people,
      leaveOut: (person) => this.#isHere(person),
      on: { changed: (people) => this.#chosen(people) },
    });
    this.#invite.addEventListener("submit", (event) => this.#bringIn(event));
    this.element.addEventListener("click", (event) => this.#clicked(event));
  }

  open(room) {
    this.#expanded = null;
    this.#field.clear();
    this.#chosen([]);
    this.#say("");
    this.show(room);
    this.refresh();
  }

  refresh() {
    this.#desk.residents.refresh(this.#room.slug).catch((refusal) => this.#say(refusal.message));
  }

  show(room) {
    this.#room = room;
    const known = this.#desk.residents.of(room.slug);
    this.#invite.hidden = room.kind === "direct" || Boolean(room.archived);
    this.#waiting.hidden = known !== null;
    const rows = inOrder(known?.members ?? []).map((member) => this.#row(member));
    keyed(this.#list, rows, { make: () => h("li", { class: "member" }), update: drawMember });
    this.#showBans(known?.bans ?? []);
  }

  #row(member) {
    const { me, presenceOf } = this.#desk;
    const row = {
      ...member,
      key: String(member.user.id),
      isMe: member.user.id === me.id,
      presence: presenceOf(member.user.id),
      isExpanded: this.#expanded === String(member.user.id),
      actions: actionsAbout(member, { me, role: this.#room.role, kind: this.#room.kind }),
    };
    row.stamp = JSON.stringify([row.user, row.role, row.presence, row.isExpanded, row.actions]);
    return row;
  }

  #isHere(person) {
    const known = this.#desk.residents.of(this.#room.slug);
    return (known?.members ?? []).some((member) => member.user.id === person.id);
  }

  #showBans(bans) {
    this.#banned.hidden = bans.length === 0;
    const stamp = JSON.stringify(bans);
    if (this.#banned.stamp === stamp) return;
    this.#banned.stamp = stamp;
    this.#banned.replaceChildren(...(bans.length > 0 ? drawBans(bans) : []));
  }

  // --- Doing ----------------------------------------------------------------------------------------

  #chosen(people) {
    this.#invite.querySelector("button[type=submit]").hidden = people.length === 0;
  }

  async #bringIn(event) {
    event.preventDefault();
    const { slug } = this.#room;
    await this.#do(async () => {
      for (const user of this.#field.usernames) await this.#desk.ask("invite", { room: slug, user });
      this.#field.clear();
      this.#chosen([]);
      await this.#desk.residents.refresh(slug);
      this.#keepFocus();
    });
  }

  #clicked(event) {
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    const { action, user, becomes } = button.dataset;
    if (action === "more") this.#toggle(button.closest("li").dataset.key);
    else if (action === "unban") this.#do(() => this.#tell("unban", { user }));
    else this.#about(user, action, becomes);
  }

  #toggle(key) {
    this.#expanded = this.#expanded === key ? null : key;
    this.show(this.#room);
  }

  #about(username, action, becomes) {
    const { members } = this.#desk.residents.of(this.#room.slug);
    const { user } = members.find((member) => member.user.username === username);
    if (action === "direct") this.#do(() => this.#desk.direct(user));
    if (action === "role") this.#do(() => this.#tell("role", { user: username, role: becomes }));
    if (action === "remove") this.#askToRemove(user);
    if (action === "ban") this.#askToBan(user);
  }

  #askToRemove(user) {
    this.#desk.confirmation.ask({
      title: `Remove ${nameOf(user)}?`,
      words: removeWords(this.#room),
      verb: "Remove",
      submit: () => this.#tell("remove", { user: user.username }),
    });
  }

  #askToBan(user) {
    this.#desk.confirmation.ask({
      title: `Ban ${nameOf(user)}?`,
      words: "They leave this room at once and cannot come back until somebody lifts the ban.",
      verb: "Ban",
      reason: {
        label: "Why? Everybody in the room can read it.",
        needed: "Give a reason: the others in the room see it.",
      },
      submit: (reason) => this.#tell("ban", { user: user.username, reason }),
    });
  }

  async #tell(op, fields) {
    const { slug } = this.#room;
    await this.#desk.ask(op, { room: slug, ...fields });
    this.#expanded = null;
    await this.#desk.residents.refresh(slug);
    setTimeout(() => this.#keepFocus()); // once the dialog that asked is closed
  }

  /** What was pressed may be gone by now; the keyboard goes on from the top of the panel. */
  #keepFocus() {
    if (!this.element.isConnected) return;
    this.show(this.#room);
    const { activeElement: focused } = document;
    const isLost = focused === document.body || focused.getClientRects().length === 0;
    if (isLost) this.#invite.querySelector("input").focus();
  }

  async #do(work) {
    this.#say("");
    await work().catch((refusal) => this.#say(refusal.message));
  }

  #say(sentence) {
    setText(this.#error, sentence);
  }
}

function inviteForm() {
  return h(
    "form",
    { class: "form", novalidate: true },
    h(
      "div",
      { class: "field people-field" },
      peopleFieldParts({ id: "invite-people", label: "Bring somebody in", help: "Type the beginning of a name." }),
    ),
    h("button", { type: "submit", class: "button is-primary", hidden: true }, "Bring them in"),
  );
}

function removeWords({ kind }) {
  return kind === "public"
    ? "They can join again whenever they like. To keep them out, ban them."
    : "They can come back when somebody brings them in again.";
}

function drawMember(element, { user, role, isMe, presence, isExpanded, actions }) {
  const hadFocus = element.contains(document.activeElement);
  const name = nameOf(user);
  element.replaceChildren(
    ...[
      h("span", { class: "member-seal" }, seal(name, user.username), dot(presence)),
      h(
        "span",
        { class: "member-words" },
        h("span", {}, h("bdi", {}, name), isMe && h("span", { class: "soft" }, " (you)")),
        h("span", { class: "soft small" }, user.username),
      ),
      ROLES[role] && h("span", { class: "tag" }, ROLES[role]),
      actions.length > 0 && moreButton(name, isExpanded),
      isExpanded && h("div", { class: "member-actions" }, actions.map((action) => actionButton(action, user))),
    ].filter(Boolean),
  );
  if (hadFocus) element.querySelector("button")?.focus();
}

function moreButton(name, isExpanded) {
  const attributes = { type: "button", class: "icon-button", "data-action": "more" };
  const names = { "aria-expanded": String(isExpanded), "aria-label": `What you can do about ${name}` };
  return h("button", { ...attributes, ...names }, icon("more"));
}

function actionButton({ name, becomes = null, words }, user) {
  const isDanger = name === "remove" || name === "ban";
  const attributes = { type: "button", class: `button${isDanger ? " is-danger" : ""}` };
  return h("button", { ...attributes, "data-action": name, "data-user": user.username, "data-becomes": becomes }, words);
}

function drawBans(bans) {
  return [
    h("h3", {}, "May not come back"),
    h("ul", { class: "members" }, bans.map(drawBan)),
  ];
}

function drawBan({ user, by, reason, at }) {
  const day = new Date(at).toLocaleDateString("en-GB", { dateStyle: "long" });
  return h(
    "li",
    { class: "member" },
    h(
      "span",
      { class: "member-words" },
      h("bdi", {}, nameOf(user)),
      h("span", { class: "soft small" }, `“${reason}”, said ${nameOf(by)} on ${day}`),
    ),
    h(
      "button",
      { type: "button", class: "button", "data-action": "unban", "data-user": user.username, "aria-label": `Lift the ban of ${nameOf(user)}` },
      "Lift the ban",
    ),
  );
}
