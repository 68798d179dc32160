// The selected device's telemetry in the page: plots and numbers.

import { MAX_CHANNELS, Stream } from "./stream.js";
import { Plot, tickLabel } from "./plot.js";
import { clock } from "./log.js";
import { setText } from "./devices.js";

// After this long without a frame, the page shows the age of the last frame.
// Milliseconds.
const QUIET = 5000;

const $ = (id) => document.getElementById(id);

export class TelemetryView {
  labels = []; // of the channels, in their order; "" for none

  #stream = new Stream();
  #plots = []; // { plot, figure, title, latest, min, max, range, inView }
  #theme = readTheme();
  #stale = ""; // why the data on the page is outdated, or ""
  #returned = false; // the next frame makes the data live again
  #observer = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const shown = this.#plots.find(({ figure }) => figure === target);
      if (shown) shown.inView = isIntersecting;
    }
  });

  constructor() {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#theme = readTheme();
    });
  }

  // reset clears the data and the counters, for another device.
  reset() {
    this.#stream = new Stream();
    this.#stale = "";
    this.#setPlots(0);
  }

  take(frame, now) {
    if (this.#returned) this.#stale = "";
    return this.#stream.take(frame, now);
  }

  lost(payload) {
    this.#stream.lost(payload);
  }

  // gone marks the data as outdated; why is the text that the page shows.
  gone(why) {
    this.#stale = why;
    this.#returned = false;
  }

  // returned is called when the device is online again. The next frame removes
  // the mark.
  returned() {
    this.#returned = true;
  }

  // draw draws the plots that are in view. The others are drawn when they are
  // scrolled into view.
  draw() {
    const { ring, dt } = this.#stream;
    if (!ring) return;
    if (ring.channels.length !== this.#plots.length) this.#setPlots(ring.channels.length);
    for (const { plot, inView } of this.#plots) {
      if (inView) plot.draw(ring, dt, this.#theme);
    }
  }

  showNumbers(now) {
    const s = this.#stream;
    const rate = s.arrivals.perSecond(now);
    setData("rate", Math.round(rate), s.frames === 0 ? "–" : `${group(Math.round(rate))} /s`);
    setText($("nominal"), s.dt > 0 ? `nominal ${s.dtVaries ? "about " : ""}${group(Number((1e9 / s.dt).toPrecision(s.dtVaries ? 2 : 6)))} /s` : "");
    setData("received", s.received, group(s.received));
    setText($("frames"), `samples in ${group(s.frames)} ${s.frames === 1 ? "frame" : "frames"}`);
    setData("missing", s.missing, group(s.missing));
    setText($("gaps"), `${group(s.gaps)} ${s.gaps === 1 ? "gap" : "gaps"}`);
    $("missing-box").dataset.some = s.missing > 0;
    setData("reported", s.reportedTotal, group(s.reportedTotal));
    setText($("causes"), [...s.reported].map(([cause, n]) => `${cause.replaceAll("_", " ")} ${group(n)}`).join(", ") || "by the gateway");
    $("reported-box").dataset.some = s.reportedTotal > 0;
    setText($("last-sample"), s.lastSample === null ? "–" : clock(new Date(Number(s.lastSample / 1_000_000n))));
    const silence = s.lastArrival === null ? 0 : now - s.lastArrival;
    setText($("last-sample-note"), silence >= QUIET ? `device clock; arrived ${group(Math.round(silence / 1000))} s ago` : "device clock");
    this.#showNotes(s);

    this.#plots.forEach((shown, channel) => {
      shown.range = s.ring && shown.plot.measure(s.ring, s.dt);
      setText(shown.title, this.labels[channel] || `Channel ${channel + 1}`);
      setText(shown.latest, s.ring ? value(s.ring.latest(channel), shown.range) : "–");
      setText(shown.min, value(shown.range?.min, shown.range));
      setText(shown.max, value(shown.range?.max, shown.range));
    });
  }

  #showNotes(s) {
    const notes = [];
    if (s.channels > MAX_CHANNELS) notes.push(`The first ${MAX_CHANNELS} of ${group(s.channels)} channels are shown.`);
    if (s.restarts > 0) notes.push(`The stream started over ${group(s.restarts)} ${s.restarts === 1 ? "time" : "times"}.`);
    if (s.passedOver > 0) notes.push(`${group(s.passedOver)} envelope frames are not shown.`);
    if (s.notDrawn > 0) notes.push(`${group(s.notDrawn)} samples were received but not drawn: the stream changes its shape more than once a second.`);
    $("stream-note").hidden = notes.length === 0;
    setText($("stream-note"), notes.join(" "));
    $("no-telemetry").hidden = s.frames > 0;
    const stale = s.frames > 0 ? this.#stale : "";
    $("stale-note").hidden = stale === "";
    setText($("stale-note"), stale);
    $("telemetry").dataset.stale = String(stale !== "");
  }

  #setPlots(count) {
    this.#plots = Array.from({ length: count }, (_, channel) => newPlot(channel));
    this.#observer.disconnect();
    for (const { figure } of this.#plots) this.#observer.observe(figure);
    $("plots").replaceChildren(...this.#plots.map((shown) => shown.figure));
  }
}

function newPlot(channel) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Channel ${channel + 1} over the last seconds; its figures stand above`);
  const shown = { figure, plot: new Plot(canvas, channel), range: null, inView: false };
  shown.title = append(caption, "span", "title");
  for (const [name, label] of [["latest", "latest"], ["min", "min"], ["max", "max"]]) {
    const pair = append(caption, "span", `reading ${name}`);
    append(pair, "span", "muted").textContent = label;
    shown[name] = append(pair, "span", "value");
  }
  figure.append(caption, canvas);
  return shown;
}

function append(parent, name, className) {
  const element = document.createElement(name);
  element.className = className;
  parent.append(element);
  return element;
}

function setData(id, number, text) {
  $(id).value = String(number);
  setText($(id), text);
}

// group formats a count with narrow spaces between the thousands.
function group(n) {
  return n.toLocaleString("en", { maximumFractionDigits: 6 }).replaceAll(",", "\u202f");
}

// value formats a measured value to about a thousandth of the visible range.
function value(v, range) {
  if (v === undefined || Number.isNaN(v)) return "–";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "\u2212∞";
  const span = range && range.max > range.min ? range.max - range.min : Math.abs(v) || 1;
  return tickLabel(v, 10 ** (Math.floor(Math.log10(span)) - 3));
}

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { font: style.fontFamily, muted: colour("muted"), grid: colour("grid"), trace: colour("trace"), gap: colour("gap") };
}
