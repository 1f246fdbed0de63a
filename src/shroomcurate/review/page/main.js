/* Starts the page and ties its parts together: store, wall, views, verdicts, keys, large view, map, apply. */

import { Apply } from "./apply.js";
import { followTrouble } from "./banner.js";
import { Judge } from "./judge.js";
import { followKeys, showKeys } from "./keys.js";
import { Large } from "./large.js";
import { followPointer } from "./pointer.js";
import { Store } from "./store.js";
import { Views } from "./views.js";
import { Wall } from "./wall.js";
import { element, photos, plain } from "./words.js";

const $ = (id) => document.getElementById(id);

const store = new Store();
const wall = new Wall($("wall"), store);
const views = new Views(store);
const judge = new Judge(store, wall, say, $("sure"));
const large = new Large($("large"), { store, wall, bar: $("bar"), barPlace: $("bar-place"), told: $("told"), say });
judge.large = large;
new Apply($("apply"), $("applying"), store, say);
let map = null;
let asked = 0; // the latest question about a view; the answer to an earlier one comes too late

/** Say something to those who hear the page. Behind an open dialog nothing is heard, so it is said inside. */
function say(text) {
  const place = document.querySelector("dialog[open] .heard") ?? $("say");
  place.textContent = "";
  setTimeout(() => { place.textContent = text; }, 30);
  $("told").textContent = text;
  clearTimeout(say.later);
  $("told").classList.add("fresh");
  say.later = setTimeout(() => $("told").classList.remove("fresh"), 4000);
}

/** Put the present view on the wall. `keep`: the same place and photo as now; `was`: this place instead. */
async function show({ keep = false, same = true, was = null } = {}) {
  if (!started) return; // what is typed meanwhile counts at the start
  asked += 1;
  const mine = asked;
  const { current } = views;
  const onMap = current.name === "map";
  document.body.dataset.view = current.name;
  if (!onMap) map?.hide();
  $("map").hidden = !onMap || Boolean(current.missing);
  if (current.missing) {
    wall.show({ order: [], sections: [] });
    views.renderCount(0);
    return;
  }
  if (onMap) {
    await showMap(keep && same, mine);
    return;
  }
  $("panel").setAttribute("aria-busy", "true");
  try {
    const answer = await store.view(views.filters);
    if (mine !== asked) return;
    wall.show(answer, was ?? (keep ? place() : { focus: Number(views.state.photo || -1) }));
    views.renderCount(answer.order.length);
  } catch (error) {
    if (mine === asked) trouble(error);
  } finally {
    if (mine === asked) $("panel").removeAttribute("aria-busy");
  }
}

/** Where the wall is now, for showing it anew there. */
function place() {
  return { focus: wall.number, top: wall.top, chosen: wall.chosen };
}

/** The numbers mean other photos now: until these are there, nothing may be judged by its old number. */
function leaveNumbers() {
  const was = { top: wall.top, index: wall.index };
  for (const id of ["large", "sure"]) $(id).close();
  wall.show({ order: [], sections: [] });
  return was;
}

/** Say what went wrong; `again`: what the button does. */
function trouble(error, again = () => show()) {
  if (error.status === 0) {
    store.setConnected(false);
    return;
  }
  if (error.status === undefined) throw error; // a fault of ours
  $("count").textContent = "";
  message(`${error.message} ${error.hint ?? ""}`,
    element("button", { type: "button", class: "main", text: "Try again", onclick: again }));
}

function message(text, ...more) {
  $("empty").hidden = false;
  $("empty").replaceChildren(element("p", { text }), ...more);
}

/** The map on one side, on the other the clump that was taken from it. Filters leave the other photos grey. */
async function showMap(keep, mine) {
  if (keep) wall.show(wall, place());
  else showClump([]);
  try {
    const [{ MapView }, filtered] = await Promise.all([
      import("./map.js"), views.filtered ? store.view({ ...views.filters, name: "all" }) : null,
    ]);
    if (mine !== asked) return;
    map ??= new MapView($("map"), store, { onSelect: showClump, onOpen: (number) => large.look(number) });
    await map.show({ order: filtered?.order ?? null });
  } catch (error) {
    if (mine === asked) trouble(error);
  }
}

function showClump(numbers) {
  const sections = numbers.length
    ? [{ title: "the clump", detail: "", start: 0, count: numbers.length, decide: true }] : [];
  wall.show({ order: [...numbers], sections });
  views.renderCount(numbers.length);
  if (numbers.length) say(`${photos(numbers.length)} in the clump.`);
}

/** Show photos whose verdicts are not on disk. */
function showUnsaved(numbers) {
  wall.show({
    order: numbers,
    sections: [{ title: "not saved", detail: "these verdicts are in this tab only", start: 0, count: numbers.length, decide: true }],
  });
  views.renderCount(numbers.length);
}

