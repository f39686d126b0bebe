// A button next to a link or password that puts it on the clipboard; without script it stays away.
"use strict";

function offerCopy(button) {
  const label = button.querySelector("[data-copy-label]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      label.textContent = "Copied";
    } catch {
      label.textContent = "Select it and copy";
    }
  });
}

document.addEventListener("DOMContentLoaded", () => {
  if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach(offerCopy);
});
