// The operator's page: shows the gateway's messages and sends the operator's
// commands. The page draws at most thirty times a second and updates the
// numbers four times a second, whatever the rate of the telemetry.

import { parseFrame } from "./protocol.js";
import { Link } from "./link.js";
import { Log, clip, clock } from "./log.js";
import { DeviceList, Devices, setText } from "./devices.js";
import { TelemetryView } from "./telemetry.js";
import { Pacer } from "./pacer.js";

const TOKEN_KEY = "labgate.token";
const NUMBERS_EVERY = 250; // ms
const BAD_FRAME_NOTES_EVERY = 5000; // ms
const ANSWER_FRESH = 30_000; // ms

const $ = (id) => document.getElementById(id);

const devices = new Devices();
const log = new Log($("log"));
const list = new DeviceList($("device-list"), (id) => select(id));
const view = new TelemetryView();
const link = new Link({ state: showLink, needToken, text: receivedText, telemetry: receivedTelemetry, problem });

let selected = null; // device id
let devicesChanged = true;
let online = false; // there is a connection to the gateway
let denied = false; // the gateway refused the token, or requires one
let reconnectAt = 0; // by performance.now(); 0 for never
let live = false; // the selected device was online at the last check
let answeredAt = 0; // by performance.now()
let deviceAnswered = false; // the answer on the page is the device's, not the gateway's
let lastTrouble = "";
let troubleSince = ""; // time of day
let badFrames = 0;
let badFramesNoted = -Infinity;
const running = new Set(); // command types that wait for an answer

// --- Messages from the gateway ---

function receivedText(message) {
  const { type, payload } = message;
  log.add(message.src ? "in" : "gateway", message.src ?? "gateway", String(type), body(message));
  switch (type) {
    case "gateway.welcome":
      setText($("node"), `Node ${payload.node}`);
      devices.welcome(payload.devices ?? []);
      devicesChanged = true;
      break;
    case "gateway.device_online":
      devices.online(payload);
      devicesChanged = true;
      break;
    case "gateway.device_offline":
      devices.offline(payload);
      devicesChanged = true;
      break;
    case "gateway.lost":
      if (payload.stream === devices.get(selected)?.stream) view.lost(payload);
      break;
    case "test.state":
    case "test.state_changed":
      if (typeof payload?.state === "string") devicesChanged = devices.setState(message.src, payload.state) || devicesChanged;
      break;
  }
  if (devicesChanged && selected === null) chooseFirst();
}

function receivedTelemetry(buffer) {
  let frame;
  try {
    frame = parseFrame(buffer);
  } catch (error) {
    badFrames++;
    const now = performance.now();
    if (now - badFramesNoted >= BAD_FRAME_NOTES_EVERY) {
      badFramesNoted = now;
      problem(`Telemetry frame ${badFrames} that cannot be read: ${error.message}`);
    }
    return;
  }
  // After a change of the selection, frames of the previous device still arrive
  // for a moment.
  if (frame.stream !== devices.get(selected)?.stream) return;
  const gap = view.take(frame, performance.now());
  if (gap) log.add("page", selected, "gap", `samples ${gap.from} to ${gap.to - 1n} did not arrive`);
}

function problem(text) {
  log.add("page", "page", "note", text);
}

// body returns the log's text of a message after its type.
function body({ id, re, urgent, payload }) {
  const parts = [id && `id ${id}`, re && `re ${re}`, urgent && "urgent", payload !== undefined && JSON.stringify(payload)];
  return parts.filter(Boolean).join(" ");
}

// --- Devices ---

function chooseFirst() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("device");
  const first = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/.test(wanted ?? "") ? wanted : devices.sorted("").find((d) => d.presence === "online")?.id;
  if (first) select(first);
}

function select(id) {
  if (id === selected) return;
  selected = id;
  const hash = new URLSearchParams({ device: id });
  history.replaceState(null, "", `#${hash}`);
  view.reset();
  live = false;
  showAnswer("", "");
  link.watch(id);
  devicesChanged = true;
}

