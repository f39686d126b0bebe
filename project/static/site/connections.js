// Keeps the list of live connections up to date while somebody looks at it.
"use strict";

const BETWEEN_LOOKS = 4000;
const PARTS = ["[data-live]", "#changelist-form", ".sg-live-count"];

// Not under the hands of who is about to click, or selects some text to copy it.
function isInUse(part) {
  const selection = document.getSelection();
  return part.contains(document.activeElement)
    || (selection.toString() !== "" && part.contains(selection.anchorNode));
}

async function look() {
  if (!document.hidden) {
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok || response.redirected) return; // the console is locked: nothing to see
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const name of PARTS) {
        const [old, now] = [document.querySelector(name), page.querySelector(name)];
        if (old && now && !isInUse(old)) old.replaceWith(now);
      }
    } catch {
      // the connection is away: the next look may find it again
    }
  }
  setTimeout(look, BETWEEN_LOOKS);
}

document.addEventListener("DOMContentLoaded", () => {
  if (document.querySelector("[data-live]")) setTimeout(look, BETWEEN_LOOKS);
});
