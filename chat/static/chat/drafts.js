/** Half-written messages, one for each room and thread: {text, reply, attachments}, kept over a reload. */

const BLANK = { text: "", reply: null, attachments: [] };

export class Drafts {
  #storage;
  #prefix;
  #known = new Map(); // where the browser keeps nothing, this page still does

  constructor({ storage, user }) {
    this.#storage = storage;
    this.#prefix = `signet.draft.${user}.`;
  }

  get(key) {
    return this.#known.get(key) ?? parse(this.#storage.get(this.#prefix + key));
  }

  set(key, draft) {
    const { text, reply, attachments } = draft;
    this.#known.set(key, { text, reply, attachments });
    const isBlank = !text && !reply && attachments.length === 0;
    if (isBlank) this.#storage.remove(this.#prefix + key);
    else this.#storage.set(this.#prefix + key, JSON.stringify({ text, reply: named(reply), attachments }));
  }
}

/** Whose words are answered is kept; the words themselves are not ours to keep. */
function named(reply) {
  return reply && { id: reply.id, author: reply.author };
}

/** What an older page kept was the text alone. */
function parse(kept) {
  if (!kept) return BLANK;
  try {
    const { text, reply = null, attachments = [] } = JSON.parse(kept);
    if (typeof text === "string") return { text, reply, attachments: [...attachments] };
  } catch {
    // not ours
  }
  return { ...BLANK, text: kept };
}
