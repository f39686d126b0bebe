/** The people of the rooms that were looked at: asked for once, and again when one comes or goes. */

export class Residents {
  #ask;
  #changed;
  #known = new Map(); // slug → {members, bans}
  #asking = new Map(); // slug → Promise

  /** @param {Function} ask  (op, fields) => Promise   @param {Function} changed  () => void */
  constructor({ ask, changed }) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** What is known of a room, or null. */
  of(slug) {
    return this.#known.get(slug) ?? null;
  }

  /** Asks unless it is known; several who ask at once share the answer. */
  async load(slug) {
    return this.of(slug) ?? this.refresh(slug);
  }

  refresh(slug) {
    if (!this.#asking.has(slug)) {
      this.#asking.set(slug, this.#fetch(slug).finally(() => this.#asking.delete(slug)));
    }
    return this.#asking.get(slug);
  }

  /** An event that moves somebody in or out, or changes what they may do. */
  heard(event) {
    if (!event.type.startsWith("member.") || !this.#known.has(event.room)) return;
    this.refresh(event.room).catch(() => this.#known.delete(event.room));
  }

  /** After a break nobody knows who came and went meanwhile. */
  forget() {
    this.#known.clear();
  }

  async #fetch(slug) {
    const { members, bans = null } = await this.#ask("members", { room: slug });
    this.#known.set(slug, { members, bans });
    this.#changed();
    return this.#known.get(slug);
  }
}
