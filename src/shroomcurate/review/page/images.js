/* Loads thumbnails for the cells of the wall: what is seen first, a few at a time, and nothing that has left. */

/* A browser opens six connections to one server. One hears the events and one must be free for a verdict. */
const AT_ONCE = 4;

export class Images {
  /* order() returns the cells that want a picture, the most urgent first, or an empty list while the wall moves. */
  constructor(order) {
    this.order = order;
    this.loading = new Set();
  }

  /** Start as many as may load at once. */
  go() {
    if (this.loading.size >= AT_ONCE) return;
    for (const cell of this.order()) {
      if (this.loading.size >= AT_ONCE) return;
      if (cell.wanted && !this.loading.has(cell)) this.load(cell);
    }
  }

  load(cell) {
    const { picture, wanted } = cell;
    this.loading.add(cell);
    cell.wanted = null;
    const end = (state) => {
      if (cell.loaded !== wanted) return; // the cell shows another photo by now
      this.loading.delete(cell);
      cell.root.dataset.picture = state;
      this.go();
    };
    cell.loaded = wanted;
    picture.onload = () => end("there");
    picture.onerror = () => end("missing");
    picture.src = wanted;
  }

  /** The cell's photo has left: stop loading it. */
  cancel(cell) {
    cell.wanted = null;
    cell.loaded = null;
    cell.picture.onload = null;
    cell.picture.onerror = null;
    if (this.loading.delete(cell)) cell.picture.src = "";
    cell.picture.removeAttribute("src");
    cell.root.dataset.picture = "none";
  }

  /** Ask once more for pictures that did not come: the server is there again. */
  again(cells, address) {
    for (const cell of cells) {
      if (cell.root.dataset.picture !== "missing") continue;
      this.cancel(cell);
      cell.wanted = address(cell.number);
    }
    this.go();
  }
}
