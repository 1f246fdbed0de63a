/* Finding photos on the map: numbers in, numbers out, no page touched.

   A point is a place (0, 1, …) in the arrays x and y of whole numbers 0..65535. A grid of 256 × 256 cells lists the
   points of each cell, so that a question about a part of the map looks at that part alone. Polygons are flat:
   [x0, y0, x1, y1, …], closed by themselves. `may(place)` says whether a point takes part at all. */

const SIDE = 256; // cells in a row; a cell is 256 units wide

const cellOf = (unit) => Math.min(SIDE - 1, Math.max(0, Math.floor(unit / 256)));

/** Return the grid of these points: `items` are the places cell by cell, `start[c]` where cell c begins. */
export function gridOf(x, y) {
  const start = new Uint32Array(SIDE * SIDE + 1);
  for (let k = 0; k < x.length; k += 1) start[cellOf(y[k]) * SIDE + cellOf(x[k]) + 1] += 1;
  for (let c = 0; c < SIDE * SIDE; c += 1) start[c + 1] += start[c];
  const next = start.slice(0, -1);
  const items = new Uint32Array(x.length);
  for (let k = 0; k < x.length; k += 1) items[next[cellOf(y[k]) * SIDE + cellOf(x[k])]++] = k;
  return { x, y, start, items };
}

/** Return whether a point is inside a polygon by the even-odd rule: a loop within a loop is outside. */
export function isInside(polygon, x, y) {
  let inside = false;
  for (let k = 0, last = polygon.length - 2; k < polygon.length; last = k, k += 2) {
    const [ax, ay, bx, by] = [polygon[last], polygon[last + 1], polygon[k], polygon[k + 1]];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
  }
  return inside;
}

/** Return the places inside a polygon, in rising order. */
export function inPolygon(grid, polygon, may) {
  const crossed = cellsCrossed(polygon);
  const found = [];
  let [top, bottom] = [SIDE - 1, 0];
  for (let k = 1; k < polygon.length; k += 2) {
    top = Math.min(top, cellOf(polygon[k]));
    bottom = Math.max(bottom, cellOf(polygon[k]));
  }
  for (let row = top; row <= bottom; row += 1) {
    let known = null; // whether cells here are inside; it changes only where the outline passes
    for (let column = 0; column < SIDE; column += 1) {
      const cell = row * SIDE + column;
      const [from, to] = [grid.start[cell], grid.start[cell + 1]];
      if (crossed[cell]) {
        known = null;
        for (let k = from; k < to; k += 1) {
          const place = grid.items[k];
          if (may(place) && isInside(polygon, grid.x[place], grid.y[place])) found.push(place);
        }
      } else if (from < to) {
        known ??= isInside(polygon, column * 256 + 128, row * 256 + 128);
        for (let k = from; known && k < to; k += 1) if (may(grid.items[k])) found.push(grid.items[k]);
      }
    }
  }
  return found.sort((a, b) => a - b);
}

/** Return a mark for each cell: whether the polygon's outline passes through it. */
function cellsCrossed(polygon) {
  const crossed = new Uint8Array(SIDE * SIDE);
  for (let k = 0, last = polygon.length - 2; k < polygon.length; last = k, k += 2) {
    let [ax, ay, bx, by] = [polygon[last], polygon[last + 1], polygon[k], polygon[k + 1]];
    if (ay > by) [ax, ay, bx, by] = [bx, by, ax, ay];
    for (let row = cellOf(ay); row <= cellOf(by); row += 1) {
      // The part of the edge within this row of cells.
      const share = (y) => (by > ay ? Math.min(1, Math.max(0, (y - ay) / (by - ay))) : 0);
      const [from, to] = by > ay ? [share(row * 256), share((row + 1) * 256)] : [0, 1];
      const [left, right] = [ax + from * (bx - ax), ax + to * (bx - ax)].sort((a, b) => a - b);
      crossed.fill(1, row * SIDE + cellOf(left), row * SIDE + cellOf(right) + 1);
    }
  }
  return crossed;
}

/** Call `each(place, squared distance)` for the points within a radius. */
function around(grid, x, y, radius, may, each) {
  for (let row = cellOf(y - radius); row <= cellOf(y + radius); row += 1) {
    const first = grid.start[row * SIDE + cellOf(x - radius)];
    const end = grid.start[row * SIDE + cellOf(x + radius) + 1];
    for (let k = first; k < end; k += 1) {
      const place = grid.items[k];
      const far = (grid.x[place] - x) ** 2 + (grid.y[place] - y) ** 2;
      if (far <= radius * radius && may(place)) each(place, far);
    }
  }
}

/** Return the places within a circle, in rising order. */
export function inCircle(grid, x, y, radius, may) {
  const found = [];
  around(grid, x, y, radius, may, (place) => found.push(place));
  return found.sort((a, b) => a - b);
}

/** Return the place nearest to a point, -1 if none lies within the radius. */
export function nearest(grid, x, y, radius, may) {
  let [best, least] = [-1, Infinity];
  around(grid, x, y, radius, may, (place, far) => {
    if (far < least) [best, least] = [place, far];
  });
  return best;
}

/** Return a selection after a further one: it replaces, or is added ('add') or taken away ('subtract'). */
export function combined(before, places, how) {
  if (how === "add") return [...new Set([...before, ...places])].sort((a, b) => a - b);
  if (how === "subtract") {
    const gone = new Set(places);
    return before.filter((place) => !gone.has(place));
  }
  return places;
}
