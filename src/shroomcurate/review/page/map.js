/* The map of the dataset: each photo a dot where its embedding lies in two dimensions; a lasso takes a clump.

   `new MapView(root, store, { onSelect(numbers), onOpen(number) })` fills `root`; `await show({ order })` draws, photos
   outside `order` in grey and out of reach (none given: all take part); `filter(order)` changes that; `hide()` ends it.
   `onSelect` gets the photos of every new selection, [] when it is cleared. Nothing is drawn unless something changed. */

import { SCHEMES, inWords, quiet } from "./map-colours.js";
import { Painter, dotOpacity, dotRadius, layered, mixed, packed, shuffled } from "./map-draw.js";
import { Hands } from "./map-hands.js";
import { parts } from "./map-parts.js";
import { combined, gridOf } from "./map-points.js";
import { ask } from "./requests.js";
import { count, photoWords, photos, plain } from "./words.js";

const UNITS = 65536; // places are 0..65535 on both axes
const EDGE = 24; // free space around all points, CSS pixels
const SMOOTH = 20; // milliseconds that a frame may take while the map moves
const DEEPEST = 400; // times the whole map

export class MapView {
  constructor(root, store, { onSelect = () => {}, onOpen = () => {} } = {}) {
    Object.assign(this, { root, store, onSelect, onOpen });
    this.method = "pca";
    this.scheme = "reason";
    this.numbers = new Uint32Array(0); // place -> photo
    this.selected = []; // places
    this.hidden = new Set(); // names of the legend's entries that are off
    this.order = null;
    this.shown = false;
    this.extent = extentOf([], []);
    this.eye = { ...this.extent.middle, zoom: 1 };
    this.stride = 1;
    this.parts = parts(root, this);
    this.painter = new Painter(this.parts.dots);
    this.hands = new Hands(this);
    this.ground = matchMedia("(prefers-color-scheme: dark)");
    this.listening = new AbortController();
    const listen = (what, name, act) => what.addEventListener(name, act, { signal: this.listening.signal });
    listen(this.ground, "change", () => this.colour());
    listen(store, "dataset", () => this.shown && this.show({ order: this.order }));
    listen(store, "verdicts", () => this.scheme === "verdict" && this.later("colouring", () => this.colour()));
    new ResizeObserver(() => this.draw()).observe(this.parts.stage);
  }

  /** Draw the map; asks the server for the places when they are not known or no longer hold. */
  async show({ order = this.order } = {}) {
    this.shown = true;
    const known = this.generation === this.store.generation && this.known === this.method;
    if (known) return this.filter(order);
    this.order = order;
    return this.load(this.method);
  }

  hide() {
    this.shown = false;
    clearTimeout(this.waiting);
    this.hands.leave();
  }

  /** Let only these photos take part; null: all. */
  filter(order) {
    this.order = order;
    this.passes = null;
    if (order) {
      this.passes = new Uint8Array(this.store.count);
      for (const number of order) this.passes[number] = 1;
    }
    this.colour();
  }

  /** Ask for the places by a method, again and again while they are being computed. */
  async load(method) {
    this.method = method;
    this.asked = (this.asked ?? 0) + 1;
    const mine = this.asked; // the answer to an earlier question comes too late
    clearTimeout(this.waiting);
    this.parts.busy(`${method.toUpperCase()} is being computed …`);
    let answer;
    try {
      answer = await ask(`api/map?method=${method}`);
    } catch (error) {
      if (mine === this.asked) this.parts.failed(error, this.known);
      return;
    }
    if (mine !== this.asked) return;
    if (answer.state === "running") {
      this.parts.busy(`${method.toUpperCase()} is being computed; that can take ${method === "umap" ? "minutes" : "a moment"}.${
        this.known ? ` Meanwhile the places are those of ${this.known.toUpperCase()}.` : ""}`);
      this.waiting = setTimeout(() => this.shown && this.load(method), method === "umap" ? 1000 : 300);
      return;
    }
    if (answer.generation !== this.store.generation) {
      await this.store.load(); // its "dataset" event asks again
      return;
    }
    this.take(answer);
  }

  take({ method, generation, numbers, photos: listed = numbers, x, y, note, umap }) {
    const before = this.known;
    const again = this.generation === generation;
    const kept = again ? this.selected.map((place) => this.numbers[place]) : [];
    Object.assign(this, { known: method, generation, numbers: Uint32Array.from(listed) });
    Object.assign(this, { x: Uint16Array.from(x), y: Uint16Array.from(y) });
    this.grid = gridOf(this.x, this.y);
    this.shuffle = shuffled(this.numbers.length);
    const placeOf = new Map(kept.length ? Array.from(this.numbers, (number, place) => [number, place]) : []);
    this.selected = kept.map((number) => placeOf.get(number)).filter((place) => place !== undefined);
    this.extent = extentOf(this.x, this.y);
    if (before !== method) this.eye = { ...this.extent.middle, zoom: 1 };
    this.hands.leave();
    const lacking = this.store.count - this.numbers.length;
    const absent = lacking ? ` ${photos(lacking)} without an embedding ${lacking === 1 ? "is" : "are"} not on it.` : "";
    this.parts.ready(method, note + absent, umap);
    this.filter(this.order);
    this.tell();
  }

