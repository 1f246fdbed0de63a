/* All that is known about one photo, for the large view's panel. */

import { count, element, photos, plain, verdictWords } from "./words.js";

const DECIDED_BY = { rule: "by DBSCAN and the rules", model: "by the noise model", person: "by a person" };

/** Fill the panel with a photo's facts; `detail` is the server's answer, null while it is awaited. */
export function fillPanel(panel, store, number, detail, goTo) {
  panel.setAttribute("aria-busy", detail === null);
  const parts = [
    element("h2", { id: "large-title", text: plain(store.classes[store.classOf[number]]) }),
    element("p", { class: "path", text: detail?.path ?? " " }),
    judgement(store, number, detail),
    score(store, number),
  ];
  if (detail) {
    parts.push(prediction(store, detail), duplicates(store, number, detail, goTo), origin(detail), evidence(detail));
  }
  panel.replaceChildren(...parts.filter((part) => part !== null));
}

function judgement(store, number, detail) {
  const { code, saved } = store.mark(number);
  const reason = store.reason[number];
  const state = reason > 0 ? "removed" : reason === 0 ? "kept" : "unjudged";
  const words = reason > 0 ? `removed as ${plain(store.reasons[reason - 1].name)}` : reason === 0 ? "kept" : "not judged yet";
  const alone = detail?.left_alone && detail.decided_by !== "person" && reason === 0;
  const who = alone ? `without a judgement, for its class was left alone: ${detail.left_alone}`
    : detail && reason >= 0 ? DECIDED_BY[detail.decided_by] ?? "" : "";
  const cluster = store.cluster[number];
  const size = detail?.cluster_size ? ` of ${photos(detail.cluster_size)}` : "";
  const place = cluster < 0 ? "in no cluster" : cluster === 0 ? `in the largest cluster${size}` : `in cluster ${cluster}${size}`;
  const verdict = code || saved
    ? [element("i", { class: `icon ${code === 1 ? "keep" : code ? "remove" : "none"}` }), verdictWords(store.reasons, code)]
    : ["none yet"];
  const progress = { saving: "being saved", failed: "not saved", yes: "saved" }[saved];
  return element("dl", { class: "facts judgement", "data-state": state, "data-saved": saved },
    element("dt", { text: "your verdict" }),
    element("dd", { class: "yours" }, ...verdict, progress ? element("small", { text: ` ${progress}` }) : ""),
    element("dt", { text: "clean" }),
    element("dd", {}, element("i", { class: "mark" }), `${words} `, element("small", { text: who })),
    element("dt", { text: "cluster" }), element("dd", { text: place }));
}

function score(store, number) {
  const value = store.score[number];
  if (value < 0) return null;
  const bar = element("i");
  bar.style.width = `${value}%`;
  return element("div", { class: value > 50 ? "scored noisy" : "scored" },
    element("span", { text: `noise score ${value} of 100` }), element("span", { class: "score" }, bar),
    element("small", { text: "above 50: more likely noise than not" }));
}

function prediction(store, { prediction: found }) {
  if (!found) return null;
  return element("div", { class: "prediction" },
    element("h3", { text: "What the baseline takes it for" }),
    element("p", {}, element("i", { text: plain(found.predicted) }),
      `, ${Math.round(100 * found.confidence)} % sure: wrong. `,
      found.run ? element("small", { text: `run ${found.run}` }) : ""),
    element("p", { class: "notice", text: store.dataset.safety }));
}

function duplicates(store, number, { duplicates: group }, goTo) {
  if (!group || group.length < 2) return null;
  let copies = 0;
  const one = (other) => {
    const stays = store.reason[other] === 0; // none does, where the one that was kept went for another reason
    const copy = stays ? "" : `copy ${copies += 1}`;
    return element("li", {}, element("button", {
      type: "button", "aria-current": other === number ? "true" : null,
      "aria-label": `${copy || "one that stays"}${other === number ? ", this photo" : ""}`, onclick: () => goTo(other),
    }, element("img", { src: store.thumbnail(other), alt: "" }), element("small", { text: copy || "stays" })));
  };
  return element("div", {},
    element("h3", { text: `The same picture ${group.length} times` }),
    element("ul", { class: "group" }, ...group.map(one)));
}

function link(url, text) {
  return element("a", { href: url, target: "_blank", rel: "noreferrer noopener", text });
}

/** Only addresses of the web become links. */
const isWeb = (url) => typeof url === "string" && /^https?:\/\//.test(url);

function origin(detail) {
  const rows = [];
  const add = (name, ...content) => rows.push(element("dt", { text: name }), element("dd", {}, ...content));
  if (detail.there === false) add("file", "no longer there");
  if (detail.species && detail.species !== plain(detail.class)) add("species", element("i", { text: detail.species }));
  if (detail.attribution) add("by", detail.attribution);
  if (detail.licence) add("licence", isWeb(detail.licence_url) ? link(detail.licence_url, detail.licence) : detail.licence);
  if (detail.observed_on) add("taken", detail.observed_on);
  if (detail.place) add("where", `${detail.place.latitude.toFixed(3)}, ${detail.place.longitude.toFixed(3)}`);
  const links = [[detail.observation_url, "observation"], [detail.photo_url, `photo ${detail.photo_id}`]];
  const there = links.filter(([url]) => isWeb(url)).map(([url, text]) => link(url, text));
  if (there.length) add("iNaturalist", ...there.flatMap((a, k) => (k ? [", ", a] : [a])));
  if (!rows.length) return null;
  return element("div", {}, element("h3", { text: "Where it comes from" }), element("dl", { class: "facts" }, ...rows));
}

function evidence({ evidence: numbers }) {
  if (!numbers?.length) return null;
  const row = ({ name, value, meaning }) => {
    const bar = element("i");
    const known = value !== null && value !== undefined;
    const share = known && value >= 0 && value <= 1;
    if (share) bar.style.width = `${100 * value}%`;
    return element("tr", {},
      element("th", { scope: "row" }, plain(name), element("small", { text: meaning })),
      element("td", {}, element("span", { text: known ? shown(value) : "–" }), share ? element("span", { class: "score" }, bar) : ""));
  };
  return element("div", {}, element("h3", { text: "The evidence" }),
    element("table", { class: "evidence" }, element("tbody", {}, ...numbers.map(row))));
}

function shown(value) {
  return Number.isInteger(value) ? count(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}
