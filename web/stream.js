// The stored telemetry of one device: the last seconds of each channel, and
// exact counts of received and missing samples.

import { KIND_SAMPLES } from "./protocol.js";

export const WINDOW_SECONDS = 10;
export const MAX_CHANNELS = 16;

// Limits of the stored samples of each channel. A stream that is too fast for
// the upper limit is shown for a shorter time, with all samples.
const MIN_SAMPLES = 16;
const MAX_SAMPLES = 1 << 19;
const SAMPLES_WITHOUT_DT = 100_000;
const MAX_GAPS_KEPT = 256;

// In this time a stream gets at most one new ring, and at most one window of
// samples is marked as missing. Milliseconds. Both take time in proportion to
// the window, not to the data sent, and a device must not be able to prevent
// the page from sending commands.
const REBUILD_EVERY = 1000;

// Some devices send the measured dt, which differs in each frame. A change up
// to this fraction of dt is jitter; a larger change is another rate.
const DT_JITTER = 0.25;
// The weight of each new dt in the mean, and the largest difference between the
// mean and the displayed dt. The displayed dt changes in steps, so that the
// time axis does not tremble.
const DT_SMOOTHING = 1 / 64;
const DT_STEP = 0.02;

// Ring holds the newest samples of each channel by their number. Numbers count
// from the first sample in the ring. Missing samples are NaN, so that the time
// axis stays correct.
export class Ring {
  constructor(channels, capacity, ArrayType = Float64Array) {
    this.capacity = capacity;
    this.channels = Array.from({ length: channels }, () => new ArrayType(capacity));
    this.start = 0; // number of the oldest sample kept
    this.end = 0; // number of the next sample
    this.gaps = []; // [from, to) of missing samples, oldest first
    this.generation = 0; // changes when the ring starts over
  }

  // clear discards all samples; the next sample is the first.
  clear() {
    this.start = this.end = 0;
    this.gaps = [];
    this.generation++;
  }

  // push adds count samples of width interleaved values; the ring stores as
  // many values of each sample as it has channels.
  push(values, count, width) {
    const size = this.capacity;
    for (let c = 0; c < this.channels.length; c++) {
      const channel = this.channels[c];
      let at = this.end % size;
      for (let i = c; i < count * width; i += width) {
        channel[at] = values[i];
        if (++at === size) at = 0;
      }
    }
    this.#advance(count);
  }

  // skip leaves out count samples, fewer than the ring's capacity. If missing
  // is set, they are listed as a gap.
  skip(count, missing = true) {
    const from = this.end % this.capacity;
    for (const channel of this.channels) {
      channel.fill(NaN, from, Math.min(from + count, this.capacity));
      if (from + count > this.capacity) channel.fill(NaN, 0, from + count - this.capacity);
    }
    if (missing) this.gaps.push([this.end, this.end + count]);
    if (this.gaps.length > MAX_GAPS_KEPT) this.gaps.shift();
    this.#advance(count);
  }

  latest(channel) {
    return this.end === 0 ? NaN : this.channels[channel][(this.end - 1) % this.capacity];
  }

  #advance(count) {
    this.end += count;
    this.start = Math.max(0, this.end - this.capacity);
    while (this.gaps.length > 0 && this.gaps[0][1] <= this.start) this.gaps.shift();
  }
}

// Stream processes the frames of one device. Times are in milliseconds of a
// monotonic clock.
export class Stream {
  ring = null; // null until the first frame; another one when the stream changes its shape
  channels = 0; // as sent; the ring may hold fewer
  dt = 0; // nanoseconds between samples, within 2 % of the mean; 0 if the device sends none
  dtVaries = false;
  lastSample = null; // BigInt, nanoseconds since 1970 by the device's clock
  lastArrival = null; // milliseconds

  received = 0; // samples
  frames = 0;
  missing = 0; // samples whose numbers never came
  gaps = 0;
  reported = new Map(); // samples that the gateway says were lost, by cause
  restarts = 0;
  passedOver = 0; // frames of a kind that is not shown
  notDrawn = 0; // samples received that did not fit into the ring
  arrivals = new RateMeter();

  #next = null; // BigInt: number of the next sample if none is missing
  #ringNext = null; // BigInt: the number that the ring's next sample has
  #meanDT = 0;
  #exact = false; // the ring's values need 64 bits
  #ringMade = -Infinity;
  #skipped = 0; // samples, since #skippedSince
  #skippedSince = -Infinity;

