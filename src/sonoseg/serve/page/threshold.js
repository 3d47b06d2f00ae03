// @ts-check
// The mask at any threshold, from the network's map: the same steps, and the same float32 numbers, as on the server.

import { partAt } from "./mask.js";

const round = Math.fround;

/**
 * For each wanted pixel along an axis the pixel of the map before it, and how far it is on the way to the next.
 * @param {number} count of the map's pixels @param {number} wanted
 * @returns {{before: Int32Array, share: Float32Array}}
 */
function between(count, wanted) {
  const before = new Int32Array(wanted), share = new Float32Array(wanted);
  for (let i = 0; i < wanted; i++) {
    const at = Math.min(count - 1, Math.max(0, (i + 0.5) * (count / wanted) - 0.5));
    before[i] = Math.min(Math.trunc(at), count - 2);
    share[i] = at - before[i];
  }
  return { before, share };
}

/** @param {number} low @param {number} high @param {number} share @returns {number} as float32 */
function mix(low, high, share) {
  return round(round(round(high - low) * share) + low);
}

/**
 * The map at the image's size.
 * @param {Float32Array} map @param {[number, number]} mapSize rows, columns
 * @param {number} width @param {number} height of the image
 * @returns {Float32Array}
 */
export function enlarge(map, [mapRows, mapColumns], width, height) {
  const down = between(mapRows, height), across = between(mapColumns, width);
  const large = new Float32Array(width * height), line = new Float32Array(mapColumns);
  for (let y = 0; y < height; y++) {
    const first = down.before[y] * mapColumns;
    for (let x = 0; x < mapColumns; x++) {
      line[x] = mix(map[first + x], map[first + mapColumns + x], down.share[y]);
    }
    for (let x = 0; x < width; x++) {
      const column = across.before[x];
      large[y * width + x] = mix(line[column], line[column + 1], across.share[x]);
    }
  }
  return large;
}

/**
 * The pixels of at least a threshold, without parts of under `smallest` pixels (8-connected).
 * @param {Float32Array} large @param {number} width @param {number} height
 * @param {number} threshold @param {number} smallest
 * @returns {Uint8Array}
 */
export function maskAt(large, width, height, threshold, smallest) {
  const mask = new Uint8Array(width * height);
  for (let i = 0; i < mask.length; i++) mask[i] = large[i] >= threshold ? 1 : 0;
  if (smallest <= 1) return mask;
  const seen = new Uint8Array(mask.length);
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const part = partAt(mask, width, height, start, seen);
    if (part.length < smallest) for (const place of part) mask[place] = 0;
  }
  return mask;
}
