/** Small comforts of the certificate pages; everything works without them, a little less kindly. */

/** Copies what stands in the element that the button names. */
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(source)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = label), 2500);
  });
  button.setAttribute("aria-live", "polite");
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    return true;
  } catch {
    getSelection().selectAllChildren(source); // the person's own keys still work
    return false;
  }
}

/** The link works once: a second press would lead away from the password. */
const form = document.getElementById("enrol-form");
form?.addEventListener("submit", (event) => {
  if (form.elements.format.value === "browser") return; // enrol-here.js
  const button = document.getElementById("enrol-submit");
  if (button.getAttribute("aria-disabled") === "true") {
    event.preventDefault();
    return;
  }
  button.setAttribute("aria-disabled", "true");
  document.getElementById("downloaded").hidden = false;
});

/** Back on this page by the back button: the server knows whether the link still works. */
addEventListener("pageshow", (event) => {
  if (event.persisted && form) location.reload();
});

/** The platform this browser seems to run on, and what its importer understands. */
function platform() {
  const agent = navigator.userAgent;
  if (/iPhone|iPad/.test(agent) || (/Mac/.test(agent) && navigator.maxTouchPoints > 1)) return "ios";
  if (/Android/.test(agent)) return "android";
  if (/Firefox/.test(agent)) return "firefox";
  if (/Windows/.test(agent)) return "windows";
  if (/Mac OS X/.test(agent)) return "macos";
  return "linux";
}

const here = platform();
const fold = document.querySelector(`#platforms [data-platform="${here}"]`);
if (fold) fold.open = true;

const compatible = form?.querySelector('[name="format"][value="p12-compat"]');
const isUntouched = !document.querySelector(".errorlist");
if (compatible && isUntouched && ["ios", "android", "macos"].includes(here)) compatible.checked = true;

document.getElementById("link-title")?.focus();
