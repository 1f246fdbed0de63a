/* The hands on the map: mouse, fingers and keys; the lasso, the circle and the card of the photo below the mouse. */

import { inCircle, inPolygon, nearest } from "./map-points.js";

const NEAR = 12; // CSS pixels around the mouse in which a photo is meant
const STILL = 4; // CSS pixels that a click may move
const RADII = [8, 400]; // of the circle, CSS pixels

/** Return what a further selection does: Shift adds, Alt takes away. */
const how = (event) => (event.shiftKey ? "add" : event.altKey ? "subtract" : undefined);

export class Hands {
  constructor(view) {
    this.view = view;
    this.over = view.parts.over;
    this.context = this.over.getContext("2d");
    this.pointers = new Map();
    this.lasso = null; // CSS pixels, flat
    this.circle = null; // x, y in units of the map: it stays on its photos, whatever becomes of the stage
    this.radius = 48; // CSS pixels
    const on = (name, act, options) => this.over.addEventListener(name, act, options);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.cancel(event));
    on("pointerleave", () => this.hover(-1));
    on("mousedown", (event) => event.button === 1 && event.preventDefault()); // no scrolling by the middle button
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("keydown", (event) => this.key(event));
    on("keyup", (event) => event.key === " " && this.hold(false));
    on("blur", () => this.hold(false));
    // Fingers expect to move a map; the lasso is one tap away.
    this.use(matchMedia("(pointer: coarse)").matches ? "move" : "lasso");
  }

  use(tool) {
    this.tool = tool;
    this.over.dataset.tool = tool;
    for (const button of this.view.parts.hands) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }

  /** Forget what is going on: the map is left or its places are others. */
  leave() {
    this.pointers.clear();
    this.lasso = null;
    this.circle = null;
    this.hover(-1);
    this.draw();
  }

  hold(space) {
    this.space = space;
    this.over.classList.toggle("map-moving", space);
  }

  // -- mouse and fingers ------------------------------------------------------------------------------------

  down(event) {
    if (!this.view.grid || event.button > 1) return;
    this.over.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.hover(-1);
    if (this.pointers.size > 1) {
      this.lasso = null; // a second finger: both move and zoom
      this.gesture = "pinch";
      this.draw();
      return;
    }
    this.from = { x: event.offsetX, y: event.offsetY };
    this.still = true;
    this.gesture = event.button === 1 || this.space || this.tool === "move" ? "pan" : "lasso";
    this.lasso = this.gesture === "lasso" ? [event.offsetX, event.offsetY] : null;
  }

  move(event) {
    const { offsetX: x, offsetY: y } = event;
    const last = this.pointers.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== "touch") this.hover(this.at(x, y), x, y);
      return;
    }
    if (this.still && Math.hypot(x - this.from.x, y - this.from.y) > STILL) this.still = false;
    if (this.gesture === "pinch") this.pinch(event.pointerId, { x, y });
    else if (this.gesture === "pan" && !this.still) this.view.panBy(x - last.x, y - last.y);
    else if (this.lasso && Math.hypot(x - this.lasso.at(-2), y - this.lasso.at(-1)) >= 2) {
      this.lasso.push(x, y);
      this.view.later("lasso", () => this.draw());
    }
    if (this.gesture !== "pan" || !this.still) this.pointers.set(event.pointerId, { x, y });
  }

  pinch(moved, to) {
    const other = [...this.pointers].find(([id]) => id !== moved)?.[1];
    const last = this.pointers.get(moved);
    if (!other) return;
    const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
    const apart = (point) => Math.max(10, Math.hypot(point.x - other.x, point.y - other.y));
    this.view.panBy((to.x - last.x) / 2, (to.y - last.y) / 2);
    this.view.zoomAt(middle.x, middle.y, apart(to) / apart(last));
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId) || this.pointers.size) return;
    const { lasso, gesture } = this;
    this.lasso = null;
    this.gesture = null;
    if (gesture === "pinch" || event.button === 1) return;
    if (this.still) this.click(event);
    else if (lasso?.length >= 6) this.view.select(this.held(lasso), how(event));
    this.draw();
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.lasso = null;
    this.draw();
  }

  click(event) {
    const place = this.at(event.offsetX, event.offsetY, event.pointerType === "touch" ? 2 * NEAR : NEAR);
    if (place >= 0) this.view.open(place);
    else if (!how(event)) this.view.clear();
  }

  wheel(event) {
    event.preventDefault();
    if (!this.view.grid) return;
    const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
    this.hover(-1);
    this.view.zoomAt(event.offsetX, event.offsetY, Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)));
  }

  // -- which photos -----------------------------------------------------------------------------------------

  may() {
    const { reach } = this.view;
    return (place) => reach[place] === 1;
  }

  /** Return the place of the photo at a point of the stage, -1 if there is none. */
  at(x, y, near = NEAR) {
    if (!this.view.grid) return -1;
    const { scale, left, top } = this.view.frame();
    return nearest(this.view.grid, (x - left) / scale, (y - top) / scale, near / scale, this.may());
  }

  /** Return the places within a lasso. */
  held(lasso) {
    const { scale, left, top } = this.view.frame();
    const polygon = lasso.map((pixel, k) => (pixel - (k % 2 ? top : left)) / scale);
    return inPolygon(this.view.grid, polygon, this.may());
  }

  circled() {
    const { x, y } = this.circle;
    return inCircle(this.view.grid, x, y, this.radius / this.view.frame().scale, this.may());
  }

  /** Return where the middle of the circle is seen, CSS pixels of the stage; the stage's own without a circle. */
  middle() {
    const { width, height, scale, left, top } = this.view.frame();
    return this.circle ? { x: this.circle.x * scale + left, y: this.circle.y * scale + top } : { x: width / 2, y: height / 2 };
  }

  /** Put the middle of the circle to a point of the stage. */
  centre({ x, y }) {
    const { scale, left, top } = this.view.frame();
    this.circle = { x: (x - left) / scale, y: (y - top) / scale };
  }

  // -- keys -------------------------------------------------------------------------------------------------

  key(event) {
    if (!this.view.grid || event.ctrlKey || event.metaKey) return;
    const act = this.action(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // the same keys mean something else on the wall
    act();
  }

  action(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { x, y } = this.middle();
    if (steps[event.key]) return () => this.step(steps[event.key], event.shiftKey ? 2 : Math.max(8, this.radius / 2));
    const zoom = (times) => () => {
      this.view.zoomAt(x, y, times);
      this.encircle();
    };
    return {
      "+": () => this.resize(1.25), "=": () => this.resize(1.25), "-": () => this.resize(0.8),
      Enter: () => this.view.select(this.encircle(), how(event)),
      o: () => this.openMiddle(), z: zoom(1.5), x: zoom(1 / 1.5), " ": () => this.hold(true),
      f: () => {
        this.view.fit();
        if (this.circle) this.encircle();
      },
      Escape: this.circle || this.view.selected.length ? () => this.escape() : undefined,
    }[event.key];
  }

  /** Move the circle; at the edge the map moves instead. */
  step([x, y], by) {
    if (!this.circle) return this.encircle();
    const { width, height } = this.view.frame();
    const now = this.middle();
    const to = { x: now.x + x * by, y: now.y + y * by };
    const seen = { x: Math.min(width - 16, Math.max(16, to.x)), y: Math.min(height - 16, Math.max(16, to.y)) };
    if (seen.x !== to.x || seen.y !== to.y) this.view.panBy(seen.x - to.x, seen.y - to.y);
    this.centre(seen);
    return this.encircle();
  }

  resize(times) {
    this.radius = Math.min(RADII[1], Math.max(RADII[0], this.radius * times));
    this.encircle();
  }

  /** Show the circle, say what it holds and return it. */
  encircle() {
    if (!this.circle) this.centre(this.middle());
    const places = this.circled();
    this.view.tellCircle(places);
    this.view.later("circle", () => this.draw());
    return places;
  }

  openMiddle() {
    this.encircle();
    const { x, y } = this.middle();
    const place = this.at(x, y, this.radius);
    if (place >= 0) this.view.open(place);
  }

  escape() {
    this.circle = null;
    this.view.clear();
    this.view.tell();
    this.draw();
  }

  // -- what is drawn above the dots -------------------------------------------------------------------------

  /** Show the card of a place, or none. */
  hover(place, x, y) {
    const { tip, picture, title, words } = this.view.parts;
    this.over.classList.toggle("map-near", place >= 0);
    if (place === this.hovered) return;
    this.hovered = place;
    tip.hidden = place < 0;
    this.view.later("hover", () => this.draw());
    if (place < 0) return;
    const card = this.view.card(place);
    title.textContent = card.title;
    words.textContent = card.words;
    picture.removeAttribute("src"); // not the photo before while this one comes
    picture.src = card.source;
    const { width, height } = this.view.frame();
    tip.style.left = x > width / 2 ? "auto" : `${x + 18}px`;
    tip.style.right = x > width / 2 ? `${width - x + 18}px` : "auto";
    tip.style.top = y > height / 2 ? "auto" : `${y}px`;
    tip.style.bottom = y > height / 2 ? `${height - y}px` : "auto";
  }

  draw() {
    const { over, context, view } = this;
    const { width, height, scale, left, top } = view.frame();
    const fitted = scale / view.eye.zoom; // changes with the stage, as when the legend gets longer, and not by zooming
    if (this.circle) this.radius *= fitted / (this.fitted ?? fitted);
    this.fitted = fitted;
    const ratio = devicePixelRatio;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (over.width !== wide || over.height !== high) [over.width, over.height] = [wide, high];
    const something = this.lasso?.length > 2 || this.circle || this.hovered >= 0;
    if (!something && !this.drawn) return; // an empty canvas that is cleared is still sent to the screen
    this.drawn = something;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const { color, backgroundColor } = getComputedStyle(view.parts.stage);
    const outline = (trace) => {
      for (const [style, line] of [[backgroundColor, 4], [color, 1.5]]) {
        context.beginPath();
        trace();
        [context.strokeStyle, context.lineWidth] = [style, line];
        context.stroke();
      }
    };
    if (this.lasso?.length > 2) {
      const { lasso } = this;
      const trace = () => {
        for (let k = 0; k < lasso.length; k += 2) context.lineTo(lasso[k], lasso[k + 1]);
        context.closePath();
      };
      outline(trace);
      [context.globalAlpha, context.fillStyle] = [0.12, color];
      context.fill("evenodd");
      context.globalAlpha = 1;
    }
    if (this.circle) {
      const middle = this.middle();
      outline(() => context.arc(middle.x, middle.y, this.radius, 0, 2 * Math.PI));
    }
    if (this.hovered >= 0 && view.grid) {
      const [x, y] = [view.x[this.hovered] * scale + left, view.y[this.hovered] * scale + top];
      outline(() => context.arc(x, y, 7, 0, 2 * Math.PI));
    }
  }
}
