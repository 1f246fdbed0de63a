/* 'Apply': runs clean with the verdicts, shows how far it is, and then what moved. */

import { post } from "./requests.js";
import { count, element, photos, plain } from "./words.js";

export class Apply {
  constructor(button, dialog, store, say) {
    Object.assign(this, { button, dialog, store, say });
    this.asked = false; // whether this page has started it
    this.error = null;
    button.addEventListener("click", () => this.open());
    for (const name of ["dataset", "waiting", "apply", "verdicts", "connection"]) {
      store.addEventListener(name, () => this.update());
    }
    store.addEventListener("apply", () => this.news());
    // The button is off by now and would lose the keyboard.
    dialog.addEventListener("close", () => document.getElementById("list").focus({ preventScroll: true }));
  }

  get running() {
    return this.store.apply?.state === "running";
  }

  update() {
    const { button, store } = this;
    if (!store.dataset) return;
    const { waiting } = store;
    const { done, total } = store.apply ?? {};
    const share = this.running && total ? ` ${Math.floor((100 * done) / total)} %` : "";
    button.hidden = false;
    button.disabled = !this.running && (!waiting || !store.connected || store.queue.unsaved().length > 0);
    button.textContent = this.running ? `applying${share}`
      : waiting ? `apply ${count(waiting)} ${waiting === 1 ? "verdict" : "verdicts"}` : "nothing to apply";
  }

  news() {
    const { state } = this.store.apply ?? {};
    const { moved_out: out = 0, moved_back: back = 0 } = this.store.apply?.summary ?? {};
    if (state === "done") this.say(`Applied. ${out + back ? `${photos(out + back)} moved.` : "No photo had to move."}`);
    if (state === "failed") this.say(`Not applied. ${this.store.apply.what ?? ""}`);
    if (this.dialog.open) this.fill();
    else if (state !== "running" && this.asked) this.open();
    if (state !== "running") this.asked = false;
  }

  open() {
    this.error = null;
    if (!this.running && this.store.waiting && !this.asked) this.store.apply = null; // what was the last time is over
    this.fill();
    if (!this.dialog.open) this.dialog.showModal();
  }

  async start() {
    this.asked = true;
    this.store.apply = { state: "running", done: 0, total: 0, label: "clean" };
    this.store.tell("apply");
    try {
      await post("api/apply", { generation: this.store.generation });
    } catch (error) {
      this.asked = false;
      this.error = error;
      this.store.apply = null;
      this.update();
      this.fill();
    }
  }

  fill() {
    const { store } = this;
    const state = store.apply?.state;
    const title = { running: "Applying", done: "Applied", failed: "Not applied" }[state]
      ?? `Apply ${count(store.waiting)} ${store.waiting === 1 ? "verdict" : "verdicts"}?`;
    const content = { running: () => this.progress(), done: () => this.summary(), failed: () => this.failure(store.apply) }[state]
      ?? (() => this.question());
    if (state === "running" && this.bar?.isConnected) {
      this.progress();
      return;
    }
    this.dialog.dataset.state = state ?? "question";
    this.dialog.replaceChildren(element("h2", { id: "applying-title", text: title, tabindex: "-1" }), ...content());
    this.dialog.querySelector(".main, h2").focus();
  }

  buttons(...made) {
    return element("p", { class: "buttons" }, ...made);
  }

  close(text) {
    return element("button", { type: "button", text, onclick: () => this.dialog.close() });
  }

  question() {
    return [
      element("p", { text: this.store.reason.some((reason) => reason >= 0)
        ? "Runs clean with your verdicts and the options of the last time. It learns from them what noise looks like."
        : "Runs clean for the first time, on all photos and with your verdicts. The first time takes longest: every photo is described." }),
      element("p", { text: "Other photos than those you judged may move, too: afterwards they can be seen." }),
      element("p", { text: "Photos move between the class folders and removed/. Nothing is deleted; restore brings every photo back." }),
      ...(this.error ? this.failure({ what: this.error.message, hint: this.error.hint }, false) : []),
      this.buttons(element("button", { type: "button", class: "main", text: "Apply", onclick: () => this.start() }), this.close("Not now")),
    ];
  }

  progress() {
    const { done, total, label } = this.store.apply;
    this.bar ??= element("progress", { "aria-label": "Progress" });
    this.step ??= element("p", { class: "step" });
    if (total) Object.assign(this.bar, { max: total, value: done });
    else this.bar.removeAttribute("value");
    this.step.textContent = `${plain(label ?? "clean")}${total ? `: ${count(done)} of ${count(total)}` : " …"}`;
    return [this.bar, this.step, element("p", { text: "You can go on looking; verdicts that you give now wait for the next time." }),
      this.buttons(this.close("Go on looking"))];
  }

  failure({ what, hint }, close = true) {
    return [
      element("p", { class: "notice", text: `${what ?? "It did not work."} ${hint ?? ""}` }),
      ...(close ? [element("p", { text: "Your verdicts are all there still." }), this.buttons(this.close("Close"))] : []),
    ];
  }

  summary() {
    const { summary: found = {} } = this.store.apply;
    const reasons = Object.entries(found.reasons ?? {}).filter(([, number]) => number).sort((a, b) => b[1] - a[1]);
    const alone = Object.values(found.left_alone ?? {});
    const row = (name, value) => [element("dt", { text: name }), element("dd", { text: count(value) })];
    return [
      element("dl", { class: "figures" },
        ...[["moved out", found.moved_out], ["moved back", found.moved_back], ["kept", found.kept], ["removed", found.removed]]
          .filter(([, value]) => typeof value === "number")
          .map(([name, value]) => element("div", {}, element("dd", { text: count(value) }), element("dt", { text: name })))),
      ...(reasons.length ? [element("h3", { text: "Removed because of" }),
        element("dl", { class: "facts" }, ...reasons.flatMap(([name, value]) => row(plain(name), value)))] : []),
      ...this.trust(found.trust),
      ...(alone.length ? [element("p", { class: "quiet", text: leftAlone(alone) })] : []),
      this.buttons(
        ...(found.moved_out || found.moved_back ? [element("button", { type: "button", text: "See what moved", onclick: () => this.seeMoved() })] : []),
        element("button", { type: "button", class: "main", text: "Close", onclick: () => this.dialog.close() })),
    ];
  }

  seeMoved() {
    this.dialog.close();
    document.getElementById("tab-moved").click();
  }

  trust(found) {
    if (!found?.verdicts) return [];
    const { verdicts, agreed, would_remove: remove, would_keep: keep } = found;
    return [
      element("h3", { text: "How far to trust the model" }),
      element("p", {
        text: `It gets ${count(agreed)} of ${count(verdicts)} verdicts right (${Math.round((100 * agreed) / verdicts)} %) without knowing `
          + `the one in question. It would remove ${photos(remove)} that you keep, and keep ${photos(keep)} that you remove.`,
      }),
    ];
  }
}

function leftAlone(why) {
  const reasons = [...new Set(why)];
  const classes = `${count(why.length)} ${why.length === 1 ? "class" : "classes"}`;
  return `Not judged for noise: ${classes}${reasons.length === 1 ? ` (${reasons[0]})` : ""}.`;
}
