// @ts-check
// Pixels of images and frames, fetched ahead and kept while there is room.

import { getVersioned } from "./api.js";

const MOST_PIXELS = 64e6;
/** @typedef {{picture: ImageBitmap, version: string}} Pixels and the version of the file that they are of */

/** @type {Map<string, Promise<Pixels>>} the one that was used last at the end */
const kept = new Map();
/** @type {Map<string, number>} pixels of those that have arrived */
const sizes = new Map();

/** @param {string} id @returns {Promise<ImageBitmap>} */
export async function pixelsOf(id) {
  return (await versionedPixels(id)).picture;
}

/** Fetches them again if another file has taken the name. @param {string} id @param {string} version @returns {Promise<ImageBitmap>} */
export async function pixelsOfVersion(id, version) {
  const known = await versionedPixels(id);
  if (known.version === version) return known.picture;
  kept.delete(id);
  return pixelsOf(id);
}

/** @param {string} id @returns {Promise<Pixels>} */
function versionedPixels(id) {
  const known = kept.get(id);
  kept.delete(id);
  const wanted = known ?? load(id);
  kept.set(id, wanted);
  return wanted;
}

/** @param {string} id @returns {Promise<Pixels>} */
async function load(id) {
  try {
    const loaded = await getVersioned(`images/${id}/pixels.bmp`);
    sizes.set(id, loaded.picture.width * loaded.picture.height);
    makeRoom();
    return loaded;
  } catch (error) {
    kept.delete(id);
    throw error;
  }
}

/** Forgets the images that were not used for longest. */
function makeRoom() {
  let sum = 0;
  for (const size of sizes.values()) sum += size;
  for (const id of [...kept.keys()].slice(0, -2)) {
    if (sum <= MOST_PIXELS) return;
    sum -= sizes.get(id) ?? 0;
    sizes.delete(id);
    kept.delete(id);
  }
}

/** Fetches what will probably be looked at next. @param {string} id */
export function fetchAhead(id) {
  pixelsOf(id).catch(() => {});  // it is asked for again when it is needed, and then says why
}