function showDevices() {
  const leftOut = list.show(devices.sorted($("filter").value), selected);
  setText($("device-count"), online && devices.size > 0 ? `${devices.onlineCount} online` : "");
  $("filter").hidden = devices.size < 8 && $("filter").value === "";
  const note = deviceNote(leftOut);
  $("device-note").hidden = note === "";
  setText($("device-note"), note);

  $("panel").hidden = selected === null;
  $("no-panel").hidden = selected !== null;
  if (selected === null) return;
  const device = devices.get(selected) ?? { presence: online ? "offline" : "unknown", state: "", meta: [], reason: "" };
  setText($("panel-title"), selected);
  setText($("panel-status"), device.presence + (device.reason && ` (${device.reason.replaceAll("_", " ")})`));
  $("panel-status").dataset.presence = device.presence;
  setText($("panel-state"), device.state || "unknown");
  $("panel-state").dataset.state = device.state;
  showFacts(device);
  view.labels = channelLabels(device);
  showLiveness(device);
}

// deviceNote says why the list is empty, or shorter than it could be.
function deviceNote(leftOut) {
  if (leftOut > 0) return `${leftOut} more; use the filter to find them.`;
  if (devices.size > 0) return $("device-list").childElementCount > 0 ? "" : `No device matches “${clip($("filter").value.trim())}”.`;
  if (denied) return "Without a token that the gateway accepts this page may not see devices.";
  if (!online) return "Without a connection to the gateway this page does not know which devices there are.";
  return link.token === "" ? "No device has connected yet." : "No device is connected that this token may see.";
}

// showLiveness marks the data of an offline device as outdated.
function showLiveness({ presence }) {
  const now = presence === "online";
  if (now === live) return;
  live = now;
  const at = timeOfDay();
  const why = online ? "the device went offline" : "the connection to the gateway was lost";
  if (live) view.returned();
  else view.gone(`Not live: ${why} at ${at}. What is shown here came before.`);
  if (!live && deviceAnswered) ageAnswer(`; ${why} at ${at}`);
}

// channelLabels returns the names of a device's channels from meta.channels,
// separated by commas: "Force N,Extension mm". Telemetry itself has no names.
function channelLabels(device) {
  const labels = device.meta.find(([key]) => key === "channels")?.[1] ?? "";
  return labels.split(",").map((label) => label.trim());
}

function showFacts(device) {
  const meta = device.meta.filter(([key]) => key !== "channels");
  const facts = [["Type", device.type], ["Customer", device.customer], ["Node", device.node], ...meta].filter(([, value]) => value);
  const text = JSON.stringify(facts);
  if ($("panel-facts").dataset.shown === text) return;
  $("panel-facts").dataset.shown = text;
  $("panel-facts").replaceChildren(
    ...facts.map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(document.createElement("dt"), document.createElement("dd"));
      pair.firstChild.textContent = name;
      pair.lastChild.textContent = value;
      return pair;
    }),
  );
}

// --- Commands ---

async function command(type, fields) {
  const device = selected;
  if (device === null) return;
  // A second Start before the first answer is a mistake; a second Stop is not.
  if (running.has(type) && !fields.urgent) return;
  running.add(type);
  showAnswer("waiting", `${type}: waiting for the answer`);
  let outcome;
  try {
    const sent = (message) => log.add("out", `to ${device}`, type, body(message));
    outcome = answerText(await link.request(type, { dst: device, ...fields }, { sent }));
  } catch (error) {
    outcome = { kind: "error", text: error.message };
  }
  running.delete(type);
  if (device !== selected) return;
  showAnswer(outcome.kind, `${type}: ${outcome.text}`);
  deviceAnswered = outcome.device === true;
}

