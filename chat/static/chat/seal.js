/** A person's seal: initials in a scalloped disc whose lobes and colour follow from the username. */

import { svg } from "./dom.js";

const HUES = 10;
const LOBES = [8, 9, 10, 12, 14, 16];
const outlines = new Map();

export function seal(name, username) {
  const hash = hashOf(username || name);
  const lobes = LOBES[(hash >>> 8) % LOBES.length];
  return svg(
    "svg",
    { class: `seal hue-${hash % HUES}`, viewBox: "-20 -20 40 40", "aria-hidden": "true" },
    svg("path", { class: "seal-rim", d: outline(lobes) }),
    svg("text", { class: "seal-text", y: "5", "text-anchor": "middle" }, initials(name)),
  );
}

function initials(name) {
  const words = name.trim().split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join("") || "?";
}

function hashOf(text) {
  let hash = 2166136261;
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function outline(lobes) {
  if (!outlines.has(lobes)) outlines.set(lobes, drawOutline(lobes));
  return outlines.get(lobes);
}

function drawOutline(lobes) {
  const points = Array.from({ length: lobes * 10 }, (_, index) => {
    const angle = (index / (lobes * 10)) * 2 * Math.PI;
    const radius = 18.2 + 1.3 * Math.cos(lobes * angle);
    return `${(radius * Math.sin(angle)).toFixed(1)} ${(-radius * Math.cos(angle)).toFixed(1)}`;
  });
  return `M${points.join("L")}Z`;
}
