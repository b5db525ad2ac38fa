// The nodes of a gateway, live.
//
// The gateway sends the list of nodes and then what changes, coalesced, as server-sent events.
// `Nodes` holds them, `List` filters, sorts and draws the rows that are in sight, `Events` the last
// events, `Details` one node with its history. All drawing happens in `frame`, once per animation
// frame at most. Texts of nodes are set as text, never as markup.
"use strict";

const STATES = { working: "Working", failed: "Failed", idle: "Idle", away: "Away", elsewhere: "Elsewhere", closed: "Closed" };
/** States that are shown where a node is in one of them. */
const RARE_STATES = new Set(["elsewhere", "closed"]);
const STATE_ORDER = { failed: 0, working: 1, away: 2, idle: 3, elsewhere: 4, closed: 5 };

/** How long the order of rows stays as it is while nodes change, in ms. */
const REBUILD_PERIOD = 500;
/** The same while the list of nodes is still being read, when the order must be found anew each time. */
const READING_PERIOD = 1500;
/** How often the list of events and what says how long ago something was are drawn, in ms. */
const SLOW_PERIOD = 1000;
/** Rows that are drawn beyond each edge of what is in sight. */
const OVERSCAN = 6;
/** The index of a row that has no place yet; -1 is that of one that is not needed. */
const UNPLACED = -2;
/** Events that are kept and shown. */
const MAX_EVENTS = 60;
/** The gateway says something every 10 s: after this time, in ms, the connection is given up. */
const SILENCE = 35000;

/** Whether one region fills the screen. */
const narrow = matchMedia("(max-width: 760px)");

const $ = (id) => document.getElementById(id);

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Sets a text unless it is that already. */
function say(element, text) {
  if (element.said === text) return;
  element.said = text;
  element.textContent = text;
}

function mark(element, name, value) {
  if (value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

// Words and numbers.

/** The gateway's clock minus ours, in ms. */
let clockOffset = 0;
const gatewayNow = () => Date.now() + clockOffset;

const wholeNumbers = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
// Sweden writes dates as ISO 8601 does.
const dateAndClock = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes} min ${seconds % 60} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** The same in few characters, for a column. */
function short(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function amount(number, unit) {
  if (unit) return `${wholeNumbers.format(number)} ${unit}`;
  for (const [size, name] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (number >= size) return `${(number / size).toFixed(number < 10 * size ? 1 : 0)} ${name}`;
  }
  return `${number} B`;
}

const shortName = (name) => name.slice(name.indexOf(".") + 1).replaceAll("_", " ");
const phaseName = (phase) => phase.replaceAll("_", " ");

// Nodes.

function groupOf(row) {
  if (row.state !== "attached") return row.state;
  const command = row.command;
  if (command?.state === "running") return "working";
  return command?.state === "failed" ? "failed" : "idle";
}

/** How far a command is, 0 to 1; null when nobody knows. */
function fractionOf(command) {
  if (!command || command.state !== "running" || !command.total) return null;
  return Math.min(1, (command.done ?? 0) / command.total);
}

/** Numbers in names sort as numbers. */
const sortKey = (text) => text.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, "0"));

class Nodes {
  constructor() {
    this.clear();
  }

  clear() {
    this.all = new Map();
    this.counts = { working: 0, failed: 0, idle: 0, away: 0, elsewhere: 0, closed: 0 };
    /** Whether nodes came or went, or have other names: their order must be found again. */
    this.orderIsStale = true;
  }

  put(row) {
    let node = this.all.get(row.uuid);
    if (node && row.sequence <= node.row.sequence) return null;
    if (node) {
      this.counts[node.group] -= 1;
      if (node.row.name !== row.name) this.orderIsStale = true;
    } else {
      node = { uuid: row.uuid, version: 0, rank: 0 };
      this.all.set(row.uuid, node);
      this.orderIsStale = true;
    }
    node.row = row;
    node.version += 1;
    node.group = groupOf(row);
    node.key = sortKey(row.name || row.uuid);
    node.title = row.name || row.uuid;
    const command = row.command;
    node.text = `${row.name ?? ""} ${row.uuid} ${command ? `${shortName(command.name)} ${command.name} ${phaseName(command.phase ?? "")}` : ""}`.toLowerCase();
    node.labels = Object.entries(row.labels ?? {}).map(([key, value]) => `${key}=${value}`).sort();
    node.labelText = node.labels.join(" ");
    this.counts[node.group] += 1;
    return node;
  }