// --- the bar of verdicts ------------------------------------------------------------------------------------------

function renderBar() {
  if (!store.dataset) return;
  const { text, where = "", chosen } = judge.target();
  $("target").replaceChildren(element(chosen ? "b" : "i", { text }), where ? ` ${where}` : "");
  const none = !large.open && !wall.order.length;
  // Not 'disabled': a bar that scrolls sideways must hold something that takes the keyboard.
  for (const button of $("bar").querySelectorAll("button:not(#undo)")) button.setAttribute("aria-disabled", none);
}

function renderReasons() {
  $("reasons").replaceChildren(...store.reasons.map(({ name, meaning }, k) => element("button", {
    type: "button", "data-reason": name, title: meaning, "aria-keyshortcuts": String((k + 1) % 10),
    onclick: () => judge.decide("remove", name),
  }, element("kbd", { text: String((k + 1) % 10) }), ` ${plain(name)}`)));
}

function renderFacts() {
  views.render();
  renderReasons();
  $("safety").textContent = store.dataset.safety;
  const { notes } = store.dataset;
  $("notes").hidden = !notes.length;
  $("notes").replaceChildren(...notes.map((text) => element("span", { text: `${text} ` })));
}

function setSize(size) {
  wall.setSize(size);
  views.state.size = wall.size === 1 ? "" : String(wall.size);
  views.write();
  $("smaller").disabled = wall.size === 0;
  $("larger").disabled = wall.size === 2;
}

function look() {
  if (large.open) large.close();
  else large.look(wall.number);
}

function wire() {
  const press = (id, act) => $(id).addEventListener("click", act);
  press("keep", () => judge.decide("keep"));
  press("remove", () => judge.decide("remove"));
  press("none", () => judge.decide("none"));
  press("undo", () => judge.undo());
  press("next", () => judge.open());
  press("look", look);
  press("help", () => showKeys($("keys"), store.reasons));
  press("smaller", () => setSize(wall.size - 1));
  press("larger", () => setSize(wall.size + 1));
  wall.addEventListener("focus", () => { renderBar(); views.remember(wall.number); });
  wall.addEventListener("choice", renderBar);
  wall.addEventListener("section", ({ detail }) => say(wall.sections[detail].title));
  views.addEventListener("change", () => show());
  store.addEventListener("dataset", ({ detail }) => {
    if (!started) return;
    renderFacts();
    show({ keep: true, same: detail.same, was: detail.same ? null : leaveNumbers() });
  });
  store.addEventListener("verdicts", () => large.open || renderBar());
  $("large").addEventListener("close", renderBar);
  followPointer(wall, { look: (number) => large.look(number), retry: () => store.queue.retry() });
  followTrouble($("banner"), store, { showThem: showUnsaved, say, pictures: () => wall.pictures() });
  followKeys({
    move: (key, shift) => (large.open ? large.move(key) : wall.step(key, shift)),
    decide: (verdict, reason) => judge.decide(verdict, reason),
    undo: () => judge.undo(),
    open: () => judge.open(),
    toggle: () => large.open || (wall.order.length && wall.toggle(wall.index)),
    chooseCluster: () => large.open || judge.chooseCluster(),
    chooseAll: () => large.open || judge.chooseAll(),
    clear: () => (large.open ? large.close() : judge.clear()),
    zoom: () => large.zoom(),
    look,
    search: () => {
      $("fields").classList.add("open");
      if (large.open) { // the text has the keyboard once the dialog has given it back to the wall
        large.dialog.addEventListener("close", () => setTimeout(() => $("text").focus()), { once: true });
        large.dialog.close();
      } else $("text").focus();
    },
    size: (way) => large.open || setSize(wall.size + way),
    section: (way) => judge.section(way),
    help: () => showKeys($("keys"), store.reasons),
  }, () => store.reasons ?? []);
  window.addEventListener("pagehide", () => store.queue.flush());
  window.addEventListener("beforeunload", (event) => {
    if (store.queue.busy) event.preventDefault();
  });
}

let started = false;

/** Load the facts and show the first view; while nobody answers, again and again. */
async function start() {
  const late = setTimeout(() => message("The tables are being read …"), 400);
  if (views.filters.name !== "map") store.foresee(views.filters);
  try {
    await store.load();
  } catch (error) {
    trouble(error, start);
    if (error.status === 0) setTimeout(start, 3000);
    return;
  } finally {
    clearTimeout(late);
  }
  $("empty").hidden = true;
  started = true;
  renderFacts();
  setSize(views.state.size ? Number(views.state.size) : 1);
  store.listen();
  await show();
  if (document.activeElement === document.body) wall.list.focus({ preventScroll: true });
}

wire();
start();
