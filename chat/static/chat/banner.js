/** What to say about the connection, in words; nothing for the short breaks of everyday life. */

const QUIET_MS = 5000;

/**
 * @param {object} o
 * @param {object} o.connection  the state of the Connection
 * @param {number} o.lostAt      when it was last known to work, or the page began
 * @param {number} o.waiting     messages that wait to be sent
 * @returns {null | {text: string, wait: string, canRetry: boolean}}  `text` is for reading out and
 *   stays the same while nothing changes; `wait` counts the seconds
 */
export function bannerFor({ connection, lostAt, now, waiting, isOnline }) {
  if (connection.name === "open" || connection.name === "stopped") return null;
  if (now - lostAt < QUIET_MS) return null;
  const reason = isOnline
    ? "No connection. Signet keeps trying."
    : "This device is offline. Signet goes on when it is back.";
  return {
    text: [reason, queue(waiting)].filter(Boolean).join(" "),
    wait: countdown(connection, now),
    canRetry: connection.name === "waiting",
  };
}

function countdown(connection, now) {
  if (connection.name !== "waiting") return "Trying…";
  return `Next try in ${Math.max(1, Math.ceil((connection.until - now) / 1000))} s`;
}

function queue(waiting) {
  if (waiting === 0) return "";
  if (waiting === 1) return "1 message waits here and goes out by itself.";
  return `${waiting} messages wait here and go out by themselves.`;
}
