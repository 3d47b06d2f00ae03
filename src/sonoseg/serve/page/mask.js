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

/**
 * The border of a mask along the edges of its pixels, as straight lines in image pixels.
 * @param {Uint8Array} mask @param {number} width @param {number} height
 * @returns {Path2D}
 */
export function outline(mask, width, height) {
  const path = new Path2D();
  /** @param {number} x @param {number} y */
  const at = (x, y) => (x >= 0 && y >= 0 && x < width && y < height ? mask[y * width + x] : 0);
  for (let y = 0; y <= height; y++) {
    let start = -1;
    for (let x = 0; x <= width; x++) {
      const isBorder = at(x, y - 1) !== at(x, y);
      if (isBorder && start < 0) start = x;
      if (!isBorder && start >= 0) {
        path.moveTo(start, y);
        path.lineTo(x, y);
        start = -1;
      }
    }
  }
  for (let x = 0; x <= width; x++) {
    let start = -1;
    for (let y = 0; y <= height; y++) {
      const isBorder = at(x - 1, y) !== at(x, y);
      if (isBorder && start < 0) start = y;
      if (!isBorder && start >= 0) {
        path.moveTo(x, start);
        path.lineTo(x, y);
        start = -1;
      }
    }
  }
  return path;
}
