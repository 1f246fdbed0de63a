/* Says plainly when the server has ended or a verdict is not on disk, and what to do. */

import { element, photos } from "./words.js";

const AGAIN = "The server has ended: type";

/** Keep the banner true. `showThem(numbers)` shows the photos whose verdicts are not saved. */
export function followTrouble(banner, store, { showThem, say, pictures }) {
  let trouble = false;
  let last = "";
  const update = () => {
    const { queue } = store;
    const failed = queue.unsaved().filter((number) => store.mark(number).saved === "failed");
    const is = !store.connected || queue.problem !== null || queue.refused.length > 0;
    if (!is) {
      if (trouble && queue.unsaved().length === 0) {
        trouble = false;
        say("The server answers again. All verdicts are saved.");
        pictures();
      }
      last = "";
      banner.hidden = true;
      return;
    }
    trouble = true;
    const key = `${store.connected} ${failed.length} ${queue.refused.length} ${queue.problem?.message ?? queue.problem}`;
    if (key === last) return; // an alert that is written anew is read out anew
    last = key;
    banner.replaceChildren(...words(store, failed), ...buttons(store, failed, showThem));
    banner.hidden = false;
  };
  for (const name of ["connection", "verdicts", "dataset"]) store.addEventListener(name, update);
  store.addEventListener("lost", ({ detail }) => {
    const lost = `; ${photos(detail.count)} had a verdict that was not saved. Judge them again`;
    say(`The photos have changed meanwhile${detail.count ? lost : ""}.`);
  });
}

function words(store, failed) {
  const { queue } = store;
  const kept = failed.length
    ? `The verdicts on ${photos(failed.length)} are not saved. They stay in this tab and are sent again until the server answers: leave it open.`
    : "Every verdict so far is saved.";
  if (queue.refused.length) {
    const { why } = queue.refused.at(-1);
    return [element("p", { text: `The verdicts on ${photos(failed.length)} are not saved. ${why.message} ${why.hint}` })];
  }
  if (queue.problem && queue.problem !== "gone") {
    return [element("p", { text: `${queue.problem.message} ${queue.problem.hint} ${kept}` })];
  }
  return [element("p", {}, `${AGAIN} `, element("code", { text: store.dataset?.command ?? "shroomcurate review" }), ` again. ${kept}`)];
}

function buttons(store, failed, showThem) {
  const made = [element("button", { type: "button", id: "retry", text: "Try again", onclick: () => {
    store.queue.retry();
    store.reload();
  } })];
  if (failed.length) {
    made.push(element("button", { type: "button", id: "unsaved", text: "Show them", onclick: () => showThem(failed) }));
  }
  return made;
}