  remove(uuid) {
    const node = this.all.get(uuid);
    if (!node) return;
    this.counts[node.group] -= 1;
    this.all.delete(uuid);
    this.orderIsStale = true;
  }

  /** The nodes that rows have changed. */
  putAll(rows) {
    return rows.map((row) => this.put(row)).filter(Boolean);
  }

  /** Gives each node its place in the order of names, so that sorting compares numbers. */
  rank() {
    if (!this.orderIsStale) return;
    const nodes = [...this.all.values()];
    nodes.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.uuid < b.uuid ? -1 : 1));
    nodes.forEach((node, index) => { node.rank = index; });
    this.orderIsStale = false;
  }
}

/** What the search field asks for: words that a node has, and labels. */
function parseFilter(text) {
  const terms = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  return (node) => terms.every((term) => {
    if (!term.includes("=")) return node.text.includes(term) || node.labelText.toLowerCase().includes(term);
    const isWhole = !term.endsWith("=");
    return node.labels.some((label) => (isWhole ? label.toLowerCase() === term : label.toLowerCase().startsWith(term)));
  });
}

const SORTS = {
  name: () => 0,
  state: (node) => STATE_ORDER[node.group],
  doing: (node) => (node.row.command ? node.row.command.name : "\uffff"),
  progress: (node) => -(fractionOf(node.row.command) ?? -1),
  since: (node) => -sinceOf(node.row),
};

/** When the latest thing began that the row shows. */
function sinceOf(row) {
  const command = row.command;
  const times = [row.since ?? 0, command?.ended ?? 0, command?.state === "running" ? command.started ?? 0 : 0];
  return Math.max(...times);
}

// The list.

class List {
  constructor(nodes) {
    this.nodes = nodes;
    this.view = [];
    this.matches = parseFilter("");
    this.states = new Set();
    this.stateButtons = {};
    this.sort = "name";
    this.isDescending = false;
    /** Whether another order or other nodes are wanted: the view is made from all nodes. */
    this.isStale = true;
    /** Nodes that have another place, came into the view or left it: they are moved in it. */
    this.moved = new Set();
    /** Whether nodes have changed, so that the counts differ. */
    this.isTouched = false;
    this.builtAt = -Infinity;
    this.pool = [];
    this.active = null;
    this.tick = 0;
    this.height = 0;
    this.rowHeight = 44;
    this.grid = $("grid");
    this.scroll = $("scroll");
    this.space = $("space");
    this.listen();
  }

  listen() {
    this.scroll.addEventListener("scroll", () => schedule(), { passive: true });
    new ResizeObserver(() => {
      this.height = this.scroll.clientHeight;
      this.rowHeight = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--row"), 10);
      this.pool.forEach((slot) => { slot.index = UNPLACED; });
      schedule();
    }).observe(this.scroll);
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("text").addEventListener("input", (event) => {
      this.matches = parseFilter(event.target.value);
      this.rebuildFromTop();
    });
    $("sort").addEventListener("change", (event) => this.sortBy(event.target.value, false));
    for (const header of document.querySelectorAll("[data-sort]")) {
      header.firstElementChild.addEventListener("click", () => {
        const isSame = header.dataset.sort === this.sort;
        this.sortBy(header.dataset.sort, isSame && !this.isDescending);
      });
    }
    for (const [state, word] of Object.entries(STATES)) this.addState(state, word);
    this.grid.addEventListener("keydown", (event) => this.onKey(event));
    this.space.addEventListener("click", (event) => {
      const slot = this.pool.find((slot) => slot.row.contains(event.target));
      if (!slot?.node) return;
      this.active = slot.node;
      details.open(slot.node.uuid);
      schedule();
    });
    this.sortBy("name", false);
  }

