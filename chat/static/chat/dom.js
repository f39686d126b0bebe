/** Small tools for building and keeping elements. No strings become markup here. */

const SVG = "http://www.w3.org/2000/svg";

/** h("p", {class: "x", "aria-live": "polite", on: {click}}, "text", child, null) */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** An icon from the sprite in the page. */
export function icon(name) {
  const use = svg("use", { href: `#icon-${name}` });
  return svg("svg", { class: "icon", "aria-hidden": "true", viewBox: "0 0 24 24" }, use);
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children.flat(2).filter((child) => (child ?? false) !== false));
  return element;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

/** Sets the text only where it differs, so that nothing is announced or repainted twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` follow `items`: one element per `key`, moved and removed as
 * needed, and filled again by `update` only when its `stamp` changed. What goes goes first: in front
 * of an element that is still to go, all that stay would have to be moved.
 */
export function keyed(parent, items, { make, update }) {
  const wanted = new Set(items.map((item) => item.key));
  for (const child of [...parent.children]) if (!wanted.has(child.dataset.key)) child.remove();
  const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const child = existing.get(item.key) ?? make(item);
    child.dataset.key = item.key;
    if (child.stamp !== item.stamp) {
      update(child, item);
      child.stamp = item.stamp;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
}
