// Drawing one channel: the least and the greatest value of every pixel column,
// so that a peak of a single sample is seen however many samples share it.

// Columns holds the extremes of the newest columns of one channel. A column
// covers the sample numbers [k*per, (k+1)*per): its borders stay where they
// are while the plot moves, so it is computed once and does not shimmer.
export class Columns {
  constructor(width, capacity) {
    this.width = width;
    this.per = Math.max(1, Math.ceil(capacity / width));
    this.min = new Float64Array(width);
    this.max = new Float64Array(width);
    this.last = -1; // the newest column
    this.first = 0; // the oldest column that is still shown
    this.complete = 0; // columns below this one are final
  }

  // update brings the columns up to the ring's newest sample. A column without
  // a finite value has min Infinity and max -Infinity.
  update(ring, channel) {
    if (ring.end === 0) return;
    const data = ring.channels[channel];
    this.last = Math.floor((ring.end - 1) / this.per);
    this.first = Math.max(0, this.last - this.width + 1, Math.floor(ring.start / this.per));
    for (let k = Math.max(this.complete, this.first); k <= this.last; k++) {
      let min = Infinity;
      let max = -Infinity;
      const end = Math.min((k + 1) * this.per, ring.end);
      for (let i = Math.max(k * this.per, ring.start); i < end; i++) {
        const v = data[i % ring.capacity];
        if (v < min && v !== -Infinity) min = v;
        if (v > max && v !== Infinity) max = v;
      }
      this.min[k % this.width] = min;
      this.max[k % this.width] = max;
    }
    this.complete = Math.floor(ring.end / this.per);
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
}

// scaleFor returns the axis for values from min to max: from low to high with
// ticks at the multiples of step. The previous scale stays while it fits, so
// that noise does not make the axis jump.
export function scaleFor(min, max, previous) {
  if (previous && min >= previous.low && max <= previous.high && max - min >= (previous.high - previous.low) / 2) {
    return previous;
  }
  let pad = (max - min) * 0.08;
  // A flat line, or values closer together than numbers can tell apart.
  if (pad <= Math.abs(max) * 1e-12) pad = Math.abs(max) / 100 || 1;
  const low = min - pad;
  const high = max + pad;
  return { low, high, step: niceStep((high - low) / 5) };
}

// tickLabel writes a value with the decimals that the step needs.
export function tickLabel(value, step) {
  const size = Math.max(Math.abs(value), step);
  if (size >= 1e7 || size < 1e-4) return value === 0 ? "0" : value.toExponential(2);
  const decimals = Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const text = value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return text.replaceAll(",", "\u202f").replace(/^-(?=[0.\u202f]*$)/, "").replace("-", "\u2212");
}

export class Plot {
  #canvas;
  #channel;
  #columns = null;
  #ring = null;
  #scale = null;
  #drawn = {}; // what the canvas shows: { end, theme, width, height, dt, range }

  constructor(canvas, channel) {
    this.#canvas = canvas;
    this.#channel = channel;
  }

  // draw paints the ring's window as it is now and returns the extremes shown,
  // or null. dt is in nanoseconds, 0 for an axis in samples. theme holds the
  // colours and the font.
  draw(ring, dt, theme) {
    const canvas = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (width === 0 || height === 0) return null;
    const drawn = this.#drawn;
    if (this.#ring === ring && drawn.end === ring.end && drawn.theme === theme && drawn.width === width && drawn.height === height && drawn.dt === dt) return drawn.range;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const area = { left: Math.round(64 * ratio), top: Math.round(8 * ratio), right: width - Math.round(10 * ratio), bottom: height - Math.round(22 * ratio) };
    const columns = this.#columnsFor(ring, Math.max(16, area.right - area.left));
    columns.update(ring, this.#channel);
    const range = columns.range();
    this.#drawn = { end: ring.end, theme, width, height, dt, range };

    const ctx = canvas.getContext("2d");
    ctx.clearRect(0, 0, width, height);
    ctx.font = `${11 * ratio}px ${theme.font}`;
    ctx.lineWidth = Math.max(1, Math.round(ratio));
    this.#drawTimeAxis(ctx, area, ratio, columns, dt, theme);
    if (!range) return null;
    this.#scale = scaleFor(range.min, range.max, this.#scale);
    // Infinite where the values span more than numbers can hold.
    if (Number.isFinite(this.#scale.high - this.#scale.low)) this.#drawValueAxis(ctx, area, ratio, theme);
    this.#drawGaps(ctx, area, ratio, columns, ring, theme);
    this.#drawTrace(ctx, area, ratio, columns, theme);
    return range;
  }

  #columnsFor(ring, width) {
    if (this.#ring !== ring || this.#columns.width !== width) {
      if (this.#ring !== ring) this.#scale = null;
      this.#columns = new Columns(width, ring.capacity);
      this.#ring = ring;
    }
    return this.#columns;
  }

  #drawTimeAxis(ctx, area, ratio, columns, dt, theme) {
    const unit = dt > 0 ? columns.per * dt * 1e-9 : columns.per; // of one column
    const span = (area.right - area.left) * unit;
    const step = niceStep(span / Math.max(2, (area.right - area.left) / (110 * ratio)));
    ctx.textBaseline = "top";
    for (let n = 0; n * step <= span * 1.0001; n++) {
      const x = area.right - (n * step) / unit;
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

  // Missing samples are shaded, at least two pixels wide: one lost frame of
  // ten seconds is to be seen.
  #drawGaps(ctx, area, ratio, columns, ring, theme) {
    ctx.fillStyle = theme.gap;
    for (const [from, to] of ring.gaps) {
      const left = Math.max(area.left, area.right - 1 - (columns.last - from / columns.per));
      const right = area.right - 1 - (columns.last - to / columns.per);
      if (right <= area.left) continue;
      ctx.fillRect(left, area.top, Math.max(2 * ratio, right - left), area.bottom - area.top);
    }
  }

  #drawTrace(ctx, area, ratio, columns, theme) {
    ctx.beginPath();
    let drawing = false;
    for (let k = columns.first; k <= columns.last; k++) {
      const min = columns.min[k % columns.width];
      const max = columns.max[k % columns.width];
      if (min > max) {
        drawing = false;
        continue;
      }
      const x = area.right - 0.5 - (columns.last - k);
      const top = this.#y(max, area);
      // A flat column still gets a dot's height.
      const bottom = Math.max(this.#y(min, area), top + 0.5);
      if (drawing) ctx.lineTo(x, top);
      else ctx.moveTo(x, top);
      ctx.lineTo(x, bottom);
      drawing = true;
    }
    ctx.strokeStyle = theme.trace;
    ctx.lineWidth = 1.25 * ratio;
    ctx.lineJoin = "bevel";
    ctx.stroke();
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
