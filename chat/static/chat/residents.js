/**
 * The people of the rooms that were looked at: asked for once, and again when one comes or goes. What is
 * known counts until there is a newer answer.
 */

export class Residents {
  #ask;
  #changed;
  #known = new Map(); // slug → {members, bans}
  #asking = new Map(); // slug → Promise
  #stale = new Set(); // slugs: something happened after their people were asked for

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
    const isFresh = this.#known.has(slug) && !this.#stale.has(slug);
    return isFresh ? this.of(slug) : this.refresh(slug);
  }

  refresh(slug) {
    if (!this.#asking.has(slug)) {
      this.#asking.set(slug, this.#fetch(slug).finally(() => this.#asking.delete(slug)));
    }
    return this.#asking.get(slug);
  }

  /** An event that moves somebody in or out, or changes what they may do. */
  heard(event) {
    const { type, room } = event;
    const isOurs = this.#known.has(room) || this.#asking.has(room);
    if (!type.startsWith("member.") || !isOurs) return;
    this.#stale.add(room);
    this.refresh(room).catch(() => {}); // whoever loads it asks again
  }

  /** After a break nobody knows who came and went meanwhile. */
  doubt() {
    for (const slug of this.#known.keys()) this.#stale.add(slug);
  }

  async #fetch(slug) {
    do await this.#askAbout(slug);
    while (this.#stale.has(slug));
    return this.of(slug);
  }

  async #askAbout(slug) {
    this.#stale.delete(slug);
    try {
      const { members, bans = null } = await this.#ask("members", { room: slug });
      this.#known.set(slug, { members, bans });
    } catch (refusal) {
      this.#stale.add(slug);
      throw refusal;
    }
    this.#changed();
  }
}
