/** Addresses of rooms and messages, as the page has them and links name them. Pure. */

/** The room that a path leads to, or null. */
export function slugOf({ pathname }) {
  return /^\/rooms\/([a-z0-9-]+)\/$/.exec(pathname)?.[1] ?? null;
}

/** The message that an address leads to, by its number, or null. */
export function seqOf({ hash }) {
  return Number(/^#message-(\d{1,15})$/.exec(hash)?.[1] ?? 0) || null;
}

export function pathOf(slug, seq = null) {
  return `/rooms/${slug}/${seq === null ? "" : `#message-${seq}`}`;
}
