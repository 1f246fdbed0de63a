/* What the page knows: the facts about all photos, asked of the server, kept up to date by its events.

   `dataset`: the server's answer without its arrays. `classOf`, `reason`, `score`, `verdict`, `cluster`: a number per
   photo. `reason`: 0 kept, k removed because of reasons[k-1], -1 not judged. `verdict`: 0 none, 1 keep, 1+k remove
   because of reasons[k-1]. Photos are numbers that hold for one `generation`.
   Events: "dataset" (everything may be new), "verdicts" (detail: photos), "waiting", "connection", "apply". */

import { Queue } from "./queue.js";
import { ask } from "./requests.js";

/** Return this tab's name: it lives as long as the tab, so that undo survives a reload.
 *
 * It is put down only where the page may end: a tab that is duplicated takes along what is stored. */
function tabName() {
  let name = crypto.randomUUID();
  try {
    name = sessionStorage.getItem("tab") || name;
    sessionStorage.removeItem("tab");
    const keep = (away) => (away ? sessionStorage.setItem("tab", name) : sessionStorage.removeItem("tab"));
    window.addEventListener("pagehide", () => keep(true));
    window.addEventListener("pageshow", () => keep(false));
    document.addEventListener("visibilitychange", () => keep(document.hidden));
  } catch {
    // Nothing may be stored: undo ends with the page.
  }
  return name;
}

function viewAddress(filters) {
  return `api/view?${new URLSearchParams(Object.entries(filters).filter(([, value]) => value))}`;
}

export class Store extends EventTarget {
  constructor() {
    super();
    this.tab = tabName();
    this.queue = new Queue(this);
    this.details = new Map();
    this.heard = new Map(); // photo -> how many events had come when one about it came
    this.events = 0;
    this.loads = new Set(); // of each question for all facts that is under way: what was heard since
    this.connected = true;
    this.lost = false; // whether the server was out of hearing
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Ask for all facts. Numbers of the old generation hold on where the photos are the same. */
  async load() {
    const since = [];
    this.loads.add(since);
    const { photos, ...dataset } = await ask("api/dataset").finally(() => this.loads.delete(since));
    const same = !this.dataset || this.dataset.numbering === dataset.numbering;
    this.dataset = dataset;
    Object.assign(this, {
      generation: dataset.generation, count: dataset.count, classes: dataset.classes, reasons: dataset.reasons,
      classOf: Int32Array.from(photos.class), reason: Int8Array.from(photos.reason),
      score: Int8Array.from(photos.score), verdict: Uint8Array.from(photos.verdict),
      cluster: Int32Array.from(photos.cluster), waiting: dataset.waiting,
    });
    this.followApply(dataset.last_apply);
    this.details.clear();
    if (!same) this.queue.forget();
    for (const [news, asked] of since) this.take(news, asked); // the answer may be older
    this.setConnected(true);
    this.tell("dataset", { same });
    return same;
  }

  /** Take over how far cleaning is; when its end was not heard, that is news. */
  followApply(now) {
    const was = this.apply?.state === "running";
    const is = now?.state === "running";
    if (is || was) this.apply = now ?? { state: "failed", what: "The server ended while it was cleaning.", hint: "Apply again: it goes on." };
    if (was && !is) this.tell("apply");
  }

  /** Ask for a view before it is known whether it is the one to show: both answers are on their way at once. */
  foresee(filters) {
    const url = viewAddress(filters);
    this.foreseen = { url, answer: ask(url) };
    this.foreseen.answer.catch(() => {});
  }

  /** Return the order and the sections of a view. */
  async view(filters) {
    const url = viewAddress(filters);
    const { foreseen } = this;
    this.foreseen = null;
    const answer = await (foreseen?.url === url ? foreseen.answer : ask(url));
    if (answer.generation === this.generation) return answer;
    await this.load();
    return ask(url);
  }

  /** Return everything about one photo. */
  detail(number) {
    if (!this.details.has(number)) {
      const asked = ask(`api/photo/${number}`);
      asked.catch(() => this.details.delete(number));
      if (this.details.size > 500) this.details.delete(this.details.keys().next().value);
      this.details.set(number, asked);
    }
    return this.details.get(number);
  }

  thumbnail(number) {
    return `thumbnail/${number}?g=${this.generation}`;
  }

  photo(number) {
    return `photo/${number}?g=${this.generation}`;
  }

  /** Return the verdict to show on a photo and whether it is on disk: saved is '', 'yes', 'saving' or 'failed'. */
  mark(number) {
    return this.queue.mark(number) || { code: this.verdict[number], saved: this.verdict[number] ? "yes" : "" };
  }

  /** Give a verdict ('keep', 'remove', 'none') on photos. Settles when it is on disk; a refusal raises. */
  decide(numbers, verdict, reason = null) {
    return this.queue.decide(numbers, verdict, reason);
  }

  /** Take back this tab's last step. Returns the server's answer. */
  undo() {
    return this.queue.undo();
  }

  /** Return the code that a verdict will have, as the server will answer. */
  code(number, verdict, reason) {
    if (verdict !== "remove") return verdict === "keep" ? 1 : 0;
    const named = this.reasons.findIndex(({ name }) => name === (reason || "outlier"));
    if (!reason && this.reason[number] > 0) return 1 + this.reason[number];
    return 2 + named;
  }

  /** Take over verdicts of an answer that was asked for when `asked` events had come. */
  take(news, asked = Infinity) {
    for (const since of this.loads) since.push([news, asked]);
    const { generation, photos, verdict, waiting } = news;
    if (generation !== this.generation) return; // the numbers may mean other photos; all facts are asked for anew
    photos.forEach((number, k) => {
      // An event about the same photo that came since is in the server's order; this answer may be older.
      if ((this.heard.get(number) ?? 0) <= asked) this.verdict[number] = verdict[k];
      this.details.delete(number);
    });
    this.setWaiting(waiting);
    this.tell("verdicts", { photos });
  }

  setWaiting(waiting) {
    this.waiting = waiting;
    this.tell("waiting");
  }

  setConnected(connected) {
    if (connected) clearTimeout(this.doubt);
    if (this.connected === connected) return;
    this.connected = connected;
    this.tell("connection");
  }

  /** Follow the server's events for ever. The browser connects again by itself. */
  listen() {
    const source = new EventSource("api/events");
    const on = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
    on("verdicts", (news) => {
      this.events += 1;
      for (const number of news.photos) this.heard.set(number, this.events);
      this.take(news);
    });
    on("generation", ({ generation }) => generation !== this.generation && this.reload());
    on("apply", (news) => {
      this.apply = news;
      this.tell("apply");
    });
    source.onerror = () => {
      this.lost = true;
      clearTimeout(this.doubt);
      this.doubt = setTimeout(() => this.setConnected(false), 1500); // a restart within a moment is no news
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), 3000);
    };
    source.onopen = () => {
      if (this.lost) this.reload(); // what happened meanwhile was not heard
      this.lost = false;
    };
  }

  /** Ask for everything again and go on saving. */
  async reload() {
    try {
      await this.load();
    } catch {
      this.setConnected(false);
      return false;
    }
    this.queue.go();
    return true;
  }
}
