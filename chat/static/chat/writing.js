/** Writing, tied to the client: the boxes of the room and of threads, and what their commands do. */

import { Slots, Tray } from "./attach.js";
import { COMMANDS } from "./commands.js";
import { Composer } from "./composer.js";
import { h } from "./dom.js";
import { Drafts } from "./drafts.js";
import { EmojiPicker } from "./picker.js";
import { sizeWords } from "./sizes.js";
import * as store from "./store.js";

const DRAG_SILENCE_MS = 700; // a drag above the page tells of itself every 550 ms at least
const MODERATORS = new Set(["owner", "moderator"]);

export class Writing {
  #client;
  #drafts;
  #people;
  #files;
  #on;
  #slots = new Slots();
  #composers = []; // {form, composer}
  #picker;

  /**
   * @param {object} o
   * @param {Client} o.client
   * @param {CarefulStorage} o.storage
   * @param {string} o.user
   * @param {object} o.people   members(slug) and called(query), each a Promise that never fails
   * @param {object} o.files    the module uploads.js, or one like it
   * @param {object} o.on       sent(thread) after a message went on its way, join(text) => Promise,
   *   leave(), help()
   */
  constructor({ client, storage, user, people, files, on }) {
    this.#client = client;
    this.#drafts = new Drafts({ storage, user });
    this.#people = people;
    this.#files = files;
    this.#on = on;
    this.#picker = new EmojiPicker({ storage, user });
  }

  /** A composer in this form; `open` it with what `placeOf` says. */
  composerIn(form) {
    const composer = new Composer({
      form,
      drafts: this.#drafts,
      people: this.#people,
      trayOf: (slug, changed) => this.#trayOf(slug, changed),
      me: () => this.#client.state.me,
      on: {
        send: (post) => this.#send(post),
        edit: (message, body) => this.#edit(composer.place.slug, message, body),
        command: (command) => this.#obey(composer.place.slug, command),
        typing: ({ slug }) => this.#typing(slug),
        takeBack: (clientId) => this.#takeBack(composer.place, clientId),
        lastOwn: () => this.#lastOwn(composer.place),
        limitsOf: (slug) => this.#limitsOf(slug),
        pickEmoji: (anchor) => this.#picker.pick(anchor),
      },
    });
    this.#composers.push({ form, composer });
    return composer;
  }

  /** The composer of the part of the page that an element is in; the room's own one elsewhere. */
  composerAt(element) {
    const beside = this.#composers.find(({ form }) => form.closest("aside")?.contains(element));
    return (beside ?? this.#composers[0]).composer;
  }

  /** Where one writes in a room, or in one of its threads; for `Composer.open`. */
  placeOf(room, thread = null) {
    const mayModerate = MODERATORS.has(room.role);
    return {
      slug: room.slug,
      name: room.name,
      thread,
      limit: this.#client.state.limits?.body_bytes ?? Infinity,
      shut: shutWords(room, mayModerate),
      slow: mayModerate ? 0 : (room.slowSeconds ?? 0),
      until: this.#client.outbox.waitOf(room.slug),
    };
  }

  /** An emoji for a message, or null. */
  pickEmoji(anchor) {
    return this.#picker.pick(anchor);
  }

  // --- What a composer asks for ------------------------------------------------------------------------

  #send({ body, ...post }) {
    this.#on.sent(post.thread);
    this.#client.write(body, post);
  }

  async #edit(room, { id }, body) {
    const { event } = await this.#client.connection.request("edit", { room, message: id, body });
    this.#client.learn(event);
  }

  #typing(room) {
    if (this.#client.connection.isOpen) this.#client.ask("typing", { room });
  }

  /** What was refused in this place waits to be sent no more; with `answered`, the message it answers. */
  #takeBack({ slug, thread }, clientId) {
    const { outbox, state } = this.#client;
    const isRefused = (entry) => entry.room === slug && entry.thread === thread && entry.state === "failed";
    const isMeant = (entry) => clientId === null || entry.clientId === clientId;
    const refused = outbox.entries.find((entry) => isRefused(entry) && isMeant(entry));
    if (!refused) return null;
    outbox.discard(refused.clientId);
    return { ...refused, answered: store.messageOf(store.roomOf(state, slug), refused.reply_to) };
  }

  /** The newest message that one may still edit. */
  #lastOwn({ slug, thread }) {
    const room = store.roomOf(this.#client.state, slug);
    const mine = Object.values(room?.messages ?? {}).filter(
      (message) =>
        message.author.id === this.#client.state.me?.id &&
        message.thread === thread &&
        !message.deleted &&
        !message.expired,
    );
    return mine.reduce((last, message) => (message.seq > (last?.seq ?? 0) ? message : last), null);
  }

  /** What a command says when it is done; nothing where the page shows it. */
  async #obey(room, command) {
    const request = (op, fields) => this.#client.connection.request(op, { room, ...fields });
    switch (command.name) {
      case "invite":
        for (const user of command.users) this.#client.learn((await request("invite", { user })).event);
        return `${command.users.join(", ")} can read this room now.`;
      case "topic":
        this.#client.learn((await request("change", { description: command.topic })).event);
        return "The topic is set.";
      case "join":
        await this.#on.join(command.room);
        return "";
      case "leave":
        this.#on.leave();
        return "";
      default:
        this.#on.help();
        return "";
    }
  }

  // --- Files -------------------------------------------------------------------------------------------

  #limits = null; // {file_bytes, per_message}, once the server said

  #trayOf(slug, changed) {
    return new Tray({
      send: (file, { progress, signal }) =>
        this.#files.upload(slug, file, { signal, progress: ({ sent, size }) => progress(sent / size) }),
      slots: this.#slots,
      limits: () => this.#limits,
      urlOf: (attachment) => (attachment.thumbnail ? this.#files.thumbnailUrl(slug, attachment) : null),
      changed,
    });
  }

  /** What a message may carry, in words, as soon as somebody is about to attach something. */
  async #limitsOf(slug) {
    try {
      this.#limits ??= await this.#files.limits(slug);
    } catch {
      return ""; // each upload asks for itself, and says what it is refused for
    }
    const { per_message: count, file_bytes: bytes } = this.#limits;
    return `Up to ${count} files, ${sizeWords(bytes)} each`;
  }
}

function shutWords(room, mayModerate) {
  if (room.archived) return "This room is archived: it can be read, and nobody writes here any more.";
  if (room.posting === "moderators" && !mayModerate) return "Only moderators write in this room.";
  return "";
}

/** The list that `/help` shows. */
export function showCommands(list) {
  list.replaceChildren(
    ...COMMANDS.map(({ usage, does }) => h("div", {}, h("dt", {}, h("code", {}, usage)), h("dd", {}, does))),
  );
}

/** Files may be let go anywhere on the page. That a drag has left it, no event tells for sure. */
export function takeDrops({ overlay, writing }) {
  let silence = null;
  const hide = () => (overlay.hidden = true);
  const carriesFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    overlay.hidden = !writing.composerAt(event.target).takesFiles;
    clearTimeout(silence);
    silence = setTimeout(hide, DRAG_SILENCE_MS);
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // a file that misses the box must not replace the page
    hide();
    const composer = writing.composerAt(event.target);
    if (composer.takesFiles) composer.attach([...event.dataTransfer.files]);
  });
}
