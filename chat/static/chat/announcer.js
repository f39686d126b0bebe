/**
 * Tells a screen reader of messages that arrive in the open room, and of nothing else: one by one
 * while they are few, as a number when they come fast.
 */

import { systemClock } from "./outbox.js";

const EVERY_MS = 3000;
const SPOKEN_LETTERS = 200;

export class Announcer {
  #say;
  #clock;
  #queue = [];
  #resting = false;

  constructor(say, clock = systemClock) {
    this.#say = say;
    this.#clock = clock;
  }

  arrived(author, body) {
    this.#queue.push(`${author}: ${body.slice(0, SPOKEN_LETTERS)}`);
    if (!this.#resting) this.#speak();
  }

  forget() {
    this.#queue = [];
  }

  #speak() {
    const queue = this.#queue;
    this.#queue = [];
    this.#resting = queue.length > 0;
    if (!this.#resting) return;
    this.#say(queue.length === 1 ? queue[0] : `${queue.length} new messages`);
    this.#clock.after(EVERY_MS, () => this.#speak());
  }
}
