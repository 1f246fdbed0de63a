/* Where each photo stands on the wall: arithmetic of numbers that touches no page.

   A wall is a list of photos cut into sections. Each section has a heading and then rows of square cells.
   Lengths are CSS pixels. `top` and `bottom` are places within the whole wall, 0 at its upper end. */

/* Browsers lay out no element higher than this (Firefox 17.8 million pixels, Chromium 33 million). A higher wall
   (250,000 photos in two columns of a phone) scrolls a little faster than the finger instead. */
export const HIGHEST = 15_000_000;

/* What stands below a photo in its cell, between cells, and above a section. */
export const CAPTION = 22;
export const GAP = 6;
export const HEADING = 44;

const SIZES = { narrow: [84, 116, 180], wide: [104, 152, 232] };
export const STEPS = SIZES.wide.length;

/** Return the least side of a cell at this zoom step (0, 1, 2) on a wall of this width. */
export function cellSize(width, step) {
  return (width < 600 ? SIZES.narrow : SIZES.wide)[step];
}

/** Return the plan of a wall: `columns`, the `side` of a photo, the height of a `row`, and of each section its upper
 * end in `tops`, its first column in `lefts` and its number of columns in `spans`. Small sections that follow each
 * other, as groups of duplicates do, share a shelf of one row. */
export function plan(sections, width, step) {
  const columns = Math.max(1, Math.floor((width + GAP) / (cellSize(width, step) + GAP)));
  const side = Math.max(1, Math.floor((width - GAP * (columns - 1)) / columns));
  const row = side + CAPTION + GAP;
  const spans = shelves(sections, columns);
  const lefts = [];
  const tops = [];
  let top = 0;
  let left = 0;
  sections.forEach((section, k) => {
    lefts.push(left);
    tops.push(top);
    left += spans[k];
    if (left + (spans[k + 1] ?? columns) <= columns && left > 0) return;
    left = 0;
    top += HEADING + Math.ceil(section.count / spans[k]) * row;
  });
  tops.push(top);
  return { sections, columns, side, row, tops, lefts, spans, height: top };
}

/** Return how many columns each section takes: all of them, unless two or more sections fit beside each other. */
function shelves(sections, columns) {
  const least = ({ count }) => Math.max(2, count); // in less room a heading cannot be read
  const spans = [];
  for (let k = 0; k < sections.length;) {
    let end = k;
    let taken = 0;
    while (end < sections.length && taken + least(sections[end]) <= columns) {
      taken += least(sections[end]);
      end += 1;
    }
    if (end - k > 1) for (; k < end; k += 1) spans.push(least(sections[k]));
    else {
      spans.push(columns);
      k += 1;
    }
  }
  return spans;
}

/** Return the last place of a rising list whose number is not above the value. */
function lastNotAbove(count, at, value) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(middle) <= value) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

/** Return which section holds the photo at this place of the order. */
export function sectionOf(wall, index) {
  return lastNotAbove(wall.sections.length, (k) => wall.sections[k].start, index);
}

/** Return the left upper corner of the cell at this place of the order. */
export function corner(wall, index) {
  const k = sectionOf(wall, index);
  const within = index - wall.sections[k].start;
  return {
    x: (wall.lefts[k] + (within % wall.spans[k])) * (wall.side + GAP),
    y: wall.tops[k] + HEADING + Math.floor(within / wall.spans[k]) * wall.row,
  };
}

/** Return the first section of the shelf on which this one stands. */
function shelfOf(wall, k) {
  let first = k;
  while (wall.lefts[first] > 0) first -= 1;
  return first;
}

/** Return the sections [first, last) that touch what lies between top and bottom. */
export function sectionsBetween(wall, top, bottom) {
  if (!wall.sections.length) return [0, 0];
  const at = (k) => wall.tops[k];
  const first = shelfOf(wall, lastNotAbove(wall.sections.length, at, top));
  return [first, lastNotAbove(wall.sections.length, at, bottom) + 1];
}

/** Return the photos [first, last), as places of the order, whose rows touch what lies between top and bottom. */
export function photosBetween(wall, top, bottom) {
  const [first, last] = sectionsBetween(wall, top, bottom);
  if (first === last) return [0, 0];
  const rowsAbove = (k, y, round) => round((y - wall.tops[k] - HEADING) / wall.row);
  const start = (k, rows) => {
    const { start: begin, count } = wall.sections[k];
    return begin + Math.min(count, Math.max(0, rows) * wall.spans[k]);
  };
  return [start(first, rowsAbove(first, top, Math.floor)), start(last - 1, rowsAbove(last - 1, bottom, Math.ceil))];
}

/** Return the place to which an arrow or a paging key leads from this one. */
export function step(wall, index, key, rowsPerPage) {
  const end = wall.sections.at(-1).start + wall.sections.at(-1).count - 1;
  switch (key) {
    case "ArrowLeft": return Math.max(0, index - 1);
    case "ArrowRight": return Math.min(end, index + 1);
    case "Home": return 0;
    case "End": return end;
    case "PageUp": return pages(wall, index, -rowsPerPage);
    case "PageDown": return pages(wall, index, rowsPerPage);
    case "ArrowUp": return above(wall, index);
    case "ArrowDown": return below(wall, index);
    default: return index;
  }
}

function above(wall, index) {
  const k = sectionOf(wall, index);
  const within = index - wall.sections[k].start;
  if (within >= wall.spans[k]) return index - wall.spans[k];
  const shelf = shelfOf(wall, k);
  return shelf === 0 ? index : onShelf(wall, shelf - 1, wall.lefts[k] + within, true);
}

function below(wall, index) {
  const k = sectionOf(wall, index);
  const { start, count } = wall.sections[k];
  const [within, span] = [index - start, wall.spans[k]];
  if (within + span < count) return index + span;
  if (within < Math.floor((count - 1) / span) * span) return start + count - 1;
  let next = k + 1;
  while (next < wall.sections.length && wall.lefts[next] > 0) next += 1;
  if (next === wall.sections.length) return index;
  while (next + 1 < wall.sections.length && wall.lefts[next + 1] > 0) next += 1;
  return onShelf(wall, next, wall.lefts[k] + (within % span), false);
}

/** Return the photo in this column of the shelf that ends with section `last`: of its last row, or of its first. */
function onShelf(wall, last, column, lastRow) {
  let k = last;
  while (wall.lefts[k] > column) k -= 1;
  const { start, count } = wall.sections[k];
  const row = lastRow ? Math.floor((count - 1) / wall.spans[k]) * wall.spans[k] : 0;
  return start + Math.min(count - 1, row + column - wall.lefts[k]);
}

/** Return the place so many rows further down (or up), in the same column where there is one. */
function pages(wall, index, rows) {
  let place = index;
  for (let k = 0; k < Math.abs(rows); k += 1) place = rows < 0 ? above(wall, place) : below(wall, place);
  return place;
}

/* Between the scroll bar and the wall. They are the same unless the wall is higher than HIGHEST. */

/** Return where on the wall the window's upper end is when the scroll bar is at `scroll`. */
export function toWall(height, view, scroll) {
  if (height <= HIGHEST) return scroll;
  return (scroll / (HIGHEST - view)) * (height - view);
}

/** Return where the scroll bar must be for the window's upper end to be at `top` of the wall. */
export function toScroll(height, view, top) {
  if (height <= HIGHEST) return top;
  return (top / (height - view)) * (HIGHEST - view);
}