  addState(state, word) {
    const count = make("b");
    const button = make("button", "", word, count);
    button.type = "button";
    button.dataset.state = state;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const isOn = !this.states.delete(state);
      if (isOn) this.states.add(state);
      button.setAttribute("aria-pressed", String(isOn));
      this.rebuildFromTop();
    });
    $("states").append(button);
    this.stateButtons[state] = { button, count };
  }

  sortBy(sort, isDescending) {
    this.sort = sort;
    this.isDescending = isDescending;
    $("sort").value = sort;
    for (const header of document.querySelectorAll("[data-sort]")) {
      const order = isDescending ? "descending" : "ascending";
      mark(header, "aria-sort", header.dataset.sort === sort ? order : null);
    }
    this.rebuildFromTop();
  }

  /** Somebody wants other rows, or another order: they begin at the top. */
  rebuildFromTop() {
    this.scroll.scrollTop = 0;
    this.rebuildNow();
  }

  rebuildNow() {
    this.isStale = true;
    this.builtAt = -Infinity;
    schedule();
  }

  /** Nodes have changed: each may belong elsewhere, or nowhere. Most changes move none. */
  touched(changed) {
    const key = SORTS[this.sort];
    for (const node of changed) {
      const fits = this.fits(node);
      if (fits !== node.fits || (fits && key(node) !== node.order)) this.moved.add(node);
    }
    this.isTouched ||= changed.length > 0;
  }

  fits(node) {
    return (this.states.size === 0 || this.states.has(node.group)) && this.matches(node);
  }

  rebuild(now) {
    const isStale = this.isStale || this.nodes.orderIsStale;
    if (!isStale && !this.isTouched) return;
    const wait = this.builtAt + (connection.isComplete ? REBUILD_PERIOD : READING_PERIOD) - now;
    if (wait > 0) {
      scheduleIn(wait);
      return;
    }
    if (isStale) {
      this.nodes.rank();
      this.view = this.sorted(this.nodes.all.values());
    } else if (this.moved.size > 0) {
      this.view = this.merged();
    }
    if (isStale || this.moved.size > 0) this.view.forEach((node, index) => { node.index = index; });
    this.moved.clear();
    this.isStale = false;
    this.isTouched = false;
    this.builtAt = now;
    if (this.active && this.view[this.active.index] !== this.active) this.active = null;
    this.describe();
  }

  /** Which of two nodes comes first: below 0, `a`. */
  compare(a, b) {
    const order = a.order < b.order ? -1 : a.order > b.order ? 1 : a.rank - b.rank;
    return this.isDescending ? -order : order;
  }

  /** Those of some nodes that fit, in their order. */
  sorted(nodes) {
    const key = SORTS[this.sort];
    const view = [];
    for (const node of nodes) {
      node.fits = this.fits(node);
      if (!node.fits) continue;
      node.order = key(node);
      view.push(node);
    }
    return view.sort((a, b) => this.compare(a, b));
  }

  /** The view with the moved nodes at their places: one pass instead of sorting ten thousand nodes for some hundred. */
  merged() {
    const moved = this.sorted(this.moved);
    const view = [];
    let next = 0;
    for (const node of this.view) {
      if (this.moved.has(node)) continue;
      while (next < moved.length && this.compare(moved[next], node) < 0) view.push(moved[next++]);
      view.push(node);
    }
    while (next < moved.length) view.push(moved[next++]);
    return view;
  }

  /** The counts, and a sentence when there is nothing to see. */
  describe() {
    for (const [state, { button, count }] of Object.entries(this.stateButtons)) {
      say(count, wholeNumbers.format(this.nodes.counts[state]));
      button.hidden = RARE_STATES.has(state) && this.nodes.counts[state] === 0 && !this.states.has(state);
    }
    const all = this.nodes.all.size;
    const isFiltered = this.states.size > 0 || $("text").value.trim() !== "";
    const shown = wholeNumbers.format(this.view.length);
    const total = `${wholeNumbers.format(all)} ${all === 1 ? "node" : "nodes"}`;
    // A status that changed with every node would never let a screen reader rest.
    const text = isFiltered ? `${shown} of ${total}` : total;
    clearTimeout(this.saying);
    if (connection.isComplete) this.saying = setTimeout(() => say($("count"), text), 400);
    const isEmpty = this.view.length === 0 && connection.isComplete;
    $("empty").hidden = !isEmpty;
    this.grid.hidden = isEmpty;
    if (isEmpty) {
      say($("empty"), all === 0 ? "This gateway knows no nodes yet, or none that you may see." : "No node fits the filter.");
    }
    mark(this.grid, "aria-rowcount", this.view.length + 1);
  }

  draw(now) {
    this.rebuild(now);
    const tick = Math.floor(now / SLOW_PERIOD);
    this.tick = tick;
    const total = this.view.length * this.rowHeight;
    if (this.total !== total) {
      this.total = total;
      this.space.style.height = `${total}px`;
    }
    const top = this.scroll.scrollTop;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - OVERSCAN);
    const last = Math.min(this.view.length, Math.ceil((top + this.height) / this.rowHeight) + OVERSCAN);
    while (this.pool.length < last - first) this.addSlot();
    const size = this.pool.length;
    for (let index = first; index < first + size; index += 1) {
      const slot = this.pool[index % size];
      this.bind(slot, index < last ? index : -1);
    }
    const slot = this.active ? this.pool[this.active.index % size] : null;
    mark(this.grid, "aria-activedescendant", slot?.node === this.active && slot ? slot.row.id : null);
  }

  addSlot() {
    const line = (className) => make("span", className ? `line ${className}` : "line");
    const slot = {
      index: UNPLACED, node: null, version: -1, tick: -1,
      name: line(), labels: line(), state: make("div", "state"),
      command: line(), phase: line(), doing: null,
      bar: make("div", "bar", make("i")), figures: make("span", "figures"),
      since: make("div", "since"),
    };
    slot.doing = make("div", "doing", slot.command, slot.phase);
    slot.bar.setAttribute("role", "progressbar");
    slot.bar.setAttribute("aria-valuemin", "0");
    slot.bar.setAttribute("aria-valuemax", "100");
    const cells = [make("div", "name", slot.name, slot.labels), slot.state, slot.doing,
      make("div", "progress", slot.bar, slot.figures), slot.since];
    for (const cell of cells) cell.setAttribute("role", "gridcell");
    slot.row = make("div", "row", ...cells);
    slot.row.setAttribute("role", "row");
    slot.row.id = `row-${this.pool.length}`;
    this.space.append(slot.row);
    this.pool.push(slot);
    // Places follow from the size of the pool.
    for (const other of this.pool) other.index = UNPLACED;
  }

  bind(slot, index) {
    const node = index < 0 ? null : this.view[index];
    if (slot.index !== index) {
      slot.index = index;
      slot.row.hidden = !node;
      if (node) slot.row.style.transform = `translateY(${index * this.rowHeight}px)`;
      if (node) slot.row.setAttribute("aria-rowindex", index + 2);
    }
    if (!node) {
      slot.node = null;
      return;
    }
    if (slot.node !== node || slot.version !== node.version || slot.tick !== this.tick) {
      slot.row.classList.toggle("moved", slot.node !== node);
      slot.node = node;
      slot.version = node.version;
      slot.tick = this.tick;
      this.fill(slot, node);
    }
    mark(slot.row, "aria-selected", String(node === this.active));
  }

  fill(slot, node) {
    const row = node.row;
    const command = row.command;
    say(slot.name, node.title);
    say(slot.labels, node.labelText || (row.name ? row.uuid : ""));
    say(slot.state, STATES[node.group]);
    mark(slot.state, "data-state", node.group);
    say(slot.command, command ? shortName(command.name) : "\u2013");
    say(slot.phase, doingNow(row));
    mark(slot.doing, "data-error", command?.state === "failed" ? "" : null);
    drawBar(slot.bar, slot.figures, command, `Progress of ${node.title}`);
    const since = sinceOf(row);
    say(slot.since, since ? short(gatewayNow() - since) : "");
  }

  onKey(event) {
    if (event.target !== this.grid || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.height / this.rowHeight) - 1);
    const at = this.active ? this.active.index : -1;
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: Infinity };
    if (event.key in moves && this.view.length > 0) {
      const index = Math.min(this.view.length - 1, Math.max(0, moves[event.key]));
      this.active = this.view[index];
      this.reveal(index);
      event.preventDefault();
    } else if (event.key === "Enter" && this.active) {
      details.open(this.active.uuid, true);
      event.preventDefault();
    }
    schedule();
  }

  reveal(index) {
    const top = index * this.rowHeight;
    const bottom = top + this.rowHeight;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (bottom > this.scroll.scrollTop + this.height) this.scroll.scrollTop = bottom - this.height;
  }
}