  // take adds a frame that arrived now, and returns the gap before the frame, {
  // from, to } as BigInts, or null. Samples before the first frame do not count
  // as missing.
  take(frame, now) {
    if (frame.kind !== KIND_SAMPLES) {
      this.passedOver++;
      return null;
    }
    let gap = null;
    if (this.#next !== null && frame.seq < this.#next) {
      this.restarts++;
      this.ring?.clear();
    } else if (this.#next !== null && frame.seq > this.#next) {
      gap = { from: this.#next, to: frame.seq };
      this.missing += Number(gap.to - gap.from);
      this.gaps++;
    }
    this.#next = frame.seq + BigInt(frame.count);
    this.received += frame.count;
    this.frames++;
    this.arrivals.add(frame.count, now);
    this.lastSample = frame.t0 + BigInt(frame.count - 1) * BigInt(frame.dt);
    this.lastArrival = now;
    this.#keep(frame, gap !== null, now);
    return gap;
  }

  // keep writes the frame's values into the ring, at the position of their
  // number.
  #keep(frame, gap, now) {
    if (!this.#fits(frame)) {
      if (now - this.#ringMade < REBUILD_EVERY) {
        this.notDrawn += frame.count;
        return;
      }
      this.#ringMade = now;
      this.ring = this.#newRing(frame);
    }
    this.channels = frame.channels;
    if (frame.dt !== this.dt) this.dtVaries = true;
    this.#meanDT += (frame.dt - this.#meanDT) * DT_SMOOTHING;
    if (Math.abs(this.#meanDT - this.dt) > this.dt * DT_STEP) this.dt = this.#meanDT;
    const ring = this.ring;
    if (ring.end > 0 && frame.seq > this.#ringNext) this.#skip(Number(frame.seq - this.#ringNext), gap, now);
    ring.push(frame.values, frame.count, frame.channels);
    this.#ringNext = this.#next;
  }

  #fits(frame) {
    if (!this.ring || this.ring.channels.length !== shownChannels(frame) || this.#exact !== isExact(frame)) return false;
    return frame.dt === this.dt || (frame.dt > 0 && Math.abs(frame.dt - this.dt) <= this.dt * DT_JITTER);
  }

  #skip(count, missing, now) {
    if (now - this.#skippedSince >= REBUILD_EVERY) {
      this.#skippedSince = now;
      this.#skipped = 0;
    }
    this.#skipped += count;
    if (this.#skipped < this.ring.capacity) this.ring.skip(count, missing);
    else this.ring.clear();
  }

  // lost adds the payload of gateway.lost. These samples are counted
  // separately: the same samples count as missing when the next frame arrives.
  lost({ from, to, cause, inexact, samples }) {
    const count = inexact ? Number(samples ?? 0) : Number(to) - Number(from);
    if (!(count > 0)) return;
    const name = String(cause ?? "unknown").slice(0, 32);
    if (this.reported.size < 8 || this.reported.has(name)) {
      this.reported.set(name, (this.reported.get(name) ?? 0) + count);
    }
  }

  get reportedTotal() {
    let sum = 0;
    for (const count of this.reported.values()) sum += count;
    return sum;
  }

  #newRing(frame) {
    this.dt = this.#meanDT = frame.dt;
    this.dtVaries = false;
    this.#exact = isExact(frame);
    const wanted = frame.dt > 0 ? Math.ceil((WINDOW_SECONDS * 1e9) / frame.dt) : SAMPLES_WITHOUT_DT;
    const capacity = Math.max(MIN_SAMPLES, Math.min(wanted, MAX_SAMPLES));
    return new Ring(shownChannels(frame), capacity, this.#exact ? Float64Array : Float32Array);
  }
}

function shownChannels(frame) {
  return Math.min(frame.channels, MAX_CHANNELS);
}

// isExact reports whether 32 bits would round the frame's values.
function isExact({ format }) {
  return format === "f64" || format === "i32";
}

// RateMeter counts the samples of the last two seconds, in slots of a quarter
// of a second. Times are in milliseconds.
export class RateMeter {
  #slots = new Float64Array(9); // eight full ones and the present
  #slot = null;
  #began = 0;

  add(count, now) {
    this.#turn(now);
    this.#slots[this.#slot % 9] += count;
  }

  // perSecond returns the rate over the full slots.
  perSecond(now) {
    if (this.#slot === null) return 0;
    this.#turn(now);
    let sum = 0;
    for (let i = 1; i <= 8; i++) sum += this.#slots[(this.#slot + i) % 9];
    const full = Math.min(8, this.#slot - this.#began);
    return full > 0 ? sum / (full * 0.25) : 0;
  }

  #turn(now) {
    const slot = Math.floor(now / 250);
    if (this.#slot === null) this.#slot = this.#began = slot;
    for (let behind = Math.min(9, slot - this.#slot); behind > 0; behind--) {
      this.#slots[(slot - behind + 1) % 9] = 0;
    }
    this.#slot = Math.max(this.#slot, slot);
  }
}