// answerText returns the text of a device's answer: by convention the payload
// is { ok, error }, but any payload is possible.
function answerText({ payload }) {
  if (payload?.ok === false) return { device: true, kind: "error", text: clip(String(payload.error ?? "refused, without a reason")) };
  const { ok, ...rest } = payload !== null && typeof payload === "object" && !Array.isArray(payload) ? payload : { value: payload };
  const details = Object.entries(rest).filter(([, value]) => value !== undefined);
  const text = details.map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
  return { device: true, kind: "ok", text: clip([ok === true ? "ok" : "", text].filter(Boolean).join(", ") || "answered") };
}

function showAnswer(kind, text) {
  answeredAt = performance.now();
  deviceAnswered = false;
  Object.assign($("answer").dataset, { kind, old: "false" });
  setText($("answer-time"), kind === "" ? "" : timeOfDay());
  setText($("answer-text"), text);
  setText($("answer-note"), "");
}

// ageAnswer marks an answer as old. The time of the answer stays on the page.
function ageAnswer(note) {
  $("answer").dataset.old = "true";
  if (note) setText($("answer-note"), note);
}

$("start").addEventListener("click", () => {
  if (!$("speed").reportValidity()) return;
  command("test.start", { payload: { speed_mm_min: $("speed").valueAsNumber } });
});
$("stop").addEventListener("click", () => command("test.stop", { urgent: true }));
$("reset").addEventListener("click", () => command("test.reset", {}));
$("speed").addEventListener("keydown", (event) => {
  if (event.key === "Enter") $("start").click();
});

// timeOfDay returns the present time of day in seconds.
function timeOfDay() {
  return clock(new Date()).slice(0, 8);
}

// --- Connection and token ---

function showLink({ phase, text, until, denied: forWantOfToken = false }) {
  const trouble = phase === "waiting" || phase === "stopped";
  if (phase === "online") troubleSince = "";
  else if (trouble) troubleSince ||= timeOfDay();
  $("link").dataset.phase = phase;
  setText($("link-text"), trouble && !forWantOfToken ? `${text} (since ${troubleSince})` : text);
  reconnectAt = until ?? 0;
  denied = forWantOfToken;
  showCountdown();
  devicesChanged = true;
  $("connect").hidden = !trouble;
  if (online && phase !== "online") devices.disconnected();
  online = phase === "online";
  // An unreachable gateway is one entry in the log, not one for each attempt.
  if (online) lastTrouble = "";
  if (trouble && text !== lastTrouble) problem((lastTrouble = text));
}

function showCountdown() {
  const seconds = Math.ceil((reconnectAt - performance.now()) / 1000);
  setText($("link-countdown"), reconnectAt > 0 && seconds > 0 ? `; next attempt in ${seconds} s` : "");
}

function needToken() {
  $("access").open = true;
  $("token").focus();
}

function storedToken() {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? "";
  } catch {
    return ""; // storage is switched off: the token lasts as long as the page
  }
}

function connect() {
  link.connect($("token").value.trim());
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    sessionStorage.setItem(TOKEN_KEY, $("token").value.trim());
  } catch {
    // Storage is switched off: the token lasts as long as the page.
  }
  $("access").open = false;
  connect();
});
$("connect").addEventListener("click", connect);
$("filter").addEventListener("input", () => {
  devicesChanged = true;
});
$("log-clear").addEventListener("click", () => log.clear());
$("log-pause").addEventListener("click", (event) => {
  const on = event.target.getAttribute("aria-pressed") !== "true";
  event.target.setAttribute("aria-pressed", String(on));
  log.paused = on;
});

// --- The clock of the page ---

let numbersShown = -Infinity;

const pacer = new Pacer();

function frame() {
  requestAnimationFrame(frame);
  const now = performance.now();
  if (!pacer.drawNow(now)) return;
  if (selected !== null) view.draw();
  if (devicesChanged) {
    devicesChanged = false;
    showDevices();
  }
  if (now - numbersShown < NUMBERS_EVERY) return;
  numbersShown = now;
  view.showNumbers(now);
  showCountdown();
  if (now - answeredAt >= ANSWER_FRESH && $("answer").dataset.kind !== "waiting") ageAnswer();
  log.flush();
}

$("token").value = storedToken();
requestAnimationFrame(frame);
connect();