/** One line about the latest command. */
function doingNow(row) {
  const command = row.command;
  if (!command) return "";
  if (command.state === "running") {
    const lost = row.state === "attached" ? "" : ", connection lost";
    return `${phaseName(command.phase ?? "begun")}${command.subject ? ` ${command.subject}` : ""}${lost}`;
  }
  if (command.state === "failed") return command.error || "failed";
  return { succeeded: "done", cancelled: "cancelled", unknown: "lost when the machine booted again" }[command.state];
}

function drawBar(bar, figures, command, label) {
  const isRunning = command?.state === "running" && Boolean(command.phase);
  bar.hidden = !isRunning;
  if (!isRunning) {
    say(figures, "");
    return;
  }
  const fraction = fractionOf(command);
  bar.classList.toggle("unknown", fraction === null);
  bar.firstElementChild.style.transform = fraction === null ? "" : `scaleX(${fraction.toFixed(3)})`;
  mark(bar, "aria-label", label);
  mark(bar, "aria-valuenow", fraction === null ? null : Math.floor(fraction * 100));
  const parts = [fraction === null ? amount(command.done ?? 0, command.unit) : `${Math.floor(fraction * 100)} %`];
  if (command.rate) parts.push(`${amount(command.rate, command.unit)}/s`);
  if (command.left !== undefined) parts.push(`${short(command.left * 1000)} left`);
  say(figures, parts.join(" \u00b7 "));
}

