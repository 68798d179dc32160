// When to draw.

// A higher rate would not be visible: at 30 drawings a second, curves of ten
// seconds move by three or four pixels each time. Milliseconds.
const MIN_PAUSE = 1000 / 30;
const MAX_PAUSE = 1000;
// Animation frames may come some milliseconds early.
const EARLY = 4;

// Pacer limits the drawings so that half of the page's time is left for
// commands and messages: after a drawing the page waits as long as the drawing
// took. The length of a drawing is the time until the next animation frame,
// because the browser paints after the script has ended.
export class Pacer {
  #drewAt = null; // the last drawing, until the frame after it
  #due = -Infinity;

  // drawNow is called once in each animation frame with the time in
  // milliseconds, and returns whether the caller should draw.
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
