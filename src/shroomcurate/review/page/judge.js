/* What a person does: verdicts, undo, moving to what is open. Keys, buttons and the large view all come here. */

import { count, element, photos, plain, verdictWords } from "./words.js";

const MANY = 1000; // verdicts on more photos than this are asked about first

export class Judge {
  constructor(store, wall, say, dialog) {
    Object.assign(this, { store, wall, say, dialog });
    this.large = null; // the large view; while it is open, a decision is about its photo alone
    this.touched = 0; // how often a hand has done something
    const touch = (event) => { this.touched += event.repeat ? 0 : 1; };
    for (const name of ["keydown", "pointerdown", "click", "wheel"]) {
      document.addEventListener(name, touch, { capture: true, passive: true });
    }
  }

  targets() {
    return this.large.open ? [this.large.number].filter((number) => number >= 0) : this.wall.targets;
  }

  /** Give a verdict on the chosen photos, or on the one with the focus, and then go on to the next. */
  async decide(verdict, reason = null) {
    const { store, wall } = this;
    const targets = this.targets();
    if (!targets.length) return this.say("There is no photo to judge.");
    const one = this.large.open || !wall.chosen.size;
    const words = { keep: "keep", remove: reason ? `remove as ${plain(reason)}` : "remove", none: "no verdict" }[verdict];
    if (targets.length > MANY && !await this.sure(`${words}: ${photos(targets.length)}?`)) return null;
    const saved = store.decide(targets, verdict, reason); // on its way before anything else happens
    if (one) this.advance();
    else wall.choose([]);
    return saved.then(
      ({ verdict: codes }) => this.say(`${this.named(targets)}: ${this.summary(codes)}. Saved.`),
      (error) => this.say(`Not saved: ${error.message}`),
    );
  }

  named(numbers) {
    if (numbers.length > 1) return photos(numbers.length);
    return plain(this.store.classes[this.store.classOf[numbers[0]]]);
  }

  summary(codes) {
    const words = [...new Set(codes)].map((code) => (code ? verdictWords(this.store.reasons, code) : "no verdict"));
    return words.length > 3 ? "remove, each with its reason" : words.join(", ");
  }

  advance() {
    if (this.large.open) this.large.next();
    else if (this.wall.index < this.wall.order.length - 1) this.wall.focus(this.wall.index + 1);
  }

  /** Take back the last step of this tab and go where it was, unless the answer comes after the next key: a photo that
   * somebody looks at does not give way to another. */
  async undo() {
    const { touched } = this;
    try {
      const answer = await this.store.undo();
      const skipped = answer.skipped ? ` ${photos(answer.skipped)} stay: somebody has judged them anew.` : "";
      this.say(`Taken back: ${photos(answer.photos.length)}.${skipped}`);
      if (touched !== this.touched) return;
      const place = this.wall.placeOf(answer.photos[0] ?? -1);
      if (this.large.open && answer.photos.length) this.large.goTo(answer.photos[0]);
      else if (place >= 0) this.wall.focus(place);
    } catch (error) {
      this.say(error.status ? `${error.message} ${error.hint}` : error.message);
    }
  }

  /** Go to the next photo without a verdict. */
  open() {
    const { order, index } = this.wall;
    for (let place = index + 1; place < order.length; place += 1) {
      if (!this.store.mark(order[place]).code) return this.wall.focus(place);
    }
    return this.say("All photos from here to the end have your verdict.");
  }

  /** Choose the cluster of the photo with the focus; its section where that is one, or where it is in no cluster. */
  chooseCluster() {
    const { wall, store } = this;
    if (!wall.order.length) return;
    const section = wall.sections[wall.section];
    const cluster = store.cluster[wall.number];
    if (section.decide || cluster < 0) {
      wall.chooseSection(wall.section);
      this.say(`${photos(wall.chosen.size)} chosen: ${section.title || "the whole view"}${section.detail ? `, ${section.detail}` : ""}.`);
      return;
    }
    const own = store.classOf[wall.number];
    wall.choose(wall.order.filter((number) => store.cluster[number] === cluster && store.classOf[number] === own));
    this.say(`${photos(wall.chosen.size)} chosen: the photo's cluster.`);
  }

  chooseAll() {
    this.wall.choose(this.wall.order);
    this.say(`All ${photos(this.wall.chosen.size)} chosen.`);
  }

  clear() {
    if (!this.wall.chosen.size) return;
    this.wall.choose([]);
    this.say("Nothing is chosen.");
  }

  /** Go to the first photo of the next (1) or this or the previous (-1) section. */
  section(way) {
    const { wall } = this;
    if (!wall.order.length) return;
    const now = wall.section;
    const back = wall.index > wall.sections[now].start ? now : now - 1;
    const target = Math.max(0, Math.min(wall.sections.length - 1, way > 0 ? now + 1 : back));
    wall.focus(wall.sections[target].start);
  }

  /** Ask whether that is meant. */
  sure(question) {
    const { dialog } = this;
    return new Promise((resolve) => {
      const button = (text, value, main) => element("button", {
        type: "button", class: main ? "main" : null, text, onclick: () => dialog.close(value),
      });
      dialog.replaceChildren(
        element("h2", { id: "sure-title", text: question }),
        element("p", { text: "One undo takes all of it back." }),
        element("p", { class: "buttons" }, button("Yes", "yes", true), button("Cancel", "")),
      );
      dialog.returnValue = "";
      dialog.onclose = () => resolve(dialog.returnValue === "yes");
      dialog.showModal();
    });
  }

  /** Say what a decision is about, for the bar. */
  target() {
    const { wall, store } = this;
    if (!this.large.open && wall.chosen.size) return { text: `${count(wall.chosen.size)} chosen`, chosen: true };
    const number = this.large.open ? this.large.number : wall.number;
    if (number < 0) return { text: "", chosen: false };
    const place = wall.placeOf(number);
    const where = place < 0 ? "" : `${count(place + 1)} of ${count(wall.order.length)}`;
    return { text: plain(store.classes[store.classOf[number]]), where, chosen: false };
  }
}
