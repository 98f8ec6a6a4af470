// Pixels in and out of the network, with the numbers of the Python package: which input size an image
// gets, Pillow's Lanczos resizing, and the map brought back to the image's size. Knows no browser, so that
// the tests run it in Node.

const LOBES = 3;
const BITS = 22; // Pillow's weights are whole multiples of 2^-22
const TINY = 1.1754943508222875e-38; // the least normal float32: what a density has at least

/**
 * The input size of an image or a film.
 *
 * @param {number} height Of the image, in pixels.
 * @param {number} width Of the image, in pixels.
 * @param {number[][]} sizes The [height, width] to choose from; the nearest aspect ratio wins, ties the first.
 * @param {{frame: ?number[], input: number[]}} [trained] Of a film's domain: the size that it was trained
 *   at, for frames of any size, or of `frame` alone.
 * @returns {number[]} [height, width]
 */
export function inputSize(height, width, sizes, trained) {
  if (trained && (!trained.frame || (trained.frame[0] === height && trained.frame[1] === width))) {
    return trained.input;
  }
  const aspect = height / width;
  const likeness = ([h, w]) => Math.min(aspect, h / w) / Math.max(aspect, h / w);
  return sizes.reduce((best, size) => (likeness(size) > likeness(best) ? size : best));
}

/**
 * Resizes as Pillow's `Image.resize(size, LANCZOS)` does, bit for bit; alpha is dropped.
 *
 * @param {Uint8ClampedArray} rgba Of the image, [height, width, 4].
 * @param {number} width @param {number} height Of the image.
 * @param {number} toWidth @param {number} toHeight Of the result.
 * @returns {Uint8Array} RGB [toHeight, toWidth, 3]
 */
export function resizeLanczos(rgba, width, height, toWidth, toHeight) {
  const across = new Uint8Array(height * toWidth * 3);
  const columns = width === toWidth ? null : filters(width, toWidth);
  for (let y = 0; y < height; y++) {
    const row = y * width * 4;
    for (let x = 0, at = y * toWidth * 3; x < toWidth; x++, at += 3) {
      if (!columns) {
        for (let c = 0; c < 3; c++) across[at + c] = rgba[row + x * 4 + c];
        continue;
      }
      let red = 0, green = 0, blue = 0;
      const { starts, counts, weights, most } = columns;
      for (let tap = 0, from = row + starts[x] * 4; tap < counts[x]; tap++, from += 4) {
        const weight = weights[x * most + tap];
        red = (red + rgba[from] * weight) | 0;
        green = (green + rgba[from + 1] * weight) | 0;
        blue = (blue + rgba[from + 2] * weight) | 0;
      }
      across[at] = rounded(red);
      across[at + 1] = rounded(green);
      across[at + 2] = rounded(blue);
    }
  }
  if (height === toHeight) return across;
  const out = new Uint8Array(toHeight * toWidth * 3);
  const { starts, counts, weights, most } = filters(height, toHeight);
  const length = toWidth * 3;
  const sums = new Int32Array(length);
  for (let y = 0; y < toHeight; y++) {
    sums.fill(0);
    for (let tap = 0; tap < counts[y]; tap++) {
      const weight = weights[y * most + tap];
      const from = (starts[y] + tap) * length;
      for (let i = 0; i < length; i++) sums[i] += across[from + i] * weight;
    }
    for (let i = 0, at = y * length; i < length; i++) out[at + i] = rounded(sums[i]);
  }
  return out;
}

