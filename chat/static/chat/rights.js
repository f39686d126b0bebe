/** What this person may do with a message, as chat/permissions.py decides it; the server has the last word. */

const MODERATORS = new Set(["owner", "moderator"]);

export function isModerator(room) {
  return MODERATORS.has(room.role);
}

export function mayWrite(room) {
  return !room.archived && (room.posting !== "moderators" || isModerator(room));
}

/** The names of the deeds that are open to them: what the list's `act` may be asked for. */
export function rightsOver(message, room, me, { inThread = false } = {}) {
  const isOwn = message.author.id === me?.id;
  const isThere = !message.deleted && !message.expired;
  const writes = mayWrite(room);
  const pins = !room.archived && (room.kind === "direct" || isModerator(room));
  const rights = {
    react: isThere && !room.archived,
    reply: isThere && writes,
    thread: !inThread && !message.thread && (isThere ? writes : Object.keys(message.replies).length > 0),
    edit: isThere && isOwn && writes,
    delete: isThere && (isOwn || isModerator(room)),
    pin: isThere && pins && !message.pinned,
    unpin: isThere && pins && Boolean(message.pinned),
    link: true,
    unread: !message.thread,
    report: isThere && !isOwn,
    history: isThere && Boolean(message.edited),
    certificate: Boolean(message.serial),
  };
  return new Set(Object.keys(rights).filter((name) => rights[name]));
}
