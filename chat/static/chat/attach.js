/**
 * Files on their way into a message. They are uploaded while the message is still being written; a
 * tray holds them meanwhile, and hands them over as a parcel that is whole once all have arrived.
 */

import { sizeWords } from "./sizes.js";

const AT_ONCE = 2;
const UNTOLD = { file_bytes: Infinity, per_message: 10 };

/** One file; its state is waiting, uploading, done or failed. */
export class Upload {
  #send;
  #slots;
  #abort = null;
  #arrival = null; // the promise of the attachment, while there is one

  /** @param {Function} send  (file, {progress, signal}) => Promise of the attachment */
  constructor({ file, send, slots, changed = () => {} }) {
    this.#send = send;
    this.#slots = slots;
    this.file = file;
    this.changed = changed;
    this.state = "waiting";
    this.progress = 0;
    this.error = null;
    this.attachment = null;
    this.url = null; // shows a picture before the server has one
  }

  /** What was uploaded for a draft that is opened again. */
  static arrived(attachment, url) {
    const upload = new Upload({ file: attachment });
    return Object.assign(upload, { state: "done", progress: 1, attachment, url });
  }

  get name() {
    return this.file.name;
  }

  get size() {
    return this.file.size;
  }

  get type() {
    return this.file.type ?? "";
  }

  /** The attachment, once it has arrived; begins again where an earlier try failed. */
  start() {
    if (this.attachment) return Promise.resolve(this.attachment);
    this.#arrival ??= this.#run().finally(() => (this.#arrival = null));
    return this.#arrival;
  }

  async #run() {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#become({ state: "waiting", progress: 0, error: null });
    const leave = await this.#slots.enter();
    try {
      signal.throwIfAborted();
      this.#become({ state: "uploading" });
      const progress = (part) => this.#become({ progress: part });
      const attachment = await this.#send(this.file, { progress, signal });
      this.#become({ state: "done", progress: 1, attachment });
      return attachment;
    } catch (error) {
      if (!signal.aborted) this.#become({ state: "failed", error: error.message });
      throw error;
    } finally {
      leave();
    }
  }

  cancel() {
    this.#abort?.abort();
    this.release();
  }

  /** Its picture is shown no more. */
  release() {
    if (this.url?.startsWith("blob:")) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  #become(fields) {
    Object.assign(this, fields);
    this.changed();
  }
}

/** So many uploads at a time, the others after them. */
export class Slots {
  #free;
  #queue = [];

  constructor(count = AT_ONCE) {
    this.#free = count;
  }

  /** Waits for a turn; the result ends it. */
  async enter() {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => this.#queue.push(resolve));
    return () => {
      const next = this.#queue.shift();
      if (next) next();
      else this.#free += 1;
    };
  }
}

/** The files of a message that is being written. */
export class Tray {
  #send;
  #slots;
  #changed;
  #limits;
  #urlOf;
  uploads = [];

  /**
   * @param {object} o
   * @param {Function} o.send     (file, {progress, signal}) => Promise of the attachment
   * @param {Function} o.limits   () => {file_bytes, per_message}, null where nobody said
   * @param {Function} o.urlOf    (attachment) => where its picture is, null where it has none
   * @param {Function} o.changed
   */
  constructor({ send, slots, limits = () => null, urlOf = () => null, changed }) {
    this.#send = send;
    this.#slots = slots;
    this.#limits = limits;
    this.#urlOf = urlOf;
    this.#changed = changed;
  }

  get isEmpty() {
    return this.uploads.length === 0;
  }

  /** Those that have arrived: what a draft remembers. */
  get attachments() {
    return this.uploads.flatMap(({ attachment }) => attachment ?? []);
  }

  /** Takes the files it may; the sentences say which it does not take, and why. */
  add(files) {
    const refused = [];
    for (const file of files) {
      const sentence = this.#objection(file);
      if (sentence) refused.push(sentence);
      else this.#take(file);
    }
    this.#changed();
    return [...new Set(refused)];
  }

  restore(attachments) {
    this.uploads = attachments.map((each) => Upload.arrived(each, this.#urlOf(each)));
    this.#changed();
  }

  retry(upload) {
    upload.start().catch(ignore);
  }

  remove(upload) {
    upload.cancel();
    this.uploads = this.uploads.filter((other) => other !== upload);
    this.#changed();
  }

  /** Hands everything over: what has arrived, and a parcel where something has not. */
  take() {
    const { uploads, attachments } = this;
    this.uploads = [];
    const isWhole = attachments.length === uploads.length;
    for (const upload of uploads) upload.changed = () => {};
    if (isWhole) for (const upload of uploads) upload.release();
    this.#changed();
    return { attachments, parcel: isWhole ? null : parcelOf(uploads) };
  }

  #take(file) {
    const changed = () => this.#changed();
    const upload = new Upload({ file, send: this.#send, slots: this.#slots, changed });
    if (/^image\//.test(file.type)) upload.url = URL.createObjectURL(file);
    this.uploads = [...this.uploads, upload];
    upload.start().catch(ignore);
  }

  #objection({ name, size }) {
    const { file_bytes: most, per_message: count } = this.#limits() ?? UNTOLD;
    if (this.uploads.length >= count) return `A message takes ${count} files at most.`;
    if (size === 0) return `“${name}” is empty.`;
    return size > most ? `“${name}” has ${sizeWords(size)}; a file may have ${sizeWords(most)}.` : null;
  }
}

function parcelOf(uploads) {
  return {
    names: uploads.filter(({ attachment }) => !attachment).map(({ name }) => name),
    async whole() {
      const attachments = await Promise.all(uploads.map(arrivalOf));
      for (const upload of uploads) upload.release();
      return attachments;
    },
    cancel() {
      for (const upload of uploads) upload.cancel();
    },
  };
}

async function arrivalOf(upload) {
  try {
    return await upload.start();
  } catch (error) {
    error.message = `“${upload.name}” was not uploaded. ${error.message}`;
    throw error;
  }
}

/** What failed is shown by the upload itself. */
function ignore() {}