  // -- what is seen -----------------------------------------------------------------------------------------

  /** Give every point its colour and layer by the scheme, the filter, the legend and the selection. */
  colour() {
    if (!this.grid) return;
    const { numbers, passes, store } = this;
    const dark = this.ground.matches;
    const style = getComputedStyle(this.parts.stage);
    this.paper = packed(asHex(style.backgroundColor));
    const { entries, keyOf, own } = SCHEMES[this.scheme].of(store, numbers, dark);
    const colours = new Uint32Array(numbers.length);
    const layer = new Uint8Array(numbers.length);
    const palette = entries.map(({ colour }) => (colour ? packed(colour) : 0));
    const off = entries.map(({ name }) => this.hidden.has(`${this.scheme} ${name}`));
    const counts = new Uint32Array(entries.length);
    const grey = mixed(packed(quiet(dark)), this.paper, 0.72);
    this.reach = new Uint8Array(numbers.length);
    for (let place = 0; place < numbers.length; place += 1) {
      const number = numbers[place];
      const key = keyOf(number);
      const named = own?.(number);
      colours[place] = named ? packed(named) : palette[key];
      layer[place] = entries[key].quiet ? 1 : 2;
      if (passes && !passes[number]) [colours[place], layer[place]] = [grey, 0];
      else {
        counts[key] += 1;
        if (off[key]) layer[place] = 255;
        else this.reach[place] = 1;
      }
    }
    this.selected = this.selected.filter((place) => this.reach[place]);
    this.root.classList.toggle("map-chosen", this.selected.length > 0);
    if (this.selected.length) this.spotlight(colours, layer);
    this.painter.take(this.x, this.y, colours, layered(this.shuffle, layer));
    this.entries = entries.map(({ name }) => name);
    this.parts.legend(entries.map((entry, k) => ({ ...entry, count: counts[k], off: off[k] })));
    this.draw();
  }

  /** Let all that is not selected fade. */
  spotlight(colours, layer) {
    for (let place = 0; place < colours.length; place += 1) {
      if (layer[place] !== 255) colours[place] = mixed(colours[place], this.paper, layer[place] ? 0.7 : 0);
    }
    const full = this.fullColours();
    for (const place of this.selected) [colours[place], layer[place]] = [full(place), 3];
  }

  fullColours() {
    const { entries, keyOf, own } = SCHEMES[this.scheme].of(this.store, this.numbers, this.ground.matches);
    return (place) => {
      const number = this.numbers[place];
      return packed(own?.(number) ?? entries[keyOf(number)].colour);
    };
  }

  /** Return the frame: CSS pixels = units · scale + left (top). */
  frame() {
    const { clientWidth: width, clientHeight: height } = this.parts.stage;
    const fitting = (length, units) => Math.max(1, length - 2 * EDGE) / units;
    const scale = Math.min(fitting(width, this.extent.width), fitting(height, this.extent.height)) * this.eye.zoom;
    return { width, height, scale, left: width / 2 - this.eye.x * scale, top: height / 2 - this.eye.y * scale };
  }

  /** Draw in the next frame. While it `moves`: coarser, and finely once it rests. */
  draw(moves = false) {
    this.moves ||= moves;
    if (moves) {
      clearTimeout(this.resting);
      this.resting = setTimeout(() => {
        this.moves = false;
        this.draw();
      }, 160);
    }
    this.later("drawing", () => {
      const frame = this.frame();
      if (!this.grid || !frame.width || !frame.height) return;
      const ratio = this.moves ? 1 : Math.min(2, devicePixelRatio);
      const began = performance.now();
      this.painter.paint({
        width: Math.round(frame.width * ratio), height: Math.round(frame.height * ratio), scale: frame.scale * ratio,
        left: frame.left * ratio, top: frame.top * ratio, paper: this.paper, stride: this.moves ? this.stride : 1,
        radius: dotRadius(this.numbers.length, this.eye.zoom) * ratio,
        opacity: dotOpacity(this.numbers.length, this.eye.zoom),
      });
      if (this.moves) {
        const all = (performance.now() - began) * this.stride;
        this.stride = Math.max(1, Math.min(16, Math.ceil(all / SMOOTH)));
      }
      this.hands.draw();
    });
  }

