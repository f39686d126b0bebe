/** The parts of the box one writes in, and the words they show. No part knows another. */

import { h, icon, setAttribute } from "./dom.js";

const QUOTED_LETTERS = 120;

/** Fills a form; its id names what others point at. */
export function build(form) {
  const { id } = form;
  const parts = {
    label: h("label", { class: "visually-hidden", for: `${id}-input` }, "Message"),
    box: h("textarea", {
      id: `${id}-input`,
      rows: "1",
      autocomplete: "off",
      "aria-describedby": `${id}-count ${id}-help`,
      dir: "auto",
    }),
    file: h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1", "aria-label": "Files" }),
    attach: button("clip", "Attach files", " attach"),
    emoji: button("smile", "Emoji"),
    send: h(
      "button",
      { type: "submit", class: "icon-button send", "aria-label": "Send", title: "Send" },
      icon("send"),
    ),
    suggestions: h("ul", {
      id: `${id}-suggestions`,
      class: "options suggestions",
      role: "listbox",
      "aria-label": "Suggestions",
      hidden: true,
    }),
    suggested: h("span", { class: "visually-hidden", role: "status" }),
    taskIcon: h("span", { class: "composer-task-icon" }),
    taskWords: h("p", {}),
    drop: button("close", "Do not answer this"),
    tray: h("ul", { class: "tray", "aria-label": "Files of this message", hidden: true }),
    ask: h("div", { class: "composer-ask", role: "group", "aria-label": "Tell everybody?", hidden: true }),
    notice: h("p", { class: "composer-notice small", role: "status", hidden: true }),
    waitWords: h("span", {}),
    waitCount: h("span", { class: "composer-wait-count", "aria-hidden": "true" }),
    count: h("p", { id: `${id}-count`, class: "draft-count small", hidden: true }),
    shut: h("p", { class: "composer-shut soft", hidden: true }),
  };
  parts.task = h("div", { class: "composer-task", hidden: true }, parts.taskIcon, parts.taskWords, parts.drop);
  parts.wait = h("p", { class: "composer-wait small soft", hidden: true }, parts.waitWords, " ", parts.waitCount);
  parts.body = h(
    "div",
    { class: "composer-body" },
    parts.suggestions,
    parts.suggested,
    parts.notice,
    parts.task,
    h(
      "div",
      { class: "composer-frame" },
      parts.tray,
      h("div", { class: "composer-box" }, parts.attach, parts.label, parts.box, parts.emoji, parts.send),
    ),
    parts.file,
    parts.ask,
    parts.wait,
    parts.count,
    help(`${id}-help`),
  );
  form.classList.add("composer");
  form.append(parts.body, parts.shut);
  return parts;
}

function button(name, label, also = "") {
  const words = { type: "button", class: `icon-button${also}`, "aria-label": label, title: label };
  return h("button", words, icon(name));
}

function help(id) {
  const keys = [h("kbd", {}, "Enter"), " sends, ", h("kbd", {}, "Shift"), " ", h("kbd", {}, "Enter")];
  return h("p", { id, class: "composer-help small soft" }, keys, " begins a new line.");
}

/** The chip above the box: what is answered, or that something is edited. */
export function showTask({ task, taskWords, taskIcon, drop, send }, { isEditing, reply }) {
  const label = isEditing ? "Save" : "Send";
  task.hidden = !isEditing && !reply;
  setAttribute(send, "aria-label", label);
  send.title = label;
  setAttribute(drop, "aria-label", isEditing ? "Stop editing" : "Do not answer this");
  taskIcon.replaceChildren(icon(isEditing ? "edit" : "reply"));
  if (isEditing) taskWords.replaceChildren(h("b", {}, "Editing your message"));
  else if (reply) taskWords.replaceChildren(...replyWords(reply));
}

/**
 * As high as its text. The form keeps its height while that is measured: the messages above would
 * be scrolled away from their end as soon as they had more space.
 */
export function grow(box, form) {
  form.style.minBlockSize = `${form.offsetHeight}px`;
  box.style.blockSize = "auto";
  box.style.blockSize = `${box.scrollHeight}px`;
  form.style.minBlockSize = "";
}

function replyWords({ author, body }) {
  return [h("b", {}, "Answering ", h("bdi", {}, author)), h("span", { class: "soft" }, body ?? "")];
}

export function nameIn(author) {
  return typeof author === "string" ? author : author?.name || author?.username || "Somebody";
}

export function quoteOf({ body, attachments }) {
  const line = (body ?? "").trim().replace(/\s+/g, " ");
  const words = line || (attachments ?? []).map(({ name }) => name).join(", ");
  return words.length > QUOTED_LETTERS ? `${words.slice(0, QUOTED_LETTERS)}…` : words;
}

export function countWords(left) {
  return left >= 0 ? `${left} left` : `${-left} too many: please shorten it or send it in parts`;
}
