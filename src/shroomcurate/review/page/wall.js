/* The wall of thumbnails: only the rows that are seen, and some above and below, are in the page.

   It knows an `order` of photos in `sections`, which photo has the focus (`index`, a place of the order) and which are
   chosen (`chosen`, numbers). A decision is about the chosen photos, or about the one with the focus if none is.
   Events: "focus", "choice", "open" (detail: the photo's number), "section" (detail: the section's number). */

import { Cell } from "./cell.js";
import { Images } from "./images.js";
import * as layout from "./layout.js";
import { count, element, photos } from "./words.js";

const REST = 90; // milliseconds without movement after which the wall is at rest
const AHEAD = 1.5; // screens above and below that are kept ready at rest
const SLOW = 3; // screens a second: so slowly moving, pictures can be looked at and are worth loading

export class Wall extends EventTarget {
  constructor(scroller, store) {
    super();
    this.store = store;
    this.scroller = scroller;
    this.list = element("div", {
      id: "list", role: "listbox", "aria-multiselectable": "true", "aria-label": "Photos", tabindex: "0",
    });
    this.headings = element("div", { class: "headings" });
    // The pane stays where it is while the browser scrolls the canvas behind it, ahead of any script: what is seen may
    // then be a frame old, but it is never empty.
    this.pane = element("div", { class: "pane" }, this.headings, this.list);
    this.canvas = element("div", { class: "canvas" }, this.pane);
    scroller.append(this.canvas);
    this.cells = new Map(); // place in the order -> its cell
    this.spare = [];
    this.titles = new Map(); // section -> its element
    this.images = new Images(() => this.urgent());
    this.size = 1;
    this.seen = [0, 0];
    this.lastTop = 0;
    this.lastTime = 0;
    this.reset([], []);
    scroller.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => this.arrange()).observe(scroller);
    store.addEventListener("verdicts", ({ detail }) => this.refresh(detail.photos));
  }

  reset(order, sections) {
    this.order = order;
    this.sections = sections;
    const { classOf } = this.store;
    this.mixed = sections.map(({ start, count: size }) => { // whether its photos are of several classes
      for (let k = start + 1; k < start + size; k += 1) if (classOf[order[k]] !== classOf[order[start]]) return true;
      return false;
    });
    this.chosen = new Set();
    this.anchor = 0;
    this.index = 0;
    this.places = null;
  }

  /** Show these photos. The focus goes to `focus`, a photo's number, or to the place `index`; `top`: how far down;
   * `chosen`: these stay so. */
  show({ order, sections }, { focus = -1, top = null, chosen = [], index = this.index } = {}) {
    for (const place of [...this.cells.keys()]) this.release(place);
    this.reset(order, sections);
    const found = this.placeOf(focus);
    this.index = found >= 0 ? found : top === null ? 0 : Math.max(0, Math.min(order.length - 1, index));
    this.anchor = this.index;
    this.chosen = new Set([...chosen].filter((number) => this.placeOf(number) >= 0));
    this.arrange(top === null ? "focus" : top);
    this.tell("focus");
    this.tell("choice");
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** The number of the photo with the focus, -1 on an empty wall. */
  get number() {
    return this.order[this.index] ?? -1;
  }

  /** What a decision is about. */
  get targets() {
    if (this.chosen.size) return this.order.filter((number) => this.chosen.has(number));
    return this.order.length ? [this.number] : [];
  }

  placeOf(number) {
    if (number < 0) return -1;
    if (!this.places) {
      this.places = new Int32Array(this.store.count).fill(-1);
      for (let k = this.order.length - 1; k >= 0; k -= 1) this.places[this.order[k]] = k;
    }
    return this.places[number] ?? -1;
  }

  // --- where things stand -------------------------------------------------------------------------------------

  /** Lay the wall out for its present width. `at`: how far down, "focus", or null to keep the photo that is on top. */
  arrange(at = null) {
    const { list } = this;
    const view = this.scroller.clientHeight;
    const width = list.clientWidth;
    if (!width || !view) return;
    const before = this.plan;
    const shown = before && at === null ? this.first : null;
    this.plan = layout.plan(this.sections, width, this.size);
    this.view = view;
    this.canvas.style.height = `${Math.min(this.plan.height, layout.HIGHEST)}px`;
    this.pane.style.height = `${view}px`;
    this.drift = NaN; // every cell has a new place
    list.style.setProperty("--side", `${this.plan.side}px`);
    if (typeof at === "number") this.scrollTo(at);
    else if (at === "focus" && this.order.length) this.reveal(this.index, true);
    else if (shown && shown.index < this.order.length) {
      this.scrollTo(layout.corner(this.plan, shown.index).y - shown.below);
    }
    this.render(); // what is seen first; the rest when the wall rests
  }

  get top() {
    return layout.toWall(this.plan?.height ?? 0, this.view, this.scroller.scrollTop);
  }

  scrollTo(top) {
    this.scroller.scrollTop = layout.toScroll(this.plan.height, this.view, Math.max(0, top));
  }

  /** Scroll as little as needed for a photo to be seen whole, or to the middle. */
  reveal(index, middle = false) {
    const { y } = layout.corner(this.plan, index);
    const end = y + this.plan.row;
    const { top } = this;
    const seen = y >= top + layout.HEADING && end <= top + this.view;
    if (seen) return;
    if (middle) this.scrollTo(index === 0 ? 0 : y - (this.view - this.plan.row) / 2);
    else if (y < top + layout.HEADING) this.scrollTo(y - layout.HEADING);
    else this.scrollTo(end - this.view);
  }

  /** Bring the page's cells to where the scroll bar is. Cheap while the wall moves, wide when it rests. */
  render(rest = false) {
    const wall = this.plan;
    if (!wall) return;
    const { top, view } = this;
    const drift = -Math.round(top); // from a place on the wall to one in the pane
    const near = layout.photosBetween(wall, top - view / 2, top + 1.5 * view);
    const far = layout.photosBetween(wall, top - AHEAD * view, top + (1 + AHEAD) * view);
    const [first, last] = rest ? far : near;
    for (const place of [...this.cells.keys()]) {
      if ((place < far[0] || place >= far[1]) && place !== this.index) this.release(place);
    }
    if (drift !== this.drift) for (const [place, cell] of this.cells) this.put(cell, place, drift);
    for (let place = first; place < last; place += 1) this.fill(place, drift);
    if (this.order.length) this.fill(this.index, drift); // the listbox always has its active option
    else this.list.removeAttribute("aria-activedescendant");
    this.drift = drift;
    this.renderHeadings(top, view, drift);
    this.seen = layout.photosBetween(wall, top, top + view);
    if (this.order.length) {
      const index = Math.min(this.seen[0], this.order.length - 1);
      this.first = { index, below: layout.corner(wall, index).y - top };
    }
    this.schedule(rest);
  }

  schedule(rest) {
    clearTimeout(this.resting);
    const now = performance.now();
    const speed = Math.abs(this.top - this.lastTop) / Math.max(1, now - this.lastTime); // pixels a millisecond
    this.slow = rest || speed * 1000 < SLOW * this.view;
    this.still = rest;
    this.lastTop = this.top;
    this.lastTime = now;
    if (this.slow) this.images.go();
    if (!rest) this.resting = setTimeout(() => this.render(true), REST);
  }

  put(cell, place, drift) {
    const { x, y } = layout.corner(this.plan, place);
    cell.place(x, y + drift);
  }

  fill(place, drift) {
    if (this.cells.has(place)) return;
    const cell = this.spare.pop() ?? new Cell();
    const mixed = this.mixed[layout.sectionOf(this.plan, place)];
    cell.show(this.store, this.order[place], place, this.order.length, mixed);
    cell.mark(this.chosen.has(cell.number), place === this.index);
    this.put(cell, place, drift);
    this.cells.set(place, cell);
    this.list.append(cell.root);
    if (place === this.index) this.list.setAttribute("aria-activedescendant", cell.root.id);
  }

  release(place) {
    const cell = this.cells.get(place);
    this.cells.delete(place);
    this.images.cancel(cell);
    cell.root.remove();
    if (this.spare.length < 300) this.spare.push(cell);
  }

  /** Return the cells that want a picture: those seen, at rest also those near, none while the wall flies by. */
  urgent() {
    if (!this.slow) return [];
    const [first, last] = this.seen;
    const distance = ({ index }) => (index < first ? first - index : index >= last ? index - last + 1 : 0);
    const waiting = [...this.cells.values()].filter((cell) => cell.wanted && (this.still || !distance(cell)));
    return waiting.sort((a, b) => distance(a) - distance(b) || a.index - b.index);
  }

  renderHeadings(top, view, drift) {
    const [first, last] = layout.sectionsBetween(this.plan, top, top + view);
    for (const [number, title] of this.titles) {
      if (title.section === this.sections[number] && number >= first && number < last) continue;
      title.remove();
      this.titles.delete(number);
    }
    for (let number = first; number < last; number += 1) {
      if (!this.titles.has(number)) this.titles.set(number, this.heading(number));
      const title = this.titles.get(number);
      this.putTitle(title, number, top, drift);
    }
  }

  putTitle(title, number, top, drift) {
    const { tops, lefts, spans, columns, row, side } = this.plan;
    const packed = spans[number] < columns;
    const lines = Math.ceil(this.sections[number].count / spans[number]);
    // A heading stays in sight as long as its section does. No title is higher than what is near.
    const bottom = tops[number] + layout.HEADING + lines * row;
    const begin = Math.max(tops[number], Math.min(top, bottom - layout.HEADING));
    const end = Math.min(bottom, top + 3 * this.view);
    title.style.top = `${begin + drift}px`;
    title.style.height = `${end - begin}px`;
    title.style.left = `${lefts[number] * (side + layout.GAP)}px`;
    title.style.width = packed ? `${spans[number] * (side + layout.GAP) - layout.GAP}px` : "100%";
    title.classList.toggle("packed", packed);
  }

  heading(number) {
    const section = this.sections[number];
    const title = element("div", { class: "section" },
      element("div", { class: "heading" },
        element("h2", { text: section.title || "Photos", title: section.detail || null }),
        element("span", { class: "detail", text: section.detail }),
        element("button", {
          type: "button", "data-section": number,
          "aria-label": `select all ${photos(section.count)} of ${section.title || "this view"}`,
          onclick: () => { this.chooseSection(number); this.list.focus({ preventScroll: true }); },
        }, element("span", { text: "select " }), `all ${count(section.count)}`)));
    title.section = section;
    this.headings.append(title);
    return title;
  }

  /** Show anew what is known about these photos. */
  refresh(numbers) {
    const changed = numbers.length > 50 ? new Set(numbers) : null;
    for (const cell of this.cells.values()) {
      if (changed ? changed.has(cell.number) : numbers.includes(cell.number)) cell.refresh(this.store);
    }
  }

  /** The server is there again: ask for the pictures that did not come. */
  pictures() {
    this.images.again(this.cells.values(), (number) => this.store.thumbnail(number));
  }

  // --- focus and choice -----------------------------------------------------------------------------------------

  /** Move the focus to a place of the order; `extend`: choose everything from where the range began. */
  focus(index, { extend = false, keepAnchor = false } = {}) {
    if (!this.order.length) return;
    const before = this.index;
    this.index = Math.max(0, Math.min(this.order.length - 1, index));
    if (extend) this.chooseRange(this.anchor, this.index);
    else if (!keepAnchor) this.anchor = this.index;
    if (this.plan) {
      const cell = this.cells.get(before);
      cell?.mark(this.chosen.has(cell.number), false);
      this.reveal(this.index);
      this.render();
      const now = this.cells.get(this.index);
      now.mark(this.chosen.has(now.number), true);
      this.list.setAttribute("aria-activedescendant", now.root.id);
      const section = layout.sectionOf(this.plan, this.index);
      if (section !== layout.sectionOf(this.plan, before)) this.tell("section", section);
    }
    this.tell("focus");
  }

  /** Move the focus by an arrow or a paging key. */
  step(key, extend) {
    if (!this.order.length || !this.plan) return;
    const rows = Math.max(1, Math.floor((this.view - layout.HEADING) / this.plan.row));
    this.focus(layout.step(this.plan, this.index, key, rows), { extend });
  }

  chooseRange(from, to) {
    this.choose(this.order.slice(Math.min(from, to), Math.max(from, to) + 1));
  }

  /** Choose exactly these photos. */
  choose(numbers) {
    this.chosen = new Set(numbers);
    for (const cell of this.cells.values()) cell.mark(this.chosen.has(cell.number), cell.index === this.index);
    this.tell("choice");
  }

  toggle(index) {
    const number = this.order[index];
    const chosen = new Set(this.chosen);
    if (!chosen.delete(number)) chosen.add(number);
    this.anchor = index;
    this.choose(chosen);
  }

  chooseSection(number) {
    const { start, count: size } = this.sections[number];
    this.choose(this.order.slice(start, start + size));
  }

  /** The section of the photo with the focus, as a number. */
  get section() {
    return layout.sectionOf({ sections: this.sections }, this.index);
  }

  /** Change the size of the photos: 0, 1 or 2. */
  setSize(size) {
    this.size = Math.max(0, Math.min(layout.STEPS - 1, Math.trunc(size) || 0));
    const { y } = this.order.length ? layout.corner(this.plan, this.index) : { y: 0 };
    const seen = this.order.length && y + this.plan.row > this.top && y < this.top + this.view;
    this.arrange(seen ? "focus" : null);
  }
}
