/** The files of what is being written, as a list: picture, progress, and the ways out. */

import { h, icon, keyed } from "./dom.js";
import { sizeWords } from "./sizes.js";

const keys = new WeakMap(); // of uploads
let lastKey = 0;

/** The trays of a box, one for each draft, and the list that shows the tray of the open one. */
export class FileRow {
  #list;
  #trayOf;
  #on;
  #trays = new Map(); // of drafts, by key
  #key = null;

  /**
   * @param {Element} o.list
   * @param {Function} o.trayOf  (slug, changed) => Tray
   * @param {object} o.on        changed(key, attachments), pressed()
   */
  constructor({ list, trayOf, on }) {
    this.#list = list;
    this.#trayOf = trayOf;
    this.#on = on;
    list.addEventListener("click", ({ target }) => this.#pressed(target.closest("button")));
  }

  /** @param {Array} attachments  what had been uploaded for this draft when the page began */
  open(key, slug, attachments) {
    this.#key = key;
    if (!this.#trays.has(key)) {
      const tray = this.#trayOf(slug, () => this.#changed(key));
      this.#trays.set(key, tray);
      tray.restore(attachments);
    }
    this.#show();
  }

  /** The tray of the open draft. */
  get tray() {
    return this.#trays.get(this.#key);
  }

  #changed(key) {
    this.#on.changed(key, this.#trays.get(key).attachments);
    if (key === this.#key) this.#show();
  }

  #show() {
    const items = this.tray.uploads.map((upload) => ({
      upload,
      key: keyOf(upload),
      stamp: [upload.state, upload.progress.toFixed(2), upload.error].join("|"),
    }));
    keyed(this.#list, items, { make: () => h("li", { class: "tray-item" }), update: updateItem });
    this.#list.hidden = items.length === 0;
  }

  #pressed(button) {
    const key = button?.closest("li").dataset.key;
    const upload = this.tray.uploads.find((other) => keyOf(other) === key);
    if (!upload) return;
    if (button.dataset.action === "retry") this.tray.retry(upload);
    else this.tray.remove(upload);
    this.#on.pressed(); // the button may be gone
  }
}

function keyOf(upload) {
  if (!keys.has(upload)) keys.set(upload, String(++lastKey));
  return keys.get(upload);
}

function updateItem(element, { upload }) {
  const { name, state, progress, error } = upload;
  const percent = Math.round(progress * 100);
  const picture = upload.url ? h("img", { src: upload.url, alt: "" }) : icon("file");
  const again = h("button", { type: "button", class: "link-button", "data-action": "retry" }, "Try again");
  element.dataset.state = state;
  element.replaceChildren(
    h("span", { class: "tray-picture" }, picture),
    h(
      "span",
      { class: "tray-words small" },
      h("bdi", { class: "tray-name" }, name),
      h("span", { class: "soft" }, stateWords(upload, percent)),
      ...(state === "uploading" ? [h("progress", { max: "1", value: progress, "aria-label": name })] : []),
      ...(state === "failed" ? [h("span", { role: "alert" }, error), again] : []),
    ),
    removeButton(name, state),
  );
}

function removeButton(name, state) {
  const label = state === "uploading" ? `Stop uploading ${name}` : `Take ${name} off`;
  const words = { type: "button", class: "icon-button", "aria-label": label, title: label };
  return h("button", words, icon("close"));
}

function stateWords({ state, size }, percent) {
  if (state === "uploading") return `${percent} %`;
  if (state === "waiting") return "Waiting";
  return state === "failed" ? "Not uploaded" : sizeWords(size);
}