// Events.

const EVENT_WORDS = {
  added: "is known", changed: "has another name or labels", removed: "is not known any more", attached: "agent attached",
  lost: "connection lost", closed: "was handed over or locked down", elsewhere: "is attached to another gateway", inspected: "inspection report taken", started: "began",
};
const END_WORDS = { succeeded: "succeeded", failed: "failed", cancelled: "was cancelled", unknown: "was lost when the machine booted again" };

function describeEvent(event) {
  if (event.kind === "started") return `${shortName(event.name)} began`;
  if (event.kind === "ended") {
    const text = `${shortName(event.name)} ${END_WORDS[event.state] ?? "ended"}`;
    return event.detail ? `${text}: ${event.detail}` : text;
  }
  if (event.kind === "elsewhere") return `${EVENT_WORDS.elsewhere} ${event.detail}`.trim();
  if (event.kind === "ordered") return `${shortName(event.name || "something")} ordered${event.detail ? ` by ${event.detail}` : ""}`;
  return EVENT_WORDS[event.kind] ?? event.kind;
}

class Events {
  constructor() {
    this.kept = [];
    this.items = [];
    this.isStale = false;
    this.drawnAt = -Infinity;
    this.list = $("event-list");
  }

  /** Events in the order in which they happened. */
  add(events) {
    this.kept.push(...events);
    if (this.kept.length > MAX_EVENTS) this.kept.splice(0, this.kept.length - MAX_EVENTS);
    this.isStale = true;
  }

  clear() {
    this.kept = [];
    this.isStale = true;
  }

  /** Nodes have names now that they had not before. */
  rename() {
    for (const item of this.items) item.event = null;
    this.isStale = true;
    this.drawnAt = -Infinity;
  }

  draw(now) {
    if (!this.isStale) return;
    const wait = this.drawnAt + SLOW_PERIOD - now;
    // Who reads or is about to press must not have the line move away.
    if (wait > 0 || this.list.matches(":hover, :focus-within")) {
      scheduleIn(Math.max(wait, SLOW_PERIOD));
      return;
    }
    this.drawnAt = now;
    this.isStale = false;
    while (this.items.length < this.kept.length) this.addItem();
    this.items.forEach((item, index) => {
      const event = this.kept[this.kept.length - 1 - index];
      item.item.hidden = !event;
      if (!event || item.event === event) return;
      item.event = event;
      const node = nodes.all.get(event.uuid);
      say(item.time, clock.format(event.at));
      mark(item.time, "datetime", new Date(event.at).toISOString());
      say(item.who, node ? node.title : event.uuid);
      say(item.what, describeEvent(event));
      mark(item.button, "data-tone", event.state === "failed" ? "failed" : null);
    });
  }

