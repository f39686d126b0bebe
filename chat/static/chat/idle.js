/** Whether somebody sits here: away after some minutes without a sign of them. */

import { systemClock } from "./outbox.js";

export const AWAY_AFTER_MS = 5 * 60_000;
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "focus"];

export class Idle {
  #clock;
  #tell;
  #seenAt;
  state = "active";

  /** @param {Function} o.tell  (state) => void, on each change */
  constructor({ tell, clock = systemClock }) {
    this.#tell = tell;
    this.#clock = clock;
    this.#seenAt = clock.now();
    this.#wait(AWAY_AFTER_MS);
  }

  /** Takes every touch of the page for a sign, while it can be seen. */
  watch(page = document) {
    const seen = () => page.hidden || this.seen();
    for (const sign of SIGNS) addEventListener(sign, seen, { passive: true, capture: true });
    page.addEventListener("visibilitychange", seen);
  }

  seen() {
    this.#seenAt = this.#clock.now();
    if (this.state === "away") {
      this.#enter("active");
      this.#wait(AWAY_AFTER_MS);
    }
  }

  /** Connected again: the server takes everybody who comes for active. */
  ready() {
    if (this.state === "away") this.#tell("away");
  }

  #wait(ms) {
    this.#clock.after(ms, () => {
      const left = this.#seenAt + AWAY_AFTER_MS - this.#clock.now();
      if (left > 0) this.#wait(left);
      else this.#enter("away");
    });
  }

  #enter(state) {
    this.state = state;
    this.#tell(state);
  }
}
