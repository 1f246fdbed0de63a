/* What the colours of the map mean: by class, cluster, reason or verdict.

   The twelve colours were found by search: under normal sight, protanopia, deuteranopia and tritanopia (Machado et
   al. 2009, https://doi.org/10.1109/TVCG.2009.113) any two, and each and the grey, lie at least 0.09 apart in OKLab
   (https://bottosson.github.io/posts/oklab/), which is easily told; there is a set for each ground. */

import { plain } from "./words.js";

const LIGHT = ["#5e0eb3", "#e35413", "#529cfc", "#359658", "#af2071", "#81411d", "#48649f", "#bc74ba", "#382c15",
  "#874de7", "#641856", "#1a038a"];
const DARK = ["#3069f6", "#ecf33c", "#c52f15", "#00ef9f", "#bb88f5", "#f6b324", "#7dbdac", "#e849b3", "#75a322",
  "#b6f8e6", "#9d3eb1", "#cec2f4"];
const QUIET = { light: "#9aa696", dark: "#6f7a6c" };

/** Return the colour of the k-th of up to twelve things. */
export const hue = (k, dark) => (dark ? DARK : LIGHT)[k % 12];
export const quiet = (dark) => (dark ? QUIET.dark : QUIET.light);

export const SCHEMES = {
  reason: { title: "reason", of: byReason },
  class: { title: "class", of: byClass },
  cluster: { title: "cluster", of: byCluster },
  verdict: { title: "your verdict", of: byVerdict },
};

/* A scheme takes the store, the photos' numbers and whether the ground is dark. It returns the legend's `entries` and
   `keyOf`, for each photo the place of its entry. `own`: a colour per photo instead of its entry's. */

function byClass(store, numbers, dark) {
  const counts = new Uint32Array(store.classes.length);
  for (const number of numbers) counts[store.classOf[number]] += 1;
  const ranked = [...counts.keys()].filter((k) => counts[k]).sort((a, b) => counts[b] - counts[a] || a - b);
  // Twelve colours are as many as can be told apart; the other classes share an entry, each in a hue of its own.
  const named = ranked.slice(0, ranked.length <= 12 ? 12 : 11);
  const entryOf = new Uint8Array(store.classes.length).fill(named.length);
  named.forEach((k, place) => { entryOf[k] = place; });
  const entries = named.map((k, place) => ({ name: plain(store.classes[k]), colour: hue(place, dark), taxon: true }));
  const others = ranked.length - named.length;
  if (!others) return { entries, keyOf: (number) => entryOf[store.classOf[number]] };
  const own = store.classes.map((name) => hashed(name, dark));
  return {
    entries: [...entries, { name: `${others} other classes`, colour: null }],
    keyOf: (number) => entryOf[store.classOf[number]],
    own: (number) => (entryOf[store.classOf[number]] < named.length ? null : own[store.classOf[number]]),
  };
}

/** Return a pale colour whose hue comes from the name, so that a class has the same one every time. */
function hashed(name, dark) {
  let hash = 2166136261; // FNV-1a
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  const turn = ((hash >>> 0) % 360) / 60;
  const [low, high] = dark ? [70, 150] : [130, 200];
  const part = (shift) => {
    const at = (turn + shift) % 6;
    const rise = Math.max(0, Math.min(1, Math.abs(at - 3) - 1));
    return Math.round(low + rise * (high - low)).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(4)}${part(2)}`;
}

function byReason(store, numbers, dark) {
  const entries = [
    { name: "not judged yet", colour: hue(11, dark) },
    { name: "kept", colour: quiet(dark), quiet: true },
    ...store.reasons.map(({ name }, k) => ({ name: plain(name), colour: hue(k, dark) })),
  ];
  return { entries, keyOf: (number) => store.reason[number] + 1 };
}

function byCluster(store, numbers, dark) {
  const titles = ["its class's largest cluster", "its second cluster", "its third cluster", "a further cluster"];
  const entries = [
    { name: "in no cluster of its class", colour: hue(1, dark) },
    ...titles.map((name, k) => ({ name, colour: k ? hue([0, 2, 3, 4][k], dark) : quiet(dark), quiet: k === 0 })),
  ];
  return { entries, keyOf: (number) => Math.min(store.cluster[number], 3) + 1 };
}

function byVerdict(store, numbers, dark) {
  const entries = [
    { name: "no verdict", colour: quiet(dark), quiet: true },
    { name: "keep", colour: hue(dark ? 0 : 2, dark) },
    ...store.reasons.map(({ name }, k) => ({ name: `remove as ${plain(name)}`, colour: hue(REMOVE[k], dark) })),
  ];
  return { entries, keyOf: (number) => store.mark(number).code };
}

/* Colours of the ten reasons beside that of 'keep', which is third on light and first on dark ground. */
const REMOVE = [1, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/** Return what is true of most: 'mostly Amanita muscaria, 40 removed'. */
export function inWords(store, numbers) {
  const counts = new Map();
  let removed = 0;
  for (const number of numbers) {
    counts.set(store.classOf[number], (counts.get(store.classOf[number]) ?? 0) + 1);
    removed += store.reason[number] > 0;
  }
  const [most, times] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  if (times === undefined) return "";
  const name = plain(store.classes[most]);
  const share = times / numbers.length;
  const of = share === 1 ? `all ${name}` : share > 0.5 ? `mostly ${name}` : `of ${counts.size} classes`;
  return `${of}, ${removed ? removed.toLocaleString("en") : "none"} removed`;
}