function rounded(sum) {
  const value = (sum + (1 << (BITS - 1))) >> BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** The filters from one length to another: of each output, the first input and whole-number weights. */
function filters(length, out) {
  const scale = length / out;
  const widened = Math.max(scale, 1);
  const reach = LOBES * widened;
  const most = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(out), counts = new Int32Array(out), weights = new Int32Array(out * most);
  for (let i = 0; i < out; i++) {
    const centre = (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const stop = Math.min(Math.trunc(centre + reach + 0.5), length);
    const values = [];
    let total = 0;
    for (let tap = start; tap < stop; tap++) {
      const value = lanczos((tap - centre + 0.5) / widened);
      values.push(value);
      total += value;
    }
    starts[i] = start;
    counts[i] = stop - start;
    values.forEach((value, tap) => {
      const share = (value / total) * (1 << BITS);
      weights[i * most + tap] = share < 0 ? Math.trunc(share - 0.5) : Math.trunc(share + 0.5);
    });
  }
  return { starts, counts, weights, most };
}

function lanczos(x) {
  const sinc = (at) => (at === 0 ? 1 : Math.sin(at * Math.PI) / (at * Math.PI));
  return x > -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

/**
 * Brings a density to another size: bilinear in the log-density with half-pixel centres, and normalised anew.
 *
 * @param {Float32Array} density [height, width], sums to 1.
 * @param {number} width @param {number} height Of the density.
 * @param {number} toWidth @param {number} toHeight Of the result.
 * @returns {Float32Array} [toHeight, toWidth], sums to 1
 */
export function resizeDensity(density, width, height, toWidth, toHeight) {
  if (width === toWidth && height === toHeight) return density;
  const logs = Float32Array.from(density, (value) => Math.log(Math.max(value, TINY)));
  const peak = logs.reduce((most, value) => Math.max(most, value), -Infinity);
  const columns = places(width, toWidth), rows = places(height, toHeight);
  const across = (y) => {
    const line = new Float32Array(toWidth);
    for (let x = 0; x < toWidth; x++) {
      const left = logs[y * width + columns.first[x]], right = logs[y * width + columns.second[x]];
      line[x] = left + (right - left) * columns.share[x];
    }
    return line;
  };
  const lines = new Map(); // the two rows in use
  const line = (y) => {
    if (!lines.has(y)) {
      for (const other of lines.keys()) if (other < y - 1) lines.delete(other);
      lines.set(y, across(y));
    }
    return lines.get(y);
  };
  const out = new Float32Array(toWidth * toHeight);
  let total = 0;
  for (let y = 0; y < toHeight; y++) {
    const above = line(rows.first[y]), below = line(rows.second[y]), share = rows.share[y];
    for (let x = 0, at = y * toWidth; x < toWidth; x++, at++) {
      out[at] = Math.exp(above[x] + (below[x] - above[x]) * share - peak);
      total += out[at];
    }
  }
  for (let at = 0; at < out.length; at++) out[at] /= total;
  return out;
}

function places(length, out) {
  const first = new Int32Array(out), second = new Int32Array(out), share = new Float64Array(out);
  for (let i = 0; i < out; i++) {
    const at = Math.min(Math.max(((i + 0.5) * length) / out - 0.5, 0), length - 1);
    first[i] = Math.floor(at);
    second[i] = Math.min(first[i] + 1, length - 1);
    share[i] = at - first[i];
  }
  return { first, second, share };
}

/**
 * The sum of a density in a box; cells that lie partly in it count in part.
 *
 * @param {{density: Float32Array, width: number, height: number}} map
 * @param {{x: number, y: number, width: number, height: number}} box In shares of the image's sides, 0 to 1.
 * @returns {number} 0 to 1
 */
export function shareInBox(map, box) {
  const columns = coverage(box.x, box.width, map.width), rows = coverage(box.y, box.height, map.height);
  let sum = 0;
  for (const [y, down] of rows) {
    let inRow = 0;
    for (const [x, part] of columns) inRow += map.density[y * map.width + x] * part;
    sum += inRow * down;
  }
  return sum;
}

function coverage(start, length, cells) {
  const from = Math.max(start, 0) * cells, to = Math.min(start + length, 1) * cells;
  const found = [];
  for (let cell = Math.floor(from); cell < Math.min(Math.ceil(to), cells); cell++) {
    found.push([cell, Math.min(to, cell + 1) - Math.max(from, cell)]);
  }
  return found;
}
