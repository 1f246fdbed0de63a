/* One photo on the wall: the photo, what clean decided, its noise score, and your verdict. Cells are used again. */

import { element, photoWords, plain } from "./words.js";

let made = 0;

export class Cell {
  constructor() {
    made += 1;
    this.number = -1;
    this.index = -1;
    this.wanted = null; // the address of the thumbnail that is still to be asked for
    this.loaded = null; // the address that the picture has or awaits
    this.picture = element("img", { alt: "", draggable: "false", decoding: "async" });
    this.name = element("span", { class: "name" });
    this.of = element("span", { class: "of" }); // the class, where photos of others stand beside
    this.word = element("b");
    this.reason = element("span", { class: "reason" });
    this.bar = element("i");
    this.frame = element("span", { class: "frame" }, this.name, this.picture, this.of,
      element("span", { class: "tick" }), element("span", { class: "verdict" }, element("i"), this.word));
    this.root = element("div", { role: "option", class: "cell", id: `cell-${made}`, "data-picture": "none" }, this.frame,
      element("span", { class: "caption" }, element("i", { class: "mark" }), this.reason,
        element("span", { class: "score" }, this.bar)));
    this.root.cell = this;
  }

  /** Show the photo at this place of the order; `mixed`: among photos of other classes. */
  show(store, number, index, total, mixed = false) {
    this.number = number;
    this.index = index;
    this.root.dataset.number = number;
    this.root.setAttribute("aria-posinset", index + 1);
    this.root.setAttribute("aria-setsize", total);
    this.name.textContent = plain(store.classes[store.classOf[number]]);
    this.of.textContent = mixed ? this.name.textContent : "";
    this.root.classList.toggle("mixed", mixed);
    this.wanted = store.thumbnail(number);
    this.refresh(store);
  }

  /** Show what is known about the photo now. */
  refresh(store) {
    const { number, root } = this;
    const reason = store.reason[number];
    const score = store.score[number];
    const { code, saved } = store.mark(number);
    root.dataset.state = reason > 0 ? "removed" : reason === 0 ? "kept" : "unjudged";
    root.dataset.verdict = code ? (code === 1 ? "keep" : "remove") : saved === "" ? "" : "none";
    root.dataset.saved = saved;
    this.reason.textContent = reason > 0 ? plain(store.reasons[reason - 1].name) : reason === 0 ? "kept" : "not judged";
    this.word.textContent = saved === "failed" ? "not saved"
      : code > 1 ? plain(store.reasons[code - 2].name) : code ? "keep" : "none";
    this.bar.style.width = `${Math.max(0, score)}%`;
    root.classList.toggle("noisy", score > 50);
    const words = photoWords(store, number);
    root.setAttribute("aria-label", words);
    this.frame.title = words; // for the mouse; what is heard is the label
  }

  place(x, y) {
    this.root.style.transform = `translate(${x}px, ${y}px)`;
  }

  mark(selected, focused) {
    this.root.setAttribute("aria-selected", selected);
    this.root.classList.toggle("focused", focused);
  }
}
