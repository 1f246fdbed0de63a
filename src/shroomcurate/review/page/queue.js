/* Verdicts on their way to the disk: sent one after the other in the order in which they were given.

   A verdict shows as saved only after the server has answered, which it does after its fsync. When nobody answers,
   the verdicts stay here and are sent again until somebody does. One that the server refuses is set aside, so that it
   does not hold up the others; `retry` sends it again. */

import { post } from "./requests.js";

const PAUSES = [1000, 2000, 4000, 5000]; // milliseconds between attempts

export class Queue {
  constructor(store) {
    this.store = store;
    this.steps = []; // not answered yet, first given first
    this.refused = [];
    this.marks = new Map(); // photo -> the last step about it that is not saved
    this.problem = null; // why saving does not go on
    this.attempt = 0;
  }

  /** Return the unsaved verdict on a photo, or null. */
  mark(number) {
    const step = this.marks.get(number);
    return step ? { code: step.codes.get(number), saved: step.failed ? "failed" : "saving" } : null;
  }

  /** Return the photos whose verdicts are not on disk. */
  unsaved() {
    return [...this.marks.keys()];
  }

  /** Whether something would be lost with the page: verdicts, or an undo that waits. */
  get busy() {
    return this.steps.length > 0 || this.refused.length > 0;
  }

  decide(photos, verdict, reason) {
    const codes = new Map(photos.map((number) => [number, this.store.code(number, verdict, reason)]));
    return this.add({ url: "api/verdicts", content: { photos, verdict, reason }, photos, codes });
  }

  undo() {
    const last = this.steps.at(-1);
    if (last && !last.sent && last.codes) { // never left the page: nothing to ask the server for
      this.steps.pop();
      this.settle(last);
      last.reject(new Error("taken back"));
      return Promise.resolve({ photos: last.photos, verdict: [], skipped: 0 });
    }
    return this.add({ url: "api/undo", content: {}, photos: [], codes: null });
  }

  add(step) {
    const done = new Promise((resolve, reject) => Object.assign(step, { resolve, reject, sent: false }));
    done.catch(() => {});
    step.failed = this.problem !== null;
    step.content.step = crypto.randomUUID(); // when its answer is lost it is sent again, and the server knows it
    for (const number of step.photos) this.marks.set(number, step);
    this.refused = this.refused.filter((old) => this.pending(old).length);
    this.steps.push(step);
    this.store.tell("verdicts", { photos: step.photos });
    if (this.problem) this.store.tell("connection");
    this.go();
    return done;
  }

  /** Send what waits. Called when a verdict is given, after a pause, and when the server is heard again. */
  async go() {
    clearTimeout(this.waiting);
    this.waiting = null;
    if (this.sending) return;
    this.sending = true;
    try {
      while (this.steps.length && await this.send(this.steps[0]));
    } finally {
      this.sending = false;
    }
  }

  /** Send one step; return whether to go on with the next. */
  async send(step) {
    const { store } = this;
    step.sent = true;
    const asked = store.events;
    try {
      const answer = await post(step.url, { generation: store.generation, tab: store.tab, ...step.content });
      this.drop(step);
      this.settle(step);
      store.take(answer, asked);
      step.resolve(answer);
      this.relieved();
      return true;
    } catch (error) {
      return this.cope(step, error);
    }
  }

  /** Decide what a failure means; return whether to go on with the next step. */
  async cope(step, error) {
    const status = error.status ?? 0;
    const stale = status === 409 && !step.reloaded;
    if (stale) { // the photos have changed: the same step once more with what they are now
      step.reloaded = true;
      if (await this.store.load().then(() => true, () => false)) {
        if (!this.steps.includes(step)) step.reject(error);
        return true;
      }
    } else if (status >= 400 && status < 500 && status !== 403) {
      this.drop(step);
      if (step.codes) this.refuse(step, error);
      step.reject(error);
      return true;
    }
    // Nobody answers, a stranger does (403: another server on the same port), or the disk is full.
    this.problem = status >= 500 ? error : "gone";
    this.fail(this.steps);
    if (status < 500) this.store.setConnected(false);
    this.store.tell("connection");
    this.waiting = setTimeout(() => this.retryHead(), PAUSES[Math.min(this.attempt, PAUSES.length - 1)]);
    this.attempt += 1;
    return false;
  }

  /** After a pause: when the server had gone, ask it first what it knows now. */
  async retryHead() {
    this.waiting = null;
    if (this.problem === "gone") await this.store.load().catch(() => {});
    this.go();
  }

  relieved() {
    this.attempt = 0;
    this.problem = null;
    for (const step of this.steps) step.failed = false;
    this.store.tell("verdicts", { photos: this.steps.flatMap(({ photos }) => photos) });
    this.store.setConnected(true);
    this.store.tell("connection");
  }

  fail(steps) {
    for (const step of steps) step.failed = true;
    this.store.tell("verdicts", { photos: steps.flatMap(({ photos }) => photos) });
  }

  refuse(step, error) {
    this.refused.push(step);
    step.why = error;
    this.fail([step]);
    this.store.tell("connection");
  }

  /** The page is being closed: send everything that waits at once. The server takes it in as it comes. */
  flush() {
    const { generation, tab } = this.store;
    for (const step of this.steps.filter(({ sent }) => !sent)) {
      step.sent = true;
      post(step.url, { generation, tab, ...step.content }).catch(() => {});
    }
  }

  /** Send everything that failed again, now. */
  retry() {
    for (const step of this.refused.splice(0)) {
      step.reloaded = false;
      step.content.photos = this.pending(step); // some may have been judged anew since
      this.steps.push(step);
    }
    this.go();
  }

  drop(step) {
    this.steps = this.steps.filter((other) => other !== step);
  }

  /** Return the photos on which no later step has put its mark. */
  pending(step) {
    return step.photos.filter((number) => this.marks.get(number) === step);
  }

  /** Take the marks of a step off its photos; where an earlier step waits still, its mark is there again. */
  settle(step) {
    for (const number of this.pending(step)) {
      const before = this.steps.findLast(({ codes }) => codes?.has(number));
      if (before) this.marks.set(number, before);
      else this.marks.delete(number);
    }
    this.store.tell("verdicts", { photos: step.photos });
  }

  /** The numbers mean other photos now: verdicts on them must not be sent. The page says so. */
  forget() {
    const lost = this.unsaved().length;
    this.steps = this.steps.filter((step) => !step.codes);
    this.refused = [];
    this.marks.clear();
    this.problem = null;
    this.store.tell("lost", { count: lost });
  }
}
