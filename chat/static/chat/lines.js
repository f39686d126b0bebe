/** Which events of a log show, and as how many lines: what its length on screen is. Pure. */

const NOTED = /^(message\.(un)?pinned|member\.(joined|left|role)|room\.(created|changed))$/;

/** Whether an event is shown in the room, or in the list of its `thread`. */
export function isListed({ type, data }, thread = null) {
  if (type === "message.posted") return thread !== null || !data.thread;
  return thread === null && NOTED.test(type);
}

/** The events with which the lines begin: messages that expired one after the other are one line. */
export function lines(events) {
  const listed = events.filter((event) => isListed(event));
  return listed.filter(({ data }, at) => !(data.expired && listed[at - 1]?.data.expired));
}