  addItem() {
    const item = { event: null, time: make("time"), who: make("span", "who"), what: make("span", "what") };
    item.button = make("button", "", item.time, item.who, item.what);
    item.button.type = "button";
    item.button.addEventListener("click", () => details.open(item.event.uuid, true, item.button));
    item.item = make("li", "", item.button);
    this.items.push(item);
    this.list.append(item.item);
  }
}

// One node.

class Details {
  constructor() {
    this.uuid = null;
    this.found = null;
    this.opener = null;
    this.element = $("node");
    this.body = $("node-body");
    $("close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.uuid) this.close();
    });
    addEventListener("hashchange", () => this.openFromAddress());
    narrow.addEventListener("change", () => {
      $("nodes").inert = this.uuid !== null && narrow.matches;
    });
  }

  openFromAddress() {
    const uuid = location.hash.slice(1);
    if (nodes.all.has(uuid) && uuid !== this.uuid) this.open(uuid);
  }

  open(uuid, takesFocus = false, opener = $("grid")) {
    this.uuid = uuid;
    this.found = null;
    this.opener = opener;
    this.version = -1;
    this.element.hidden = false;
    // What is behind it is not to be reached by keyboard.
    $("events").inert = true;
    $("nodes").inert = narrow.matches;
    history.replaceState(null, "", `#${uuid}`);
    this.body.replaceChildren();
    say($("node-title"), nodes.all.get(uuid)?.title ?? uuid);
    if (takesFocus || narrow.matches) $("node-title").focus();
    this.load();
    schedule();
  }

  close() {
    this.uuid = null;
    this.loading?.abort();
    this.element.hidden = true;
    this.body.replaceChildren();
    $("events").inert = false;
    $("nodes").inert = false;
    history.replaceState(null, "", location.pathname);
    this.opener?.focus();
  }

  /** Something has happened to nodes; of this one, what is kept of it is read again. */
  heard(rows) {
    if (!this.uuid || !rows.some((row) => row.uuid === this.uuid)) return;
    const row = nodes.all.get(this.uuid)?.row;
    const key = row ? `${row.state} ${row.command?.name} ${row.command?.state} ${row.command?.started} ${row.command?.phase}` : "";
    if (key === this.key) return;
    this.key = key;
    clearTimeout(this.reload);
    this.reload = setTimeout(() => this.load(), 300);
  }

  async load() {
    const uuid = this.uuid;
    if (!uuid) return;
    this.loading?.abort();
    this.loading = new AbortController();
    try {
      const answer = await fetch(`nodes/${uuid}`, { signal: this.loading.signal, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status === 404 ? "This gateway does not know the node any more." : `The gateway answers ${answer.status}.`);
      this.found = await answer.json();
      this.problem = null;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.problem = error.message;
    }
    if (uuid !== this.uuid) return;
    this.build();
    schedule();
  }

  build() {
    const found = this.found;
    const parts = [];
    /** Texts that say how long something has been going on. */
    this.ongoing = [];
    if (this.problem) parts.push(make("p", "notice", this.problem));
    if (found) parts.push(...this.about(found), ...this.latest(found), ...this.past(found.history));
    const top = this.body.scrollTop;
    this.body.replaceChildren(...parts);
    this.body.scrollTop = top;
    this.version = -1;
  }

  about(found) {
    const uuid = make("p", "uuid", found.uuid);
    const labels = make("div", "labels");
    for (const label of Object.entries(found.labels ?? {}).map(([key, value]) => `${key}=${value}`).sort()) {
      const button = make("button", "label", label);
      button.type = "button";
      button.title = "Show the nodes with this label";
      button.addEventListener("click", () => {
        $("text").value = label;
        $("text").dispatchEvent(new Event("input"));
      });
      labels.append(button);
    }
    this.state = make("dd", "state");
    const facts = make("dl", "facts", make("dt", "", "State"), this.state);
    const fact = (name, value) => { if (value) facts.append(make("dt", "", name), make("dd", "", value)); };
    const at = (time) => (time ? dateAndClock.format(time) : "");
    fact("Attached", at(found.attachment?.since));
    fact("Agent", found.attachment?.version);
    fact("From", found.attachment?.peer);
    fact("Gateway", found.gateway);
    fact("Boot", found.attachment?.boot_id);
    fact("Last seen", at(found.last_seen));
    return [uuid, labels, make("h3", "", "Agent"), facts];
  }

  latest(found) {
    const command = found.command;
    this.bar = make("div", "bar", make("i"));
    this.bar.setAttribute("role", "progressbar");
    this.figures = make("span", "figures");
    this.doing = make("p");
    if (!command) return [];
    const facts = make("dl", "facts", make("dt", "", "Command"), make("dd", "", command.name), make("dt", "", "Id"), make("dd", "uuid", command.id));
    const parts = [make("h3", "", "Latest command"), facts, make("div", "now", this.doing, this.bar, this.figures)];
    const failure = command.failure;
    if (failure) {
      const text = [failure.kind, failure.details || failure.message, failure.stderr].filter(Boolean).join("\n");
      parts.push(make("p", "error", text));
    }
    return parts;
  }

  past(entries) {
    const list = make("ol", "history");
    for (const item of historyItems(entries)) list.prepend(historyElement(item, this.ongoing));
    if (entries.length === 0) list.append(make("li", "quiet", "Nothing has happened since this gateway started."));
    return [make("h3", "", "History"), list];
  }

  draw() {
    const node = this.uuid && nodes.all.get(this.uuid);
    if (!node || !this.found) return;
    for (const { element, from } of this.ongoing) say(element, duration(gatewayNow() - from));
    if (node.version === this.version) return;
    this.version = node.version;
    say($("node-title"), node.title);
    say(this.state, STATES[node.group]);
    mark(this.state, "data-state", node.group);
    say(this.doing, node.row.command ? doingNow({ ...node.row, command: { ...node.row.command, error: "failed" } }) : "");
    drawBar(this.bar, this.figures, node.row.command, "Progress");
  }
}

