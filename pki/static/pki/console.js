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

// A download leaves the page where it is, so the page itself says that something happened, and
// offers no more what works once. A refusal is a page of its own.
function sayAfterSubmit(sentence) {
  sentence.closest("form").addEventListener("submit", () => {
    for (const time of sentence.querySelectorAll("[data-time]")) {
      time.textContent = new Date().toISOString().slice(11, 16);
    }
    sentence.hidden = false;
    // Not before the form is on its way: some browsers send none that is hidden.
    setTimeout(() => {
      for (const element of document.querySelectorAll("[data-until-submit]")) element.hidden = true;
    });
  });
}

// The theme shows what these are by icons and a placeholder alone, or by their place; here they get
// names.
function nameTheControls() {
  document.getElementById("main")?.setAttribute("role", "main");
  document.getElementById("searchbar")?.setAttribute("aria-label", "Search this list");
  document.getElementById("searchbar-submit")?.setAttribute("aria-label", "Search");
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
    icon.setAttribute("aria-hidden", "true");
    const around = icon.closest("a, button");
    const isNamed = around?.textContent.trim() !== icon.textContent.trim();
    if (around && !isNamed && icon.textContent.trim() === "more_horiz") {
      around.setAttribute("aria-label", "Actions");
      around.setAttribute("role", "button");
    }
  }
}

// What was sent may take a while (an RSA key, a long list): the page says that it is at work.
function sayThatItWorks(form) {
  form.addEventListener("submit", () => {
    const line = document.createElement("p");
    line.setAttribute("role", "status");
    line.className = "sg-working";
    line.append(document.createElement("progress"), " Working …");
    setTimeout(() => form.append(line), 400);
    addEventListener("pageshow", () => line.remove(), { once: true });
  });
}

// A file that the server would refuse unread is refused here, with the reason.
function refuseLargeFiles(input) {
  const largest = Number(input.dataset.largest);
  input.addEventListener("change", () => {
    const isLarge = input.files[0]?.size > largest;
    input.setCustomValidity(isLarge ? `This file is larger than ${largest / 1024} KiB.` : "");
    input.reportValidity();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  nameTheControls();
  for (const form of document.querySelectorAll("form[data-working]")) {
    if (!form.querySelector("[data-after-submit]")) sayThatItWorks(form);
  }
  document.querySelectorAll("[data-largest]").forEach(refuseLargeFiles);
  document.querySelectorAll("[data-after-submit]").forEach(sayAfterSubmit);
  if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach(offerCopy);
});
