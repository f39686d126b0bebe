/**
 * The HTML of a message comes sanitised from the server. This filter is the second lock on the
 * same door: whatever is not named here is unwrapped or dropped before it reaches the page.
 */

import { h, icon } from "./dom.js";
import { parsed } from "./trusted.js";

const ALLOWED = new Set(
  "p br hr strong em b i del s u code pre blockquote ul ol li a span h1 h2 h3 h4 h5 h6 table thead tbody tr th td"
    .toUpperCase()
    .split(" "),
);
const DROPPED = new Set("SCRIPT STYLE TEMPLATE IFRAME OBJECT EMBED SVG MATH TITLE NOSCRIPT".split(" "));
const LINK = /^(https?:|mailto:)/i;
const MARK = /^(mention|[a-z][a-z0-9]{0,2})$/; // somebody's name, or a kind of word in code
const LANGUAGE = /^language-[\w+#.-]{1,32}$/;

/** A fragment that is safe to put into the page. */
export function messageFragment(html) {
  const fragment = document.createDocumentFragment();
  copyChildren(parsed(html).body, fragment);
  return fragment;
}

function copyChildren(from, to) {
  for (const node of from.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) to.append(node.data);
    else if (node.nodeType === Node.ELEMENT_NODE) copyElement(node, to);
  }
}

function copyElement(node, to) {
  const name = node.tagName.toUpperCase();
  if (DROPPED.has(name)) return;
  if (!ALLOWED.has(name) || isBare(node, name)) {
    copyChildren(node, to);
    return;
  }
  const copy = h(name.toLowerCase(), attributesOf(node, name));
  copyChildren(node, copy);
  to.append(name === "PRE" ? withCopyButton(copy) : copy);
}

/** A link that leads nowhere good, or a span that marks nothing: only its words count. */
function isBare(node, name) {
  if (name === "A") return !LINK.test(node.getAttribute("href") ?? "");
  return name === "SPAN" && !MARK.test(node.className);
}

function attributesOf(node, name) {
  if (name === "SPAN") {
    const user = node.getAttribute("data-user") ?? "";
    return { class: node.className, "data-user": /^\d{1,16}$/.test(user) ? user : null };
  }
  if (name === "A") {
    return {
      href: node.getAttribute("href"),
      target: "_blank",
      rel: "noopener noreferrer nofollow",
    };
  }
  if (name === "OL" && /^\d{1,6}$/.test(node.getAttribute("start") ?? "")) {
    return { start: node.getAttribute("start") };
  }
  if (name === "CODE" && LANGUAGE.test(node.className)) return { class: node.className };
  return {};
}

/** Code scrolls sideways in its own frame, which the keyboard can reach, and can be copied. */
function withCopyButton(pre) {
  pre.tabIndex = 0;
  const label = h("span", {}, "Copy");
  const copy = async () => {
    await navigator.clipboard.writeText(pre.textContent);
    label.textContent = "Copied";
    setTimeout(() => (label.textContent = "Copy"), 2000);
  };
  const button = h(
    "button",
    { type: "button", class: "code-copy", "aria-label": "Copy this code", on: { click: copy } },
    icon("copy"),
    label,
  );
  return h("div", { class: "code" }, pre, button);
}
