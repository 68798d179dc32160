// Drawing one channel: the least and the greatest value of every pixel column,
// so that a peak of a single sample is visible however many samples share a
// column.

// Columns holds the extremes of the newest pixel columns of one channel. Column
// k covers the sample numbers i with floor(i / per) = k. The borders depend on
// the sample numbers only and do not change while the plot moves. So each
// column is computed once and does not flicker. per need not be an integer, so
// that the columns cover the window exactly.
export class Columns {
  // width is in columns, span is the window in samples.
  constructor(width, span) {
    this.width = width;
    this.span = span;
    this.per = Math.max(1, span / width); // samples
    this.min = new Float64Array(width);
    this.max = new Float64Array(width);
    this.last = -1; // the newest column
    this.first = 0; // the oldest column that is still shown
    this.complete = 0; // columns below this one are final
  }

  // update adds the samples up to the ring's newest. A column without a finite
  // value has min Infinity and max -Infinity.
  update(ring, channel) {
    if (ring.end === 0) return;
    const data = ring.channels[channel];
    this.last = this.#columnOf(ring.end - 1);
    this.first = Math.max(0, this.last - this.width + 1, this.#columnOf(ring.start));
    for (let k = Math.max(this.complete, this.first); k <= this.last; k++) {
      let min = Infinity;
      let max = -Infinity;
      const end = Math.min(this.#firstOf(k + 1), ring.end);
      for (let i = Math.max(this.#firstOf(k), ring.start); i < end; i++) {
        const v = data[i % ring.capacity];
        if (v < min && v !== -Infinity) min = v;
        if (v > max && v !== Infinity) max = v;
      }
      this.min[k % this.width] = min;
      this.max[k % this.width] = max;
    }
    this.complete = this.#columnOf(ring.end);
  }

  // range returns the extremes of all columns shown, or null.
  range() {
    let min = Infinity;
    let max = -Infinity;
    for (let k = this.first; k <= this.last; k++) {
      min = Math.min(min, this.min[k % this.width]);
      max = Math.max(max, this.max[k % this.width]);
    }
    return min <= max ? { min, max } : null;
  }

  #firstOf(k) {
    return Math.ceil(k * this.per);
  }

  // Rounding may move the quotient across a border, so #firstOf decides.
  #columnOf(sample) {
    let k = Math.floor(sample / this.per);
    if (this.#firstOf(k) > sample) k--;
    else if (this.#firstOf(k + 1) <= sample) k++;
    return k;
  }
}

// scaleFor returns the axis for values from min to max: from low to high with
// ticks at the multiples of step. The previous scale is kept while the values
// fit, so that noise does not make the axis jump.
export function scaleFor(min, max, previous) {
  if (previous && min >= previous.low && max <= previous.high && max - min >= (previous.high - previous.low) / 2) {
    return previous;
  }
  let pad = (max - min) * 0.08;
  // A flat line, or values that differ by less than the precision of numbers.
  if (pad <= Math.abs(max) * 1e-12) pad = Math.abs(max) / 100 || 1;
  const low = min - pad;
  const high = max + pad;
  return { low, high, step: niceStep((high - low) / 5) };
}

// tickLabel formats a value with the decimals that the step needs.
export function tickLabel(value, step) {
  const size = Math.max(Math.abs(value), step);
  if (size >= 1e7 || size < 1e-4) return value === 0 ? "0" : value.toExponential(2);
  const decimals = Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const text = value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return text.replaceAll(",", "\u202f").replace(/^-(?=[0.\u202f]*$)/, "").replace("-", "\u2212");
}

// spanOf returns how many samples the time axis spans: with a dt, the ring's
// capacity, which is some seconds. Without a dt the time until the ring is full
// is unknown, so the axis doubles whenever the samples fill it.
export function spanOf(ring, dt) {
  if (dt > 0) return ring.capacity;
  let span = 64;
  while (span < ring.end - ring.start) span *= 2;
  return Math.min(span, ring.capacity);
}

export class Plot {
  #canvas;
  #channel;
  #columns = null;
  #ring = null;
  #generation = 0; // of the ring
  #scale = null;
  #drawn = {}; // state of the canvas: { end, theme, width, height, dt }

  constructor(canvas, channel) {
    this.#canvas = canvas;
    this.#channel = channel;
  }

  // measure adds the ring's newest samples without drawing, and returns the
  // extremes of the window, or null.
  measure(ring, dt) {
    const columns = this.#columnsFor(ring, this.#columns?.width ?? 16, spanOf(ring, dt));
    columns.update(ring, this.#channel);
    return columns.range();
  }

  // draw paints the ring's present window. dt is in nanoseconds, 0 for an axis
  // in samples. theme holds the colours and the font.
  draw(ring, dt, theme) {
    const canvas = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (width === 0 || height === 0) return;
    const drawn = this.#drawn;
    const unchanged = this.#ring === ring && this.#generation === ring.generation && drawn.end === ring.end;
    if (unchanged && drawn.theme === theme && drawn.width === width && drawn.height === height && drawn.dt === dt) return;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const area = { left: Math.round(64 * ratio), top: Math.round(8 * ratio), right: width - Math.round(10 * ratio), bottom: height - Math.round(22 * ratio) };
    area.width = Math.max(16, area.right - area.left);
    const columns = this.#columnsFor(ring, area.width, spanOf(ring, dt));
    columns.update(ring, this.#channel);
    const range = columns.range();
    this.#drawn = { end: ring.end, theme, width, height, dt };

    const ctx = canvas.getContext("2d");
    ctx.clearRect(0, 0, width, height);
    ctx.font = `${11 * ratio}px ${theme.font}`;
    ctx.lineWidth = Math.max(1, Math.round(ratio));
    this.#drawTimeAxis(ctx, area, ratio, dt, theme);
    if (!range) return;
    this.#scale = scaleFor(range.min, range.max, this.#scale);
    // Infinite if the range of the values exceeds the largest number.
    if (Number.isFinite(this.#scale.high - this.#scale.low)) this.#drawValueAxis(ctx, area, ratio, theme);
    this.#drawGaps(ctx, area, ratio, ring, theme);
    if (columns.span < area.width) this.#drawPoints(ctx, area, ratio, ring, theme);
    else this.#drawColumns(ctx, area, ratio, theme);
  }

  #columnsFor(ring, width, span) {
    const same = this.#ring === ring && this.#generation === ring.generation;
    if (!same || this.#columns.width !== width || this.#columns.span !== span) {
      if (!same) this.#scale = null;
      this.#columns = new Columns(width, span);
      this.#ring = ring;
      this.#generation = ring.generation;
    }
    return this.#columns;
  }

  #drawTimeAxis(ctx, area, ratio, dt, theme) {
    const span = this.#columns.span * (dt > 0 ? dt * 1e-9 : 1);
    const step = niceStep(span / Math.max(2, area.width / (110 * ratio)));
    ctx.textBaseline = "top";
    for (let n = 0; n * step <= span * 1.0001; n++) {
      const x = area.right - (n * step * area.width) / span;
      line(ctx, theme.grid, x, area.top, x, area.bottom);
      ctx.fillStyle = theme.muted;
      ctx.textAlign = n === 0 ? "right" : "center";
      ctx.fillText(n === 0 ? "latest" : tickLabel(-n * step, step) + (dt > 0 ? " s" : ""), x, area.bottom + 6 * ratio);
    }
  }

  #drawValueAxis(ctx, area, ratio, theme) {
    const { low, high, step } = this.#scale;
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    for (let n = Math.ceil(low / step); n * step <= high; n++) {
      const value = n * step;
      const y = this.#y(value, area);
      line(ctx, theme.grid, area.left, y, area.right, y);
      ctx.fillStyle = theme.muted;
      ctx.fillText(tickLabel(value, step), area.left - 8 * ratio, y);
    }
  }

  // Missing samples are shaded at least two pixels wide, so that one lost frame
  // in ten seconds is visible.
  #drawGaps(ctx, area, ratio, ring, theme) {
    ctx.fillStyle = theme.gap;
    for (const [from, to] of ring.gaps) {
      const left = Math.max(area.left, this.#x(from - 1, area, ring));
      const right = this.#x(to, area, ring);
      if (right <= area.left) continue;
      ctx.fillRect(left, area.top, Math.max(2 * ratio, right - left), area.bottom - area.top);
    }
  }

  // A column is one filled rectangle with integer x coordinates: a stroke along
  // hundreds of columns of full height costs a hundred times as much in a
  // browser without a graphics processor. Each column reaches to the previous
  // one, so that a steep curve has no holes.
  #drawColumns(ctx, area, ratio, theme) {
    const columns = this.#columns;
    const thickness = 1.25 * ratio;
    ctx.fillStyle = theme.trace;
    let drawing = false;
    let topBefore = 0;
    let bottomBefore = 0;
    for (let k = columns.first; k <= columns.last; k++) {
      const min = columns.min[k % columns.width];
      const max = columns.max[k % columns.width];
      if (min > max) {
        drawing = false;
        continue;
      }
      const top = this.#y(max, area);
      const bottom = this.#y(min, area);
      const from = drawing ? Math.min(top, bottomBefore) : top;
      const to = drawing ? Math.max(bottom, topBefore) : bottom;
      ctx.fillRect(area.right - 1 - (columns.last - k), from - thickness / 2, 1, to - from + thickness);
      drawing = true;
      topBefore = top;
      bottomBefore = bottom;
    }
  }

  // With fewer samples than pixels: a line from each sample to the next, and a
  // dot for each sample, so that a sample without a neighbour is visible.
  #drawPoints(ctx, area, ratio, ring, theme) {
    const data = ring.channels[this.#channel];
    const dot = (area.width >= 8 * ratio * this.#columns.span ? 3 : 1.25) * ratio;
    ctx.beginPath();
    ctx.fillStyle = ctx.strokeStyle = theme.trace;
    let drawing = false;
    for (let i = ring.start; i < ring.end; i++) {
      const v = data[i % ring.capacity];
      if (!Number.isFinite(v)) {
        drawing = false;
        continue;
      }
      const x = this.#x(i, area, ring);
      const y = this.#y(v, area);
      ctx.fillRect(x - dot / 2, y - dot / 2, dot, dot);
      if (drawing) ctx.lineTo(x, y);
      else ctx.moveTo(x, y);
      drawing = true;
    }
    ctx.lineWidth = 1.25 * ratio;
    ctx.lineJoin = "bevel";
    ctx.stroke();
  }

  // x returns the x coordinate of a sample. The newest column or sample is at
  // the right.
  #x(sample, area, ring) {
    const scale = area.width / this.#columns.span;
    const newest = scale > 1 ? (ring.end - 1) * scale : this.#columns.last;
    return area.right - 1 - (newest - sample * scale);
  }

  #y(value, area) {
    const { low, high } = this.#scale;
    return area.bottom - ((value - low) / (high - low)) * (area.bottom - area.top);
  }
}

function line(ctx, colour, x1, y1, x2, y2) {
  ctx.strokeStyle = colour;
  ctx.beginPath();
  ctx.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  ctx.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
  ctx.stroke();
}

// niceStep returns the smallest of 1, 2 and 5 times a power of ten that is not
// below least.
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  for (const factor of [1, 2, 5]) {
    if (factor * power >= least * 0.9999) return factor * power;
  }
  return 10 * power;
}