/** Commands with their phases, and what else happened, oldest first. */
function historyItems(entries) {
  const items = [];
  let command = null;
  for (const entry of entries) {
    if (entry.kind === "phase" && command) {
      command.phases.push(entry);
    } else if (entry.kind === "started") {
      command = { entry, phases: [], end: null };
      items.push(command);
    } else if (entry.kind === "ended" && command && !command.end) {
      command.end = entry;
    } else if (entry.kind !== "phase") {
      items.push({ entry, phases: [], end: null });
    }
  }
  return items;
}

function historyElement({ entry, phases, end }, ongoing) {
  if (entry.kind !== "started") {
    const text = describeEvent(entry);
    const detail = entry.kind === "attached" && entry.detail ? ` (agent ${entry.detail})` : "";
    return make("li", "", make("div", "entry", make("span", "text", `${text}${detail}`), whenElement(entry.at)));
  }
  const until = end ? end.at : gatewayNow();
  const took = make("span", "took", duration(until - entry.at));
  if (!end) ongoing.push({ element: took, from: entry.at });
  const head = make("div", "entry", make("b", "", shortName(entry.name)), took);
  const outcome = make("span", "outcome", end ? END_WORDS[end.state] ?? "ended" : "runs");
  outcome.dataset.state = { failed: "failed", succeeded: "idle" }[end?.state] ?? (end ? "away" : "working");
  const item = make("li", "", head, make("div", "entry", outcome, whenElement(entry.at)));
  if (phases.length > 0) item.append(...phaseElements(phases, until, end ? [] : ongoing));
  if (end?.detail) item.append(make("p", "error", end.detail));
  return item;
}

function phaseElements(phases, until, ongoing) {
  const span = make("div", "span");
  span.setAttribute("aria-hidden", "true");
  const list = make("ol", "phases");
  phases.forEach((phase, index) => {
    const took = Math.max(0, (phases[index + 1]?.at ?? until) - phase.at);
    const part = make("i");
    part.style.flexGrow = String(Math.max(1, took));
    span.append(part);
    const lasted = make("span", "", duration(took));
    if (index === phases.length - 1) ongoing.push({ element: lasted, from: phase.at });
    list.append(make("li", "", make("span", "", `${phaseName(phase.name)} ${phase.detail ?? ""}`.trim()),
      make("span", "", clock.format(phase.at)), lasted));
  });
  return [span, list];
}

