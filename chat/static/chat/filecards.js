/** Files that came with a message, as elements. */

import { h, icon } from "./dom.js";
import { sizeWords } from "./sizes.js";

const WIDEST = 400; // of a picture in the list, in pixels
const HIGHEST = 300;

/** The files of a message: pictures small, all else as cards; each leads to its download. */
export function filesOf(attachments, room) {
  return h(
    "ul",
    { class: "files" },
    attachments.map((file) => h("li", {}, file.thumbnail ? picture(file, room) : fileCard(file, room))),
  );
}

function fileUrl(room, { id, name }) {
  return `/rooms/${room}/files/${id}/${encodeURIComponent(name)}`;
}

/** A picture keeps its place from the start, so that nothing moves when it has come. */
function picture(file, room) {
  const { width, height } = fitted(file);
  return h(
    "a",
    { class: "picture", href: fileUrl(room, file), target: "_blank", rel: "noopener", title: file.name },
    h("img", {
      src: `/rooms/${room}/files/${file.id}/thumbnail`,
      alt: file.name,
      width,
      height,
      loading: "lazy",
      decoding: "async",
    }),
  );
}

function fitted({ width = WIDEST, height = HIGHEST }) {
  const scale = Math.min(1, WIDEST / width, HIGHEST / height);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

function fileCard(file, room) {
  return h(
    "a",
    { class: "file", href: fileUrl(room, file), download: file.name },
    icon("file"),
    h("span", { class: "file-name" }, h("bdi", {}, file.name)),
    h("span", { class: "file-size" }, sizeWords(file.size)),
    icon("download"),
  );
}
