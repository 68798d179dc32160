// The connection to the gateway: reconnects by itself, matches answers to
// requests, and keeps the telemetry subscription to the watched device.

import { SUBPROTOCOL, closeCode, validToken } from "./protocol.js";

// The pause before attempt n is random between 0 and min(MAX, MIN * 2^n) ("full
// jitter"), plus the pause that the gateway requested. Milliseconds.
const MIN_PAUSE = 500;
const MAX_PAUSE = 20_000;
// The upper bound for a visible page: visible pages are few, and an operator
// should not wait long after a restart of the gateway.
const MAX_PAUSE_WATCHED = 1500;
const MAX_ASKED = 5 * 60_000;

const WELCOME_TIMEOUT = 10_000;
// After this long without a message, the page sends a request to check the
// connection: a page cannot see the gateway's pings, and an operator must know
// when Stop no longer works.
const QUIET = 10_000;
const ANSWER_TIMEOUT = 5_000;
// The gateway ends commands after its own timeout of 10 s; this limit is for a
// gateway that does not answer at all.
const COMMAND_TIMEOUT = 15_000;

export function pauseBefore(attempt, asked, random, watched = false) {
  const most = watched ? MAX_PAUSE_WATCHED : MAX_PAUSE;
  return Math.min(Math.max(asked, 0) || 0, MAX_ASKED) + random * Math.min(most, MIN_PAUSE * 2 ** Math.min(attempt, 30));
}

// Link calls the handlers it is given:
//   state({ phase, text, until, denied })
//                                  phase is connecting, online, waiting or stopped;
//                                  until is when the next attempt starts, by
//                                  performance.now(), which does not jump;
//                                  denied: stopped because the gateway requires a token
//   needToken()                    the gateway requires another token
//   text(message)                  a message, including answers to requests
//   telemetry(buffer)              a telemetry frame
//   problem(text)                  a text for the log
export class Link {
  #on;
  #token = "";
  #socket = null;
  #online = false;
  #attempt = 0;
  #asked = 0; // pause that the gateway requested, milliseconds
  #timer = 0;
  #waiting = null; // before the next attempt: { text, earliest }
  #epoch = 0; // changes with every attempt and every end of one
  #heard = 0;
  #askedForLife = 0;
  #watched = null;
  #pending = new Map(); // by id: { resolve, reject, timer }
  #prefix = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  #lastID = 0;

