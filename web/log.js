// The message log: the last messages as text. Texts of others are written
// through textContent only.

const MAX_ENTRIES = 200;
const MAX_TEXT = 2000;

export class Log {
  #list;
  #waiting = []; // entries that are not on the page yet
  #paused = false;

  constructor(list) {
    this.#list = list;
  }

  // add appends one message: what is its origin, "out", "in", "gateway" or
  // "page".
  add(what, who, type, text) {
    this.#waiting.push({ what, who, type, text, time: new Date() });
    if (this.#waiting.length > MAX_ENTRIES) this.#waiting.shift();
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
  }

  set paused(on) {
    this.#paused = on;
  }

  // flush updates the page. flush is called a few times a second, so a flood of
  // messages costs no more than its last messages.
  flush() {
    if (this.#paused || this.#waiting.length === 0) return;
    const list = this.#list;
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    list.append(...this.#waiting.map(entry));
    this.#waiting = [];
    while (list.childElementCount > MAX_ENTRIES) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function entry({ what, who, type, text, time }) {
  const item = document.createElement("li");
  item.dataset.what = what;
  item.append(part("time", clock(time)), part("who", who), part("type", type), part("text", clip(text)));
  return item;
}

function part(name, text) {
  const element = document.createElement(name === "time" ? "time" : "span");
  element.className = name;
  element.textContent = text;
  return element;
}

export function clip(text) {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)} … (${text.length} characters)` : text;
}

// clock formats the time of day with milliseconds.
export function clock(time) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
