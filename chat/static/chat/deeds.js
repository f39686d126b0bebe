/** What is done with a message: from the list's `act` to whoever does it. A refusal is said. */

import { pathOf } from "./address.js";
import { toast } from "./toast.js";

export class Deeds {
  #client;
  #deeds;

  /**
   * @param {Client} o.client
   * @param {object} o.parts  composer(inThread), openThread(message), pickEmoji(anchor) => Promise,
   *   askToDelete(message), askToReport(message), showVersions(message), showCertificate(serial, at)
   */
  constructor({ client, parts }) {
    this.#client = client;
    this.#deeds = {
      reply: ({ message }, { isInThread }) => parts.composer(isInThread).beginReply(message),
      edit: ({ message }, { isInThread }) => parts.composer(isInThread).beginEdit(message),
      rewrite: ({ clientId }, { isInThread }) => parts.composer(isInThread).rewrite(clientId),
      thread: ({ message }) => parts.openThread(message),
      react: (item, { extra, anchor }) => this.#react(item, extra ?? parts.pickEmoji(anchor)),
      unreact: (item, { extra }) => client.unreact(item, extra),
      pin: (item) => client.pin(item),
      unpin: (item) => client.unpin(item),
      link: (item) => copyLink(item),
      unread: (item) => client.markUnread(item),
      delete: ({ message }) => parts.askToDelete(message),
      report: ({ message }) => parts.askToReport(message),
      history: ({ message }) => parts.showVersions(message),
      certificate: ({ serial, at }) => parts.showCertificate(serial, at),
    };
  }

  /** @param {boolean} isInThread  whether the message stands in the column beside the room */
  async act(name, item, extra, anchor, { isInThread = false } = {}) {
    try {
      await this.#deeds[name]?.(item, { extra, anchor, isInThread });
    } catch (refusal) {
      toast(refusal.message, { isRefusal: true });
    }
  }

  async #react(item, chosen) {
    const emoji = await chosen;
    if (emoji) await this.#client.react(item, emoji);
  }
}

async function copyLink({ room, seq }) {
  const link = new URL(pathOf(room, seq), location.href).href;
  await navigator.clipboard.writeText(link);
  toast("The link is copied. Whoever is in this room can follow it.");
}
