// @ts-check
// Opens an image, or a frame of a loop.

import { getFloats, getJson } from "./api.js";
import { fetchAhead, pixelsOf, pixelsOfVersion } from "./frames.js";
import { unpack } from "./mask.js";
import { settled, takeDescription } from "./saver.js";
import { state, update } from "./state.js";

let opening = 0;

/** Opens an image once all edits of the last one are saved. @param {string} id @returns {Promise<boolean>} whether it is shown */
export async function open(id) {
  const number = ++opening;
  performance.mark(`open ${id}`);
  update({ isOpening: true, isPlaying: false, message: "" });
  try {
    // If an edit is refused, its image stays, beside the line that says why.
    return (await settled()) && number === opening && (await load(id, number));
  } finally {
    if (number === opening) update({ isOpening: false });
  }
}

/**
 * @param {string} id @param {number} number of the call of `open`; if there is a later one, nothing is shown
 * @returns {Promise<boolean>} whether it is shown
 */
async function load(id, number) {
  const [shown] = await Promise.all([getJson(`images/${id}`), pixelsOf(id)]);
  const pixels = await pixelsOfVersion(id, shown.version);
  if (number !== opening) return false;
  const { scene, frame, frames, frameTime, name, place, width, height, version, smallest, threshold, finding } = shown;
  const isSameLoop = state.picture?.scene === scene;
  const picture = {
    id: shown.id, scene, frame, frames, frameTime, name, place, width, height, version, pixels, map: null,
    mapSize: shown.map, smallest, ownThreshold: threshold,
  };
  const mask = unpack(shown.mask, width * height);
  const cursor = isSameLoop ? state.cursor : null;
  if (!isSameLoop) update({ shares: [], frameStates: {} });
  update({ picture, mask, preview: null, finding, threshold, heat: null, cursor, box: null, link: null, hidden: [], isStale: false });
  takeDescription(shown, picture.id);
  history.replaceState(null, "", `#${id}`);
  lookAhead(picture);
  return true;
}

/** @param {import("./state.js").Picture} picture */
function lookAhead({ scene, frame, frames }) {
  for (let next = frame + 1; next <= Math.min(frames, frame + 3); next++) fetchAhead(`${scene}-${next}`);
  const place = state.entries.findIndex((entry) => entry.id === scene);
  const following = state.entries[place + 1];
  if (following) fetchAhead(firstImage(following));
}

/** @param {import("./state.js").Entry} entry @returns {string} the identifier of its first frame */
export function firstImage({ id, frames }) {
  return frames > 1 ? `${id}-1` : id;
}

/** @returns {Promise<Float32Array>} the network's map of the open image */
export function mapOfPicture() {
  const picture = state.picture;
  if (!picture) return Promise.resolve(new Float32Array(0));
  picture.map ??= getFloats(`images/${picture.id}/map`);
  return picture.map;
}