  /** Do something once before the next frame, however often it is asked for. */
  later(name, act) {
    this.pending ??= new Map();
    if (!this.pending.size) {
      requestAnimationFrame(() => {
        const acts = [...this.pending.values()];
        this.pending.clear();
        for (const one of acts) one();
      });
    }
    this.pending.set(name, act);
  }

  panBy(x, y) {
    const { scale } = this.frame();
    const within = (unit) => Math.min(UNITS, Math.max(0, unit));
    this.eye.x = within(this.eye.x - x / scale);
    this.eye.y = within(this.eye.y - y / scale);
    this.draw(true);
  }

  /** Zoom such that the point under (x, y), CSS pixels of the stage, stays there. */
  zoomAt(x, y, times) {
    const before = this.frame();
    const [unitX, unitY] = [(x - before.left) / before.scale, (y - before.top) / before.scale];
    this.eye.zoom = Math.min(DEEPEST, Math.max(0.5, this.eye.zoom * times));
    const { width, height, scale } = this.frame();
    this.eye.x = unitX - (x - width / 2) / scale;
    this.eye.y = unitY - (y - height / 2) / scale;
    this.draw(true);
  }

  zoomBy(times) {
    const { width, height } = this.frame();
    this.zoomAt(width / 2, height / 2, times);
  }

  fit() {
    this.eye = { ...this.extent.middle, zoom: 1 };
    this.draw();
  }

  // -- what is chosen ---------------------------------------------------------------------------------------

  /** Select places; `how` is "add", "subtract" or nothing. */
  select(places, how) {
    this.selected = combined(this.selected, places, how);
    this.colour();
    this.tell();
    this.onSelect(this.selected.map((place) => this.numbers[place]));
  }

  clear() {
    if (this.selected.length) this.select([]);
  }

  open(place) {
    this.onOpen(this.numbers[place]);
  }

  setScheme(scheme) {
    this.scheme = scheme;
    this.colour();
  }

  /** Switch an entry of the legend on or off. `alone`: it becomes the only one, or if it is so, all come back. */
  toggle(name, alone = false) {
    const key = (entry) => `${this.scheme} ${entry}`;
    const others = this.entries.filter((entry) => entry !== name).map(key);
    const wasAlone = !this.hidden.has(key(name)) && others.every((other) => this.hidden.has(other));
    if (alone) {
      for (const other of [...others, key(name)]) this.hidden.delete(other);
      if (!wasAlone) for (const other of others) this.hidden.add(other);
    } else if (!this.hidden.delete(key(name))) this.hidden.add(key(name));
    const before = this.selected.length;
    this.colour();
    this.tell();
    if (this.selected.length !== before) this.onSelect(this.selected.map((place) => this.numbers[place]));
  }

  /** Say how many photos there are, or what is selected. */
  tell() {
    const numbers = this.selected.map((place) => this.numbers[place]);
    const within = this.reach ? this.reach.reduce((sum, one) => sum + one, 0) : 0;
    const all = within === this.numbers.length ? photos(within) : `${count(within)} of ${photos(this.numbers.length)}`;
    this.parts.say(numbers.length ? `${photos(numbers.length)} selected: ${inWords(this.store, numbers)}` : all);
  }

  /** Say what a circle holds. */
  tellCircle(places) {
    const words = inWords(this.store, places.map((place) => this.numbers[place]));
    this.parts.say(`The circle holds ${photos(places.length)}${words && `: ${words}`}`);
  }

  /** Return what the hover card shows of a place. */
  card(place) {
    const number = this.numbers[place];
    const [, ...facts] = photoWords(this.store, number).split(", ");
    return {
      source: this.store.thumbnail(number), title: plain(this.store.classes[this.store.classOf[number]]),
      words: facts.join(", "),
    };
  }
}

/** Return the part of the map that holds points: its middle, width and height. */
function extentOf(x, y) {
  let [left, right, top, bottom] = x.length ? [UNITS, 0, UNITS, 0] : [0, UNITS, 0, UNITS];
  for (let k = 0; k < x.length; k += 1) {
    left = Math.min(left, x[k]);
    right = Math.max(right, x[k]);
    top = Math.min(top, y[k]);
    bottom = Math.max(bottom, y[k]);
  }
  const middle = { x: (left + right) / 2, y: (top + bottom) / 2 };
  return { middle, width: Math.max(1, right - left), height: Math.max(1, bottom - top) };
}

/** Return a computed colour, 'rgb(1, 2, 3)', as '#010203'. */
function asHex(colour) {
  const found = colour.match(/\d+/g)?.slice(0, 3) ?? ["251", "250", "246"];
  return `#${found.map((part) => Number(part).toString(16).padStart(2, "0")).join("")}`;
}
