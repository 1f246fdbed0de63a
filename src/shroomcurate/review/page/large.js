/* The large view: one photo as large as fits, beside it all that is known about it. It follows the wall's focus. */

import { fillPanel } from "./panel.js";
import { ask } from "./requests.js";
import { count, element, photoWords } from "./words.js";

export class Large {
  constructor(dialog, { store, wall, bar, barPlace, told, say }) {
    Object.assign(this, { dialog, store, wall, bar, barPlace, told, say });
    this.number = -1;
    this.known = null; // the server's last answer about a photo
    this.ahead = []; // pictures that are loaded before they are asked for
    const arrow = (way, text, label) => element("button", {
      type: "button", class: `arrow ${way}`, "aria-label": label, text, onclick: () => this[way](),
    });
    this.picture = element("img", { id: "picture", alt: "", draggable: "false" });
    this.gone = element("p", { class: "gone", hidden: true });
    this.pan = element("div", { class: "pan", tabindex: "-1" }, this.picture, this.gone);
    this.where = element("span", { class: "where" });
    this.panel = element("div", {
      class: "panel", role: "region", tabindex: "0", "aria-label": "About this photo",
    });
    this.heard = element("p", { class: "heard", role: "status" });
    dialog.append(
      element("div", { class: "stage" }, this.pan, arrow("previous", "‹", "Previous photo"), arrow("next", "›", "Next photo"),
        element("div", { class: "corner" }, this.where,
          element("button", { type: "button", id: "actual", "aria-pressed": "false", text: "1:1", "aria-label": "One pixel for one pixel", onclick: () => this.zoom() }),
          element("button", { type: "button", id: "close", text: "✕", "aria-label": "Close the large view", onclick: () => this.close() }))),
      this.panel, this.heard,
    );
    this.picture.addEventListener("click", (event) => this.zoom(event));
    this.picture.addEventListener("error", () => this.missing());
    this.picture.addEventListener("load", () => this.there(true));
    dialog.addEventListener("close", () => this.closed());
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
    wall.addEventListener("focus", () => this.open && this.show(wall.number));
    store.addEventListener("verdicts", ({ detail }) => {
      if (this.open && detail.photos.includes(this.number)) this.about();
    });
    store.addEventListener("connection", () => {
      if (this.open && store.connected && !this.gone.hidden) this.picture.src = store.photo(this.number);
    });
    this.followFinger();
  }

  get open() {
    return this.dialog.open;
  }

  /** Open the large view at a photo. */
  look(number) {
    if (number < 0) return;
    if (!this.open) {
      this.dialog.append(this.bar, this.told); // behind an open dialog nothing can be pressed or seen
      this.dialog.showModal();
      this.pan.focus();
    }
    this.goTo(number);
  }

  close() {
    if (this.dialog.classList.contains("actual")) this.zoom();
    else this.dialog.close();
  }

  closed() {
    this.barPlace.append(this.bar);
    document.body.append(this.told);
    this.dialog.classList.remove("actual");
    this.picture.removeAttribute("src");
    this.number = -1;
    this.known = null;
    this.wall.list.focus({ preventScroll: true });
    if (this.wall.order.length) this.wall.focus(this.wall.index);
  }

  /** Go to a photo: with the wall where it stands there, else beside it. */
  goTo(number) {
    const place = this.wall.order[this.wall.index] === number ? this.wall.index : this.wall.placeOf(number);
    if (place >= 0) this.wall.focus(place);
    else this.show(number);
  }

  next() {
    this.walk(1);
  }

  previous() {
    this.walk(-1);
  }

  walk(way) {
    const { wall } = this;
    const beside = this.number !== wall.number; // a photo that is not on the wall, a duplicate for instance
    const place = wall.index + (beside && way < 0 ? 0 : way);
    if (place < 0 || place >= wall.order.length) this.say(way > 0 ? "This is the last photo." : "This is the first photo.");
    else wall.focus(place);
  }

  show(number) {
    if (number < 0) return;
    const { store, wall } = this;
    if (number !== this.number) {
      this.number = number;
      this.dialog.classList.remove("actual");
      this.dialog.querySelector("#actual").setAttribute("aria-pressed", "false");
      this.pan.style.backgroundImage = `url("${store.thumbnail(number)}")`; // until the photo itself is there
      this.dialog.classList.add("coming");
      this.picture.src = store.photo(number);
      this.panel.scrollTop = 0;
    }
    this.dialog.dataset.number = number;
    const place = wall.number === number ? wall.index : -1;
    this.where.textContent = place < 0 ? "not on the wall" : `${count(place + 1)} of ${count(wall.order.length)}`;
    this.about();
    this.preload();
  }

