// @ts-check
// Masks: one byte per pixel, row by row, 1 is lesion. Packed for the server as bits, the first in the highest place.

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/** @param {string} text base64 @param {number} count of pixels @returns {Uint8Array} */
export function unpack(text, count) {
  const bytes = atob(text);
  const mask = new Uint8Array(count);
  for (let i = 0; i < count; i++) mask[i] = (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
  return mask;
}

/** @param {Uint8Array} mask @param {number} stride @param {Box} box @returns {string} base64 of the box's pixels */
export function pack(mask, stride, box) {
  const bytes = new Uint8Array(Math.ceil((box.width * box.height) / 8));
  let place = 0;
  for (let y = box.y; y < box.y + box.height; y++) {
    for (let x = box.x; x < box.x + box.width; x++, place++) {
      if (mask[y * stride + x]) bytes[place >> 3] |= 128 >> (place & 7);
    }
  }
  let text = "";
  for (let start = 0; start < bytes.length; start += 8192) {
    text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(text);
}

/**
 * Writes a patch of the server into a mask.
 * @param {Uint8Array} mask @param {number} stride @param {Box & {bits: string}} patch
 */
export function put(mask, stride, patch) {
  const pixels = unpack(patch.bits, patch.width * patch.height);
  for (let row = 0; row < patch.height; row++) {
    const line = pixels.subarray(row * patch.width, (row + 1) * patch.width);
    mask.set(line, (patch.y + row) * stride + patch.x);
  }
}

/**
 * Draws a round brush along a line.
 * @param {Uint8Array} mask
 * @param {number} width @param {number} height of the image
 * @param {{x: number, y: number}} from @param {{x: number, y: number}} to in image pixels
 * @param {number} radius
 * @param {0|1} value
 * @returns {Box} the part that may have changed; empty outside of the image
 */
export function drawLine(mask, width, height, from, to, radius, value) {
  const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - radius));
  const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius));
  const right = Math.min(width, Math.ceil(Math.max(from.x, to.x) + radius) + 1);
  const bottom = Math.min(height, Math.ceil(Math.max(from.y, to.y) + radius) + 1);
  const alongX = to.x - from.x, alongY = to.y - from.y;
  const length = alongX * alongX + alongY * alongY;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const dx = x + 0.5 - from.x, dy = y + 0.5 - from.y;
      const along = length ? (dx * alongX + dy * alongY) / length : 0;
      const share = Math.min(1, Math.max(0, along));
      const awayX = dx - share * alongX, awayY = dy - share * alongY;
      if (awayX * awayX + awayY * awayY <= radius * radius) mask[y * width + x] = value;
    }
  }
  return { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
}

/** @param {Box|null} one @param {Box} other @returns {Box} the smallest box round both */
export function union(one, other) {
  if (!one || !one.width || !one.height) return other;
  if (!other.width || !other.height) return one;
  const x = Math.min(one.x, other.x), y = Math.min(one.y, other.y);
  const right = Math.max(one.x + one.width, other.x + other.width);
  const bottom = Math.max(one.y + one.height, other.y + other.height);
  return { x, y, width: right - x, height: bottom - y };
}

/** @param {Box} box @returns {string} the same for boxes at the same place */
export function boxKey({ x, y, width, height }) {
  return `${x},${y},${width},${height}`;
}

/**
 * A copy of a mask without the connected parts that have these boxes.
 * @param {Uint8Array} mask @param {number} width @param {number} height
 * @param {string[]} boxes as `boxKey` makes them
 * @returns {Uint8Array}
 */
export function withoutParts(mask, width, height, boxes) {
  const left = mask.slice(), seen = new Uint8Array(mask.length);
  for (let start = mask.indexOf(1); start >= 0; start = mask.indexOf(1, start + 1)) {
    if (seen[start]) continue;
    const part = partAt(mask, width, height, start, seen);
    if (boxes.includes(boxKey(boxOf(part, width)))) for (const place of part) left[place] = 0;
  }
  return left;
}

/**
 * The pixels of the 8-connected part that holds a pixel.
 * @param {Uint8Array} mask @param {number} width @param {number} height
 * @param {number} start a pixel of the part
 * @param {Uint8Array} seen 1 where a pixel was visited; the part is added
 * @returns {number[]}
 */
export function partAt(mask, width, height, start, seen) {
  const part = [start];
  seen[start] = 1;
  for (let next = 0; next < part.length; next++) {
    const y = Math.trunc(part[next] / width), x = part[next] % width;
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
      for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
        const place = row * width + column;
        if (!mask[place] || seen[place]) continue;
        seen[place] = 1;
        part.push(place);
      }
    }
  }
  return part;
}

/** @param {number[]} part places of pixels @param {number} width of the image @returns {Box} */
export function boxOf(part, width) {
  let left = Infinity, right = 0, top = Infinity, bottom = 0;
  for (const place of part) {
    const y = Math.trunc(place / width), x = place % width;
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return { x: left, y: top, width: right + 1 - left, height: bottom + 1 - top };
}

/**
 * The border of a mask along the edges of its pixels, as closed polygons in image pixels. One polygon is drawn many
 * times faster than its sides one by one.
 * @param {Uint8Array} mask @param {number} width @param {number} height
 * @returns {Path2D}
 */
export function outline(mask, width, height) {
  const path = new Path2D(), stride = width + 1, steps = [1, stride, -1, -stride];
  const leaving = edges(mask, width, height);
  for (const start of leaving.keys()) {
    let corner = start, previous = -1;
    for (let ways = leaving.get(corner); ways; ways = leaving.get(corner)) {
      const way = nextWay(ways, previous);
      if (ways === 1 << way) leaving.delete(corner);
      else leaving.set(corner, ways & ~(1 << way));
      const x = corner % stride, y = Math.trunc(corner / stride);
      if (previous < 0) path.moveTo(x, y);
      else if (way !== previous) path.lineTo(x, y);
      corner += steps[way];
      previous = way;
    }
    path.closePath();
  }
  return path;
}

/**
 * Where two pixels touch at a corner, the walk turns left and so goes on around the other pixel.
 * @param {number} ways one bit for each direction: right, down, left, up @param {number} previous direction, or -1
 * @returns {number}
 */
function nextWay(ways, previous) {
  const left = (previous + 3) % 4;
  if (previous >= 0 && ways & (1 << left)) return left;
  return 31 - Math.clz32(ways & -ways);
}

/**
 * The directions in which edges leave each corner of pixels; the lesion lies on their right hand.
 * @param {Uint8Array} mask @param {number} width @param {number} height
 * @returns {Map<number, number>}
 */
function edges(mask, width, height) {
  /** @type {Map<number, number>} */ const leaving = new Map();
  /** @param {number} x @param {number} y @param {number} way */
  const add = (x, y, way) => {
    const corner = y * (width + 1) + x;
    leaving.set(corner, (leaving.get(corner) ?? 0) | (1 << way));
  };
  const last = mask.lastIndexOf(1);
  for (let place = mask.indexOf(1); place >= 0 && place <= last; place++) {
    if (!mask[place]) continue;
    const x = place % width, y = Math.trunc(place / width);
    if (y === 0 || !mask[place - width]) add(x, y, 0);
    if (x === width - 1 || !mask[place + 1]) add(x + 1, y, 1);
    if (y === height - 1 || !mask[place + width]) add(x + 1, y + 1, 2);
    if (x === 0 || !mask[place - 1]) add(x, y + 1, 3);
  }
  return leaving;
}
