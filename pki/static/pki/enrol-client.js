/** What the enrolment page says to the server, and what it hears. Never the key, never its password. */

/** The server said no. `fields` names what is wrong where, `isFinal` that asking again is useless. */
export class Refusal extends Error {
  constructor(detail, { fields = {}, status = 0 } = {}) {
    super(detail);
    this.name = "Refusal";
    this.fields = fields;
    this.isFinal = status === 404 || status === 409;
  }
}

/** Sends the request (PEM). The same one may be sent again: the server answers the same. */
export const sendRequest = (url, { csr, csrfToken, consolePasswords }) =>
  ask(url, {
    method: "POST",
    body: new URLSearchParams({ csr, csrfmiddlewaretoken: csrfToken, ...consolePasswords }),
  });

/** How the request stands. */
export const readStatus = (url) => ask(url, { method: "GET" });

/** Milliseconds before the next look: often while somebody may be sitting there, then seldom. */
export function delayBefore(look) {
  if (look < 24) return 5_000;
  return look < 64 ? 15_000 : 60_000;
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, {
      ...options,
      headers: { Accept: "application/json" },
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch {
    throw new Refusal("The server cannot be reached. Check the connection and press the button again.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.state) return answer;
  const { detail = unexpected(response), fields } = answer?.error ?? {};
  throw new Refusal(detail, { fields, status: answer?.error ? response.status : 0 });
}

const unexpected = ({ status }) =>
  `The server gave an answer that this page does not understand (${status}). Load the page again and press the button once more.`;
