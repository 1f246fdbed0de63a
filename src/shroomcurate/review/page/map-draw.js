/* Drawing up to 250,000 points by the processor alone: dots are blended into a buffer of pixels, one stamp a point.

   Colours are numbers 0xBBGGRR, as pixels lie in memory. All lengths are device pixels. */

const MARGIN = 16; // around the buffer, so that a dot on the edge needs no clipping

/** Return '#rrggbb' as a number 0xBBGGRR. */
export function packed(hex) {
  const value = Number.parseInt(hex.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}

/** Return a colour mixed with another, `share` of it 0..1. */
export function mixed(colour, other, share) {
  let result = 0;
  for (const shift of [0, 8, 16]) {
    const part = ((colour >> shift) & 255) * (1 - share) + ((other >> shift) & 255) * share;
    result |= Math.round(part) << shift;
  }
  return result;
}

/** Return the radius of a dot in CSS pixels: smaller where there are many, larger closer by. */
export const dotRadius = (count, zoom) =>
  Math.min(7, Math.max(1.1, Math.min(4, 2.2 * (20000 / Math.max(1, count)) ** 0.22)) * zoom ** 0.35);

/** Return how opaque a dot is, 0..1, so that many of them show where they are dense. */
export const dotOpacity = (count, zoom) =>
  Math.min(0.9, Math.max(0.4, Math.min(0.85, 0.85 * (20000 / Math.max(1, count)) ** 0.25)) * zoom ** 0.3);

/** Return a round stamp: `size` pixels wide, `cover` 0..256 of each pixel. */
export function stamp(radius, opacity) {
  const half = Math.ceil(radius - 0.5);
  const size = 2 * half + 1;
  const cover = new Uint16Array(size * size);
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const edge = radius + 0.5 - Math.hypot(row - half, column - half);
      cover[row * size + column] = Math.round(256 * opacity * Math.min(1, Math.max(0, edge)));
    }
  }
  return { size, half, cover };
}

/** Return the places in an order that is the same every time and favours nobody. */
export function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, k) => k);
  let state = 1;
  for (let k = count - 1; k > 0; k -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator
    const other = Math.floor((state / 4294967296) * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

/** Return the order sorted by layer (0..3, 255 is not drawn), within a layer as before. */
export function layered(order, layer) {
  const start = new Uint32Array(5);
  for (const place of order) if (layer[place] < 4) start[layer[place] + 1] += 1;
  for (let k = 0; k < 4; k += 1) start[k + 1] += start[k];
  const sorted = new Uint32Array(start[4]);
  for (const place of order) if (layer[place] < 4) sorted[start[layer[place]]++] = place;
  return sorted;
}

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    canvas.hidden = true; // black before it is painted
    this.count = 0;
  }

  /** Take over what to draw; `order` are the places from the lowest to the topmost. */
  take(x, y, colours, order) {
    this.count = order.length;
    this.x = Float32Array.from(order, (place) => x[place]);
    this.y = Float32Array.from(order, (place) => y[place]);
    this.colours = Uint32Array.from(order, (place) => colours[place]);
  }

  /** Draw all points, or every `stride`-th. A point stands at x · scale + left, y · scale + top. */
  paint({ width, height, scale, left, top, radius, opacity, paper, stride = 1 }) {
    this.#fit(width, height);
    const { pixels, wide, x, y, colours, count } = this;
    pixels.fill(0xff000000 | paper);
    const { size, half, cover } = stamp(Math.min(radius, MARGIN - 2), opacity);
    for (let k = 0; k < count; k += stride) {
      const px = x[k] * scale + left;
      const py = y[k] * scale + top;
      if (px < -half || py < -half || px >= width + half || py >= height + half) continue;
      let at = (Math.floor(py) + MARGIN - half) * wide + Math.floor(px) + MARGIN - half;
      const colour = colours[k];
      const [redBlue, green] = [colour & 0xff00ff, colour & 0x00ff00];
      for (let row = 0, c = 0; row < size; row += 1, at += wide) {
        for (let pixel = at; pixel < at + size; pixel += 1, c += 1) {
          const share = cover[c];
          if (!share) continue;
          const under = pixels[pixel];
          const a = under & 0xff00ff;
          const b = under & 0x00ff00;
          // Red and blue are mixed in one multiplication: eight bits lie free above each.
          pixels[pixel] = 0xff000000 | ((a + (Math.imul(redBlue - a, share) >> 8)) & 0xff00ff)
            | ((b + (((green - b) * share) >> 8)) & 0x00ff00);
        }
      }
    }
    this.context.putImageData(this.image, -MARGIN, -MARGIN);
    this.canvas.hidden = false;
  }

  #fit(width, height) {
    if (this.canvas.width === width && this.canvas.height === height && this.image) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.wide = width + 2 * MARGIN;
    this.image = new ImageData(this.wide, height + 2 * MARGIN);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }
}