  constructor(handlers) {
    this.#on = handlers;
    setInterval(() => this.#checkLife(), 1000);
    // The page is visible again, or the network is back: shorten the pause.
    document.addEventListener("visibilitychange", () => this.#hurry());
    addEventListener("online", () => this.#hurry());
  }

  // token returns the token in use, "" for none.
  get token() {
    return this.#token;
  }

  // connect makes a new connection at once, with this token or none.
  connect(token) {
    this.#token = token;
    this.#attempt = 0;
    this.#asked = 0;
    this.#drop();
    this.#open();
  }

  // request sends a message with an id and returns a promise of the answer.
  // sent is called with the message that was sent.
  request(type, fields, { timeout = COMMAND_TIMEOUT, sent } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.#online) {
        reject(new Error("There is no connection to the gateway; nothing was sent."));
        return;
      }
      const id = `${this.#prefix}-${++this.#lastID}`;
      // Microseconds since 1970.
      const message = { type, id, ts: Date.now() * 1000, ...fields };
      this.#socket.send(JSON.stringify(message));
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Error("The gateway did not answer; whether it was carried out is not known."));
      }, timeout);
      this.#pending.set(id, { device: fields.dst, resolve, reject, timer });
      sent?.(message);
    });
  }

  // watch subscribes to one device's telemetry in place of the previous device;
  // null means none. The subscription is restored after a reconnect.
  watch(device) {
    if (device === this.#watched) return;
    const before = this.#watched;
    this.#watched = device;
    if (!this.#online) return;
    if (before !== null) this.#ask("gateway.unsubscribe", { devices: [before] });
    if (device !== null) this.#ask("gateway.subscribe", { devices: [device] });
  }

  #open() {
    this.#epoch++;
    this.#waiting = null;
    this.#on.state({ phase: "connecting", text: "Connecting" });
    if (this.#token !== "" && !validToken(this.#token)) {
      this.#deny("The token holds characters that a token cannot have: use letters, digits and . _ ~ -");
      return;
    }
    const url = new URL("ws/frontend?telemetry=none", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, this.#token === "" ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${this.#token}`]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let opened = false;
    this.#timer = setTimeout(() => this.#ended(opened, 1006), WELCOME_TIMEOUT);
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#received(event.data);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#ended(opened, event.code);
    };
  }

  #received(data) {
    this.#heard = performance.now();
    this.#askedForLife = 0;
    if (typeof data !== "string") {
      this.#on.telemetry(data);
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.#on.problem("The gateway sent a message that is not JSON.");
      return;
    }
    if (message.type === "gateway.welcome") this.#welcomed();
    if (message.type === "gateway.closing") this.#asked = Number(message.payload?.retry_after_ms) || 0;
    if (message.type === "gateway.token_expiring") {
      const seconds = Math.round(Number(message.payload?.expires_in_ms) / 1000);
      this.#on.problem(`The access token expires in ${seconds} s; enter another one to go on.`);
    }
    this.#on.text(message);
    const request = this.#pending.get(message.re);
    // An answer comes from the device that was asked, or from the gateway.
    if (!request || (message.src !== undefined && message.src !== request.device)) return;
    this.#pending.delete(message.re);
    clearTimeout(request.timer);
    if (message.type === "gateway.error") request.reject(new Error(`${message.payload?.message} (${message.payload?.code})`));
    else request.resolve(message);
  }

  #welcomed() {
    clearTimeout(this.#timer);
    this.#online = true;
    // A connection counts as a success only if it lasts.
    this.#timer = setTimeout(() => {
      this.#attempt = 0;
    }, MAX_PAUSE);
    this.#on.state({ phase: "online", text: "Connected" });
    if (this.#watched !== null) this.#ask("gateway.subscribe", { devices: [this.#watched] });
  }

  // ended decides what to do after a connection has ended or could not be made.
  async #ended(opened, code) {
    this.#drop();
    const epoch = ++this.#epoch;
    const { name, reconnect } = closeCode(code);
    if (!reconnect) {
      const text = `The gateway closed the connection: ${name.replaceAll("_", " ")} (${code})`;
      if (code === 4001) this.#deny(text);
      else this.#stop(text);
      return;
    }
    let reason = name === "abnormal" ? "The connection was lost" : `The gateway closed the connection: ${name.replaceAll("_", " ")} (${code})`;
    if (!opened) {
      // A browser does not tell the page why a WebSocket was refused; the HTTP
      // API does.
      const refused = await this.#whyRefused();
      if (epoch !== this.#epoch) return; // the operator pressed Connect meanwhile
      if (refused?.status === 401) {
        this.#deny(this.#token === "" ? "The gateway wants a token." : "The gateway does not accept this token.");
        return;
      }
      if (refused?.status === 403) {
        this.#stop("The gateway does not allow this page's origin; add it with --allowed-origins");
        return;
      }
      reason = refused ? "The gateway does not take the connection now" : "The gateway cannot be reached";
      this.#asked = Math.max(this.#asked, refused?.retryAfter ?? 0);
    }
    this.#waiting = { text: reason, earliest: performance.now() + pauseBefore(0, this.#asked, 0) };
    this.#wait(pauseBefore(this.#attempt++, this.#asked, Math.random(), watched()));
    this.#asked = 0;
  }

  #wait(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), pause);
    this.#on.state({ phase: "waiting", text: this.#waiting.text, until: performance.now() + pause });
  }

  // hurry shortens the pause before the next attempt, but not below the pause
  // that the gateway requested.
  #hurry() {
    if (this.#waiting === null || !watched()) return;
    this.#attempt = 0;
    this.#wait(pauseBefore(this.#attempt++, this.#waiting.earliest - performance.now(), Math.random(), true));
  }

  async #whyRefused() {
    try {
      const answer = await fetch("v1/devices", {
        method: "HEAD",
        headers: this.#token === "" ? {} : { Authorization: `Bearer ${this.#token}` },
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_TIMEOUT),
      });
      return { status: answer.status, retryAfter: 1000 * (Number(answer.headers.get("Retry-After")) || 0) };
    } catch {
      return null;
    }
  }

  // drop closes the present connection and fails its pending requests.
  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#waiting = null;
    const socket = this.#socket;
    this.#socket = null;
    this.#online = false;
    this.#askedForLife = 0;
    socket?.close(1000);
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Error("The connection was lost before the answer came; whether it was carried out is not known."));
    }
    this.#pending.clear();
  }

  #stop(text) {
    this.#drop();
    this.#on.state({ phase: "stopped", text });
  }

  // deny stops connecting until the operator enters another token.
  #deny(text) {
    this.#drop();
    this.#on.state({ phase: "stopped", text, denied: true });
    this.#on.needToken();
  }

  #ask(type, payload) {
    this.request(type, { payload }, { timeout: ANSWER_TIMEOUT }).catch((error) => this.#on.problem(`${type}: ${error.message}`));
  }

  // checkLife ends a connection on which a request gets no answer. Timers of a
  // hidden page are slow, so silence alone proves nothing.
  #checkLife() {
    if (!this.#online) return;
    const now = performance.now();
    if (this.#askedForLife > 0) {
      if (now - this.#askedForLife >= ANSWER_TIMEOUT) this.#ended(true, 1006);
    } else if (now - this.#heard >= QUIET) {
      this.#askedForLife = now;
      // Repeats the present subscription, only to get an answer.
      const watched = this.#watched;
      if (watched === null) this.#ask("gateway.unsubscribe", { telemetry: "none" });
      else this.#ask("gateway.subscribe", { devices: [watched] });
    }
  }
}

// watched reports whether the page may be visible.
function watched() {
  return document.visibilityState === "visible";
}
