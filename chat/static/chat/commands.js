/**
 * What a person writes behind a slash, as the thing it asks for. Pure: whoever asked does it.
 *
 * A slash begins a command only in front of a word, so that a path such as /usr/bin/python is text;
 * two slashes make text of whatever follows them.
 */

const COMMAND = /^\/([a-z]+)(?:[ \t]+([\s\S]*))?$/i;
const SHRUG = "¯\\\\\\_(ツ)\\_/¯"; // as Markdown shows it whole

/** What `/help` and the list of keys show. */
export const COMMANDS = [
  { usage: "/me waves", does: "Say what you do: Alice waves" },
  { usage: "/shrug", does: "¯\\_(ツ)_/¯ behind your words" },
  { usage: "/invite @username", does: "Bring somebody into this room" },
  { usage: "/topic words", does: "Say what this room is for" },
  { usage: "/join room", does: "Join or open a room by its address" },
  { usage: "/leave", does: "Leave this room" },
  { usage: "/help", does: "Show this list" },
  { usage: "//", does: "Write a message that begins with a slash" },
];

/**
 * @returns {{name: "post", body: string} | {name: string, ...} | {name: "wrong", sentence: string}}
 *   `post` is a message; every other name is a command with its fields
 */
export function parseCommand(text) {
  const written = text.trim();
  if (written.startsWith("//")) return { name: "post", body: unslashed(written) };
  const [, word, rest = ""] = COMMAND.exec(written) ?? [];
  if (!word) return { name: "post", body: written };
  const parse = PARSERS[word.toLowerCase()];
  return parse ? parse(rest.trim()) : wrong(`There is no command /${word}. ${ESCAPE}`);
}

const ESCAPE = "Write /help for the list, or // to begin a message with a slash.";

const PARSERS = {
  __proto__: null,
  me: (rest) => (rest ? { name: "post", body: `/me ${rest}` } : wrong("Write what you do: /me waves")),
  shrug: (rest) => ({ name: "post", body: rest ? `${rest} ${SHRUG}` : SHRUG }),
  invite(rest) {
    const users = rest.split(/[\s,]+/).map((word) => word.replace(/^@/, "")).filter(Boolean);
    return users.length > 0 ? { name: "invite", users } : wrong("Say whom: /invite @username");
  },
  topic(rest) {
    if (!rest) return wrong("Write what this room is for: /topic words");
    return rest.includes("\n") ? wrong("A topic is one line.") : { name: "topic", topic: rest };
  },
  join: (rest) => (rest ? { name: "join", room: rest } : wrong("Say which room: /join room")),
  leave: (rest) => (rest ? wrong("/leave leaves this room and needs no more words.") : { name: "leave" }),
  help: () => ({ name: "help" }),
};

function wrong(sentence) {
  return { name: "wrong", sentence };
}

/** The server reads /me itself, so that one word keeps its slash behind a backslash of Markdown. */
function unslashed(text) {
  const plain = text.slice(1);
  return /^\/me\s/i.test(plain) ? `\\${plain}` : plain;
}
