/* Which photos are on the wall: the tabs, the filters, and the address that remembers both and the photo. */

import { count, element, photos, plain } from "./words.js";

const FILTERS = ["class", "reason", "licence", "decided", "text"];
const $ = (id) => document.getElementById(id);

/** Events: "change" (another view or filter), and "size". */
export class Views extends EventTarget {
  constructor(store) {
    super();
    this.store = store;
    this.state = this.read();
    if ($("text").value) this.state.text = $("text").value.trim(); // typed before this script was there
    this.wire();
  }

  /** Return what the address says: view, filters, photo, size. */
  read() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }

  /** Write the address; `push`: the back button leads back from here. */
  write(push = false) {
    const given = Object.entries(this.state).filter(([, value]) => value !== "" && value !== undefined && value !== null);
    const address = `#${new URLSearchParams(given)}`;
    if (address === location.hash) return;
    if (push) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }

  /** Remember the photo with the focus, not at every step: browsers limit how often an address may change. */
  remember(number) {
    this.state.photo = number < 0 ? "" : String(number);
    clearTimeout(this.later);
    this.later = setTimeout(() => this.write(), 300);
  }

  /** The present view as the server describes it: the one of the address, or the first that has photos. */
  get current() {
    const { views } = this.store.dataset;
    return views.find(({ name }) => name === this.state.view)
      ?? views.find(({ count: size, missing }) => size !== 0 && !missing) ?? views[0];
  }

  /** What to ask the server for. */
  get filters() {
    const given = Object.fromEntries(FILTERS.map((name) => [name, this.state[name] ?? ""]));
    return { name: this.store.dataset ? this.current.name : this.state.view ?? "removed", ...given };
  }

  get filtered() {
    return FILTERS.filter((name) => this.state[name]).length;
  }

  change(changes, push = false) {
    Object.assign(this.state, changes);
    clearTimeout(this.later);
    this.write(push);
    this.render();
    this.dispatchEvent(new CustomEvent("change"));
  }

  go(name) {
    const other = name !== this.current.name;
    this.change(other ? { view: name, photo: "" } : {}, other);
  }

  clear() {
    this.change(Object.fromEntries(FILTERS.map((name) => [name, ""])));
  }

  wire() {
    for (const name of ["reason", "licence", "decided"]) {
      $(name).addEventListener("change", () => this.change({ [name]: $(name).value }));
    }
    $("text").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.change({ text: $("text").value.trim() }), 250);
    });
    $("class").addEventListener("input", () => this.classTyped(false));
    $("class").addEventListener("change", () => this.classTyped(true));
    $("class").addEventListener("focus", () => $("class").select());
    $("clear").addEventListener("click", () => this.clear());
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && event.target.matches("input"))) {
        event.preventDefault();
        $("list").focus();
      }
    });
    $("fold").addEventListener("click", () => {
      const open = $("fields").classList.toggle("open");
      $("fold").setAttribute("aria-expanded", open);
    });
    $("tabs").addEventListener("keydown", (event) => this.tabKey(event));
    window.addEventListener("popstate", () => {
      this.state = this.read();
      this.render();
      this.dispatchEvent(new CustomEvent("change"));
    });
  }

  /** A class is taken when its whole name is there, or at the end when only one class fits what was typed. */
  classTyped(end) {
    const typed = $("class").value.trim().toLowerCase();
    const named = (name) => plain(name).toLowerCase();
    let found = this.store.classes.filter((name) => named(name) === typed);
    if (end && typed && !found.length) found = this.store.classes.filter((name) => named(name).includes(typed));
    const known = !typed || found.length === 1;
    $("class").setAttribute("aria-invalid", end && !known);
    $("class").setCustomValidity(end && !known ? `${count(found.length)} classes have such a name.` : "");
    if (end && !known) $("class").reportValidity();
    if (known && (found[0] ?? "") !== (this.state.class ?? "") && (typed || end)) this.change({ class: found[0] ?? "" });
  }

  tabKey(event) {
    const tabs = [...$("tabs").children];
    const now = tabs.indexOf(event.target);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (now < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    this.go(tab.dataset.view);
    document.querySelector(`#tabs [data-view="${tab.dataset.view}"]`).focus();
  }

  /** Bring tabs and filters to what is known and chosen. */
  render() {
    const { dataset, classes, reasons } = this.store;
    if (!dataset) return;
    const now = this.current;
    $("title").textContent = dataset.title;
    document.title = `${now.title} · ${dataset.title} · review`;
    this.renderTabs(dataset.views, now);
    $("meaning").textContent = now.missing ? "" : now.about;
    $("filters").classList.toggle("bare", Boolean(now.missing));
    options($("reason"), [["", "any"], ["kept", "kept"], ...reasons.map(({ name }) => [name, plain(name)])], this.state.reason);
    options($("licence"), [["", "any"], ...dataset.licences.map((name) => [name, name])], this.state.licence);
    $("licence").parentElement.hidden = !dataset.licences.length;
    $("decided").value = this.state.decided ?? "";
    if (document.activeElement !== $("text")) $("text").value = this.state.text ?? "";
    if (document.activeElement !== $("class")) $("class").value = plain(this.state.class ?? "");
    if ($("classes").children.length !== classes.length) {
      $("classes").replaceChildren(...classes.map((name) => element("option", { value: plain(name) })));
    }
    $("clear").hidden = !this.filtered;
    $("fold").textContent = this.filtered ? `Filters (${this.filtered})` : "Filters";
    $("panel").setAttribute("aria-labelledby", `tab-${now.name}`);
  }

  renderTabs(views, now) {
    const tabs = $("tabs");
    if (tabs.children.length !== views.length) {
      tabs.replaceChildren(...views.map(({ name }) => element("button", {
        type: "button", role: "tab", id: `tab-${name}`, "data-view": name, "aria-controls": "panel",
        onclick: () => this.go(name),
      })));
    }
    views.forEach(({ name, title, count: size, missing }, k) => {
      const tab = tabs.children[k];
      const chosen = name === now.name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      tab.title = missing ?? "";
      tab.classList.toggle("missing", Boolean(missing));
      tab.replaceChildren(title, ...(missing || size === null || size === undefined ? []
        : [" ", element("small", { text: count(size) })]));
      if (chosen && tabs.dataset.shown !== name) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    tabs.dataset.shown = now.name;
  }

  /** Say how many photos there are, or why there are none. */
  renderCount(size) {
    $("count").textContent = size === null ? "" : photos(size);
    const empty = $("empty");
    empty.hidden = size !== 0;
    if (size !== 0) return;
    const { missing, title, name } = this.current;
    if (name === "map" && !missing) {
      $("count").textContent = "";
      empty.replaceChildren(element("p", { text: "Draw around a clump on the map: its photos come here to be judged." }));
    } else if (missing) {
      empty.replaceChildren(element("p", { text: `'${title}' cannot be shown yet.` }), element("p", {}, ...withCode(missing)));
    }
else if (this.filtered) {
      empty.replaceChildren(element("p", { text: `No photo of '${title}' fits these filters.` }),
        element("button", { type: "button", class: "main", text: "Clear the filters", onclick: () => this.clear() }));
    } else empty.replaceChildren(element("p", { text: `There is no photo in '${title}'.` }));
  }
}

function options(select, rows, value = "") {
  if (select.children.length !== rows.length) {
    select.replaceChildren(...rows.map(([name, text]) => element("option", { value: name, text })));
  }
  select.value = rows.some(([name]) => name === value) ? value : "";
}

/** Set the command at the end of a sentence as code. */
function withCode(sentence) {
  const [, before, command, after] = /^(.*?)(shroomcurate .*?)([.]?)$/s.exec(sentence) ?? [null, sentence, "", ""];
  return [before, ...(command ? [element("code", { text: command })] : []), after];
}
