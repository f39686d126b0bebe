/** One short sentence at the foot of the page: what was done, or why it was not. */

import { h } from "./dom.js";

const SHOWN_MS = 6000;

let leaving = null;

/** Says it until it was read; a screen reader says it too. */
export function toast(words, { isRefusal = false } = {}) {
  const place = document.getElementById("toasts") ?? made();
  clearTimeout(leaving);
  place.replaceChildren(h("p", { class: `toast${isRefusal ? " is-refusal" : ""}` }, words));
  leaving = setTimeout(() => place.replaceChildren(), SHOWN_MS);
}

function made() {
  const place = h("div", { id: "toasts", class: "toasts", role: "status", "aria-live": "polite" });
  document.body.append(place);
  return place;
}
