/* The keyboard: what each key does, on the wall and in the large view, and the dialog that lists them. */

import { element } from "./words.js";

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

/* What the dialog says. */
const LEGEND = [
  ["Look", [
    ["← → ↑ ↓", "move"], ["Home End", "first and last photo"], ["Page ↑ ↓", "a screen up or down"],
    ["[  ]", "previous and next section"], ["N", "next photo without your verdict"],
    ["Enter, Space", "large view, and back"], ["Z", "in the large view: one pixel for one pixel"],
    ["+  −", "larger and smaller photos"], ["/", "filter by text"],
  ]],
  ["Choose", [
    ["Shift + arrows", "a range; Shift + click too"], ["X", "this photo; Ctrl + click too"],
    ["C", "its whole cluster or group"], ["Ctrl + A", "all photos of the view"], ["Esc", "none"],
  ]],
  ["Judge", [
    ["K", "keep, and on to the next"], ["R", "remove; the reason is the one that clean gave, or outlier"],
    ["1 … 9, 0", "remove because of the reason with that number"], ["D, Backspace", "take the verdict away"],
    ["U, Ctrl + Z", "undo the last step"], ["?", "this list"],
  ]],
];

/** Fill and show the dialog of all keys. */
export function showKeys(dialog, reasons) {
  const row = ([keys, does]) => element("div", {}, element("dt", {}, element("kbd", { text: keys })), element("dd", { text: does }));
  const group = ([title, rows]) => element("section", {}, element("h3", { text: title }), element("dl", {}, ...rows.map(row)));
  const named = reasons.map(({ name, meaning }, k) => [String((k + 1) % 10), `${name.replaceAll("_", " ")}: ${meaning}`]);
  dialog.replaceChildren(
    element("div", { class: "top" }, element("h2", { id: "keys-title", text: "Keys" }),
      element("button", { type: "button", text: "Close", onclick: () => dialog.close() })),
    element("div", { class: "columns", tabindex: "0", role: "region", "aria-label": "All keys" },
      ...[...LEGEND, ["Remove because of", named]].map(group)),
  );
  dialog.showModal();
}

/** Return what a key means: the name of an action and its arguments, or null. */
export function meaning(event, reasons) {
  const { key } = event;
  const lower = key.length === 1 ? key.toLowerCase() : key;
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) return { a: ["chooseAll"], z: ["undo"] }[lower] ?? null;
  if (MOVES.includes(key)) return ["move", key, event.shiftKey];
  if (/^[0-9]$/.test(key)) {
    const reason = reasons[(Number(key) + 9) % 10];
    return reason ? ["decide", "remove", reason.name] : null;
  }
  return {
    k: ["decide", "keep"], r: ["decide", "remove"], d: ["decide", "none"], Backspace: ["decide", "none"],
    u: ["undo"], n: ["open"], x: ["toggle"], c: ["chooseCluster"], Escape: ["clear"], z: ["zoom"],
    Enter: ["look"], " ": ["look"], "/": ["search"], "+": ["size", 1], "=": ["size", 1], "-": ["size", -1],
    "[": ["section", -1], "]": ["section", 1], "?": ["help"],
  }[lower] ?? null;
}

/* Held down, these do not repeat: a verdict is one press. */
const ONCE = new Set(["decide", "undo", "toggle", "look", "chooseAll", "chooseCluster"]);

/** Whether the element that has the keyboard wants this key for itself. */
function wanted(target, event) {
  if (target.matches("input, select, textarea")) return true;
  if (target.closest("[data-own-keys]")) return true;
  if (target.matches('[role="tab"]') && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return true;
  return target.matches("button, a, summary, [role=tab]") && ["Enter", " "].includes(event.key);
}

/** Follow the keyboard. `actions` holds a function for each action; `reasons()` the present reasons. */
export function followKeys(actions, reasons) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || wanted(event.target, event)) return;
    const dialog = document.querySelector("dialog[open]:not(#large)");
    if (dialog) return;
    const found = meaning(event, reasons());
    if (!found) return;
    const [name, ...values] = found;
    if (event.repeat && ONCE.has(name)) {
      event.preventDefault();
      return;
    }
    if (actions[name](...values) !== false) event.preventDefault();
  });
}