function whenElement(at) {
  const isToday = new Date(at).toDateString() === new Date().toDateString();
  const element = make("time", "when", isToday ? clock.format(at) : dateAndClock.format(at));
  element.dateTime = new Date(at).toISOString();
  return element;
}

// The connection.

class Connection {
  constructor() {
    this.isComplete = false;
    this.failures = 0;
    this.heardAt = 0;
    setInterval(() => this.watch(), 5000);
  }

  open() {
    this.source?.close();
    this.heardAt = performance.now();
    const source = new EventSource("events");
    this.source = source;
    source.addEventListener("hello", (event) => this.hello(JSON.parse(event.data)));
    source.addEventListener("nodes", (event) => this.list(JSON.parse(event.data)));
    source.addEventListener("changes", (event) => this.changes(JSON.parse(event.data)));
    source.addEventListener("beat", (event) => this.heard(JSON.parse(event.data).now));
    source.addEventListener("error", () => this.broken());
  }

  heard(now) {
    this.heardAt = performance.now();
    this.failures = 0;
    clockOffset = now - Date.now();
    this.show(this.isComplete ? "live" : "wait", this.isComplete ? "Live" : "Reading the nodes");
  }

  hello({ now, version, events: last }) {
    say($("version"), version);
    // Where a list follows, what was known before does not count.
    if (last) {
      events.clear();
      events.add(last);
    }
    this.heard(now);
    schedule();
  }

  list({ first, last, rows }) {
    if (first) {
      nodes.clear();
      this.isComplete = false;
    }
    list.touched(nodes.putAll(rows));
    this.heardAt = performance.now();
    if (last) {
      this.isComplete = true;
      this.show("live", "Live");
      list.rebuildNow();
      events.rename();
      details.openFromAddress();
      details.load();
    }
    schedule();
  }

  changes({ now, rows, removed, events: happened }) {
    for (const uuid of removed ?? []) nodes.remove(uuid);
    list.touched(nodes.putAll(rows));
    if (happened) events.add(happened);
    details.heard(rows);
    this.heard(now);
    schedule();
  }

  /** The browser tries again by itself unless the gateway has refused. */
  broken() {
    if (this.source.readyState !== EventSource.CLOSED) {
      this.show("lost", "Connecting again");
      return;
    }
    this.failures += 1;
    const wait = Math.min(30000, 2000 * 2 ** Math.min(this.failures, 4)) * (0.7 + 0.6 * Math.random());
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), wait);
    this.explain();
  }

  /** Why the gateway refuses. */
  async explain() {
    this.show("lost", "Connecting again");
    try {
      const { status } = await fetch("events", { method: "HEAD", cache: "no-store" });
      if (status === 503) this.show("lost", "Too many people look: trying again");
      if (status === 403) this.show("lost", "Your certificate may not see nodes");
    } catch {
      // It cannot be reached, which the text says.
    }
  }

  watch() {
    const isRefused = !this.source || this.source.readyState === EventSource.CLOSED;
    if (isRefused || performance.now() - this.heardAt < SILENCE) return;
    this.show("lost", "Connecting again");
    this.open();
  }

  show(state, text) {
    mark($("link"), "data-link", state);
    say($("link"), text);
  }
}

// Drawing.

let isScheduled = false;

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(frame);
}

let laterAt = Infinity;
let later;

function scheduleIn(ms) {
  const at = performance.now() + ms;
  if (at >= laterAt) return;
  clearTimeout(later);
  laterAt = at;
  later = setTimeout(() => {
    laterAt = Infinity;
    schedule();
  }, ms);
}

function frame() {
  isScheduled = false;
  const now = performance.now();
  list.draw(now);
  events.draw(now);
  details.draw();
}

for (const button of document.querySelectorAll("[data-view]:is(button)")) {
  button.addEventListener("click", () => {
    document.querySelector("main").dataset.view = button.dataset.view;
    for (const other of document.querySelectorAll("#views button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    schedule();
  });
}

const nodes = new Nodes();
const events = new Events();
const connection = new Connection();
const details = new Details();
const list = new List(nodes);
setInterval(schedule, SLOW_PERIOD);
connection.open();
