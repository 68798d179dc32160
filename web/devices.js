// The devices that the gateway has announced, and the list on the page.

// Limits: the list shows the first MAX_SHOWN devices; of the stored devices,
// those that have been offline longest are removed first.
const MAX_SHOWN = 200;
const MAX_OFFLINE = 500;

export class Devices {
  #byID = new Map(); // { id, presence, stream, node, type, customer, meta, state, reason }
  #onlineCount = 0;

  get(id) {
    return this.#byID.get(id);
  }

  get size() {
    return this.#byID.size;
  }

  get onlineCount() {
    return this.#onlineCount;
  }

  // disconnected marks the state of every device as unknown.
  disconnected() {
    this.#setAll("unknown");
  }

  // welcome stores the list of devices of a new connection.
  welcome(infos) {
    this.#setAll("offline");
    for (const info of infos) this.online(info);
    this.#forget();
  }

  online(info) {
    const id = String(info.device_id);
    const before = this.#byID.get(id);
    if (before?.presence !== "online") this.#onlineCount++;
    this.#byID.set(id, {
      id,
      state: before?.state ?? "",
      presence: "online",
      stream: info.stream,
      node: info.node ?? "",
      type: info.type ?? "",
      customer: info.customer ?? "",
      meta: Object.entries(info.meta ?? {}),
      reason: "",
    });
  }

  offline(notice) {
    const id = String(notice.device_id);
    if (!this.#byID.has(id)) this.online(notice);
    const device = this.#byID.get(id);
    if (device.presence === "online") this.#onlineCount--;
    // Moved to the end, so that the device that has been offline longest is
    // first.
    this.#byID.delete(id);
    this.#byID.set(id, device);
    Object.assign(device, { presence: "offline", state: "", reason: String(notice.reason ?? "") });
    this.#forget();
  }

  setState(id, state) {
    const device = this.#byID.get(id);
    if (device) device.state = String(state).slice(0, 64);
    return Boolean(device);
  }

  // sorted returns the devices that match the filter, those online first.
  sorted(filter) {
    const wanted = filter.trim().toLowerCase();
    const text = (d) => [d.id, d.type, d.customer, d.node, d.presence, d.state, ...d.meta.flat()].join("\n").toLowerCase();
    const found = [...this.#byID.values()].filter((d) => wanted === "" || text(d).includes(wanted));
    return found.sort((a, b) => Number(b.presence === "online") - Number(a.presence === "online") || collator.compare(a.id, b.id));
  }

  #setAll(presence) {
    for (const device of this.#byID.values()) Object.assign(device, { presence, state: "", reason: "" });
    this.#onlineCount = 0;
  }

  #forget() {
    let offline = this.#byID.size - this.#onlineCount;
    for (const [id, device] of this.#byID) {
      if (offline <= MAX_OFFLINE) return;
      if (device.presence === "online") continue;
      this.#byID.delete(id);
      offline--;
    }
  }
}

const collator = new Intl.Collator("en", { numeric: true });

export class DeviceList {
  #list;
  #choose;
  #rows = new Map(); // by id

  // choose is called with the id of the device that was clicked.
  constructor(list, choose) {
    this.#list = list;
    this.#choose = choose;
  }

  // show updates the list and returns how many devices are not shown. Rows stay
  // in place if possible, which keeps the focus.
  show(devices, selected) {
    const shown = devices.slice(0, MAX_SHOWN);
    let at = this.#list.firstElementChild;
    const rows = new Map();
    for (const device of shown) {
      const row = this.#rows.get(device.id) ?? newRow(() => this.#choose(device.id));
      rows.set(device.id, row);
      fillRow(row, device, device.id === selected);
      if (row.item === at) at = at.nextElementSibling;
      else this.#list.insertBefore(row.item, at);
    }
    while (at) {
      const next = at.nextElementSibling;
      at.remove();
      at = next;
    }
    this.#rows = rows;
    return devices.length - shown.length;
  }
}

function newRow(choose) {
  const row = { item: document.createElement("li"), button: document.createElement("button") };
  row.button.type = "button";
  row.button.addEventListener("click", choose);
  row.item.append(row.button);
  for (const name of ["name", "presence", "kind", "state", "meta"]) {
    row[name] = document.createElement("span");
    row[name].className = name;
    row.button.append(row[name]);
  }
  return row;
}

function fillRow(row, device, selected) {
  row.item.dataset.device = device.id;
  row.button.setAttribute("aria-current", String(selected));
  setText(row.name, device.id);
  setText(row.presence, device.presence);
  row.presence.dataset.presence = device.presence;
  setText(row.kind, [device.type, device.node].filter(Boolean).join(" · "));
  setText(row.state, device.state);
  row.state.dataset.state = device.state;
  const meta = device.meta.filter(([key]) => key !== "channels");
  setText(row.meta, meta.map(([key, value]) => `${key} ${value}`).join(" · "));
}

// setText writes a text only if it has changed: each write causes work for
// screen readers and layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
