/**
 * The one place where a string may become markup: under the policy that the pages name in their
 * Content-Security-Policy, and only into a document that is never shown and runs nothing.
 */

const policy = globalThis.trustedTypes?.createPolicy("signet", { createHTML: (html) => html });

/** A document of this markup, for reading; scripts in it are dead and nothing in it is loaded. */
export function parsed(html) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
}
