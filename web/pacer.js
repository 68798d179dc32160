// When to draw.

// More drawings a second nobody would notice: at 30 the curves of ten seconds
// move by three or four pixels each time. Milliseconds.
const MIN_PAUSE = 1000 / 30;
const MAX_PAUSE = 1000;
// Animation frames do not come on the millisecond.
const EARLY = 4;

// Pacer leaves half of the page's time to commands and messages, however long
// a drawing takes: after each the next one waits until as much time has passed
// again. What a drawing took is known from when the browser comes back with
// the next animation frame, since it paints after the script has ended.
export class Pacer {
  #drewAt = null; // the last drawing, until the frame after it
  #due = -Infinity;

  // drawNow is called once in each animation frame with the time, in
  // milliseconds. Where it is true the caller draws.
  drawNow(now) {
    if (this.#drewAt !== null) {
      const took = Math.min(now - this.#drewAt, MAX_PAUSE);
      this.#due = Math.max(now + took, this.#drewAt + MIN_PAUSE) - EARLY;
      this.#drewAt = null;
    }
    if (now < this.#due) return false;
    this.#drewAt = now;
    return true;
  }
}
