/** The line that says how long the next message waits. Its seconds count by themselves, unread. */

import { setText } from "./dom.js";

export class WaitLine {
  #line;
  #words;
  #count;
  #slow = 0;
  #until = null;
  #timer = null;

  constructor({ line, words, count }) {
    this.#line = line;
    this.#words = words;
    this.#count = count;
  }

  /**
   * @param {number} slow        the seconds between two messages of a person, 0 where there is no rule
   * @param {number|null} until  when the next one may go out
   */
  show(slow, until) {
    this.#slow = slow;
    this.#until = until;
    this.#draw();
  }

  #draw() {
    const left = this.#until === null ? 0 : Math.ceil((this.#until - Date.now()) / 1000);
    this.#line.hidden = left <= 0 && this.#slow === 0;
    setText(this.#words, this.#slow > 0 ? `Slow mode: one message every ${secondsWords(this.#slow)}.` : "");
    setText(this.#count, left > 0 ? `The next one goes out in ${secondsWords(left)}.` : "");
    clearTimeout(this.#timer);
    if (left > 0) this.#timer = setTimeout(() => this.#draw(), 1000);
  }
}

/** 90 → "1 min 30 s" */
function secondsWords(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = seconds % 60;
  if (minutes === 0) return `${rest} s`;
  return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`;
}
