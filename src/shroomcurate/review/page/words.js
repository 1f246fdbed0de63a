/* How things are called on the page: names without underscores, counts, and what is known about a photo in words. */

const formatter = new Intl.NumberFormat("en");

/** Return a count as people write it: 12,345. */
export const count = (number) => formatter.format(number);

/** Return '1 photo' or '12 photos'. */
export const photos = (number) => `${count(number)} ${number === 1 ? "photo" : "photos"}`;

/** Return the name of a class or a reason as words. */
export const plain = (name) => name.replaceAll("_", " ");

/** Return a verdict's code in words: 1 'keep', 2 and above 'remove as scenery'. */
export function verdictWords(reasons, code) {
  if (!code) return "none";
  return code === 1 ? "keep" : `remove as ${plain(reasons[code - 2].name)}`;
}

/** Return all that the wall shows of a photo in words, for those who hear it. */
export function photoWords(store, number) {
  const reason = store.reason[number];
  const words = [plain(store.classes[store.classOf[number]])];
  if (reason > 0) words.push(`removed as ${plain(store.reasons[reason - 1].name)}`);
  else words.push(reason === 0 ? "kept" : "not judged yet");
  if (store.score[number] >= 0) words.push(`noise score ${store.score[number]} of 100`);
  const { code, saved } = store.mark(number);
  if (code) words.push(`your verdict: ${verdictWords(store.reasons, code)}`);
  if (saved === "saving") words.push("being saved");
  if (saved === "failed") words.push("not saved");
  return words.join(", ");
}

/** Make an element: tag, attributes (`text` is its text, `on…` a listener), children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