  there(is) {
    this.dialog.classList.remove("coming");
    this.pan.style.backgroundImage = "";
    this.gone.hidden = is;
    this.picture.hidden = !is;
  }

  /** Say why there is no picture: an image that fails does not tell. */
  async missing() {
    if (!this.open) return; // a browser tells of a picture that failed also when it has just been closed
    const { number, store } = this;
    const { status } = await ask(store.photo(number)).catch((error) => error);
    if (!this.open || number !== this.number) return;
    this.gone.replaceChildren(...(status === 0
      ? ["The server has ended: type ", element("code", { text: store.dataset.command }), " again, and the photo comes."]
      : ["This photo is not there, or cannot be read."]));
    this.there(false);
    if (status === 0) store.setConnected(false);
  }

  /** Fill the panel: at once with what the page knows, then with what the server knows. */
  async about() {
    const { number, store } = this;
    const fill = (detail) => {
      const inside = this.panel.contains(document.activeElement);
      fillPanel(this.panel, store, number, detail, (other) => this.goTo(other));
      if (inside) this.panel.focus();
    };
    this.picture.alt = photoWords(store, number);
    fill(this.known?.number === number ? this.known : null);
    try {
      const detail = await store.detail(number);
      this.known = detail;
      if (this.number === number) fill(detail);
    } catch (error) {
      if (this.number === number) this.panel.append(element("p", { class: "notice", text: `${error.message} ${error.hint ?? ""}` }));
    }
  }

  preload() {
    const { order, index } = this.wall;
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      this.ahead = [1, -1, 2].map((way) => order[index + way]).filter((number) => number !== undefined).map((number) => {
        const image = new Image();
        image.src = this.store.photo(number);
        this.store.detail(number).catch(() => {});
        return image;
      });
    }, 120);
  }

  /** One pixel of the photo for one of the screen, around the point that was clicked; and back. */
  zoom(event) {
    if (!this.open) return false;
    const { pan, picture } = this;
    const actual = this.dialog.classList.toggle("actual");
    this.dialog.querySelector("#actual").setAttribute("aria-pressed", actual);
    if (actual) {
      const [x, y] = this.pointIn(event);
      pan.scrollTo(x * picture.naturalWidth - pan.clientWidth / 2, y * picture.naturalHeight - pan.clientHeight / 2);
    }
    return true;
  }

  /** Return where in the photo was clicked, 0 to 1 across and down; its middle without a click. */
  pointIn(event) {
    if (!event || event.detail === 0) return [0.5, 0.5];
    const { clientWidth: width, clientHeight: height } = this.pan;
    const { naturalWidth, naturalHeight } = this.picture;
    const scale = Math.min(width / naturalWidth, height / naturalHeight);
    const box = this.pan.getBoundingClientRect();
    const within = (place, whole, part) => Math.max(0, Math.min(1, (place - (whole - part) / 2) / part));
    return [
      within(event.clientX - box.left, width, naturalWidth * scale),
      within(event.clientY - box.top, height, naturalHeight * scale),
    ];
  }

  /** Move by a key: within the photo while it is zoomed, else to another. */
  move(key) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (step && this.dialog.classList.contains("actual")) this.pan.scrollBy(step[0] * 80, step[1] * 80);
    else if (step) this.walk(step[0] || step[1]);
    else this.wall.step(key, false);
  }

  /** A finger that wipes sideways goes to the next or the previous photo. */
  followFinger() {
    let from = null;
    this.pan.addEventListener("pointerdown", (event) => {
      from = event.pointerType === "touch" && !this.dialog.classList.contains("actual") ? [event.clientX, event.clientY] : null;
    });
    this.pan.addEventListener("pointerup", (event) => {
      if (!from) return;
      const [x, y] = [event.clientX - from[0], event.clientY - from[1]];
      if (Math.abs(x) > 50 && Math.abs(x) > 2 * Math.abs(y)) this.walk(x < 0 ? 1 : -1);
      from = null;
    });
  }
}
