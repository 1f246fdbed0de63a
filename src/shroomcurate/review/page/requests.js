/* How the page asks the server. Every address is relative, so that it carries the token of the page's own address. */

/** An answer that says no: `what` happened, a `hint` at what to do. */
export class Refusal extends Error {
  constructor(status, { what, hint, error } = {}) {
    super(what || error || `The server answered ${status}.`);
    this.status = status;
    this.hint = hint || "";
  }
}

/** Return the JSON of an answer. Raises Refusal: for 4xx and 5xx, and with status 0 when nobody answers. */
export async function ask(url, options) {
  const answer = await fetch(url, options).catch(() => { throw new Refusal(0, { what: "The server has ended." }); });
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(answer.status, content || {});
  if (content === null) throw new Refusal(answer.status, { what: "The server's answer is not readable." });
  return { status: answer.status, ...content };
}

/** Post JSON. Small ones reach the server even when the page is closed at once. */
export const post = (url, content) => {
  const body = JSON.stringify(content);
  return ask(url, {
    method: "POST", body, headers: { "Content-Type": "application/json" }, keepalive: body.length < 60_000,
  });
};
