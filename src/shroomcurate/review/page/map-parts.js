/* The map's controls, legend and words: what is on the page beside the dots. */

import { SCHEMES } from "./map-colours.js";
import { count, element } from "./words.js";

const HELP = [
  ["drag", "draw a lasso; with Shift it adds, with Alt it takes away"],
  ["wheel, two fingers", "zoom"],
  ["Space and drag, middle button", "move the map"],
  ["click", "look at a photo; beside the dots: select none"],
  ["arrows", "move a circle (Shift: finely)"],
  ["+ −", "make the circle larger, smaller"],
  ["Enter", "select what the circle holds (Shift adds, Alt takes away)"],
  ["o", "look at the photo in the middle of the circle"],
  ["z x f", "zoom in, zoom out, see all"],
  ["Escape", "select none"],
  ["legend", "a press hides or shows; with Shift it alone stays"],
];

/** Fill the root; return the elements and what can be done with them. */
export function parts(root, view) {
  const dots = element("canvas", { class: "map-dots", "aria-hidden": "true" });
  const over = element("canvas", {
    class: "map-over", tabindex: "0", role: "application", "aria-label": "Map of the photos",
    "aria-describedby": "map-brief",
  });
  const picture = element("img", { alt: "" });
  const [title, words] = [element("b"), element("span")];
  const tip = element("div", { class: "map-tip", "aria-hidden": "true", hidden: true }, picture, title, words);
  const message = element("div", { class: "map-message", role: "alert", hidden: true });
  const brief = element("p", {
    class: "map-brief", id: "map-brief",
    text: "Arrows move a circle, plus and minus change its size, Enter selects the photos that it holds.",
  });
  const stage = element("div", { class: "map-stage" }, dots, over, brief, tip, message);
  const status = element("p", { class: "map-status", role: "status" });
  const note = element("p", { class: "map-note" });
  const legend = element("div", { class: "map-legend", role: "group", "aria-label": "Legend: what the map shows" });
  const { tools, axes, hands } = toolbar(view);
  root.classList.add("map");
  const side = element("div", { class: "map-side" }, legend, note, help());
  root.replaceChildren(element("div", { class: "map-body" }, tools, status, stage, side));

  const say = (text, busy = false) => {
    clearTimeout(view.saying);
    // Not with every step of a held key: a screen reader would never come to an end.
    view.saying = setTimeout(() => { status.textContent = text; }, status.textContent ? 120 : 0);
    status.classList.toggle("map-busy", busy);
  };
  return {
    dots, over, stage, tip, picture, title, words, status, hands, say,
    busy(text) {
      message.hidden = true;
      say(text, true);
    },
    failed({ message: what, hint }, known) {
      message.replaceChildren(element("p", { text: what }), ...(hint ? [element("p", { text: hint })] : []));
      message.hidden = false;
      say(known ? `The map still shows ${known.toUpperCase()}.` : "There is no map yet.");
    },
    ready(method, text, umap) {
      message.hidden = true;
      note.textContent = text;
      axes.pca.checked = method === "pca";
      axes.umap.checked = method === "umap";
      axes.umap.disabled = !umap;
      axes.missing.hidden = umap;
    },
    legend(entries) {
      const focused = legend.contains(document.activeElement) ? document.activeElement.dataset.name : null;
      const shown = entries.filter((entry) => entry.count);
      legend.replaceChildren(...shown.map((entry) => legendEntry(entry, view)));
      if (focused) [...legend.children].find(({ dataset }) => dataset.name === focused)?.focus();
    },
  };
}

function legendEntry({ name, colour, count: number, off, taxon }, view) {
  const swatch = element("span", { class: colour ? "map-swatch" : "map-swatch map-many" });
  if (colour) swatch.style.background = colour;
  return element(
    "button",
    { type: "button", "aria-pressed": String(!off), "data-name": name, onclick: (event) => view.toggle(name, event.shiftKey) },
    swatch, element(taxon ? "i" : "span", { text: name }), element("span", { class: "map-count", text: count(number) }),
  );
}

function toolbar(view) {
  const choice = (method, label) => {
    const input = element("input", { type: "radio", name: "map-method", value: method });
    input.checked = method === view.method;
    input.addEventListener("change", () => view.load(method));
    return [input, element("label", {}, input, label)];
  };
  const [pca, pcaLabel] = choice("pca", "PCA");
  const [umap, umapLabel] = choice("umap", "UMAP");
  const missing = element("span", { class: "map-missing", hidden: true });
  missing.append("not installed: ", element("code", { text: "pip install umap-learn" }));
  const method = element("fieldset", { class: "map-method" }, element("legend", { text: "Places by" }),
    pcaLabel, umapLabel, missing);

  const colours = element("select", { onchange: (event) => view.setScheme(event.target.value) },
    ...Object.entries(SCHEMES).map(([value, { title }]) => element("option", { value, text: title })));
  const by = element("label", { class: "map-by" }, "Colour by ", colours);

  const hands = (name, label, about) => element("button", {
    type: "button", "data-tool": name, title: about, text: label, onclick: () => view.hands.use(name),
  });
  const lasso = hands("lasso", "Lasso", "drag to draw around photos");
  const move = hands("move", "Move", "drag to move the map");
  const button = (label, name, act) => element("button", { type: "button", "aria-label": name, title: name, text: label,
    onclick: act });
  const zoom = element("div", { class: "map-group", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => view.zoomBy(1 / 1.6)), button("+", "Zoom in", () => view.zoomBy(1.6)),
    button("All", "See all", () => view.fit()));
  const tools = element("div", { class: "map-tools" }, method, by,
    element("div", { class: "map-group map-hands", role: "group", "aria-label": "What dragging does" }, lasso, move), zoom);
  return { tools, axes: { pca, umap, missing }, hands: [lasso, move] };
}

function help() {
  const list = element("dl");
  for (const [keys, what] of HELP) list.append(element("dt", { text: keys }), element("dd", { text: what }));
  return element("details", { class: "map-help" }, element("summary", { text: "Mouse, touch and keys" }), list);
}
