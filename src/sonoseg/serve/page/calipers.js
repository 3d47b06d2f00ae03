// @ts-check
// The ends of the calipers: taken, dragged and put down. What was put down is a part of the finding.

import { write } from "./saver.js";
import { state, update } from "./state.js";
import { shownLesions } from "./view.js";

/** @typedef {{x: number, y: number}} Point */

const LINES = /** @type {const} */ (["longest_diameter_ends", "perpendicular_diameter_ends"]);
const LENGTHS = /** @type {const} */ (["longest_diameter", "perpendicular_diameter"]);
/** @type {{lesion: number, line: 0|1, end: 0|1}|null} the end that is held */ let held = null;
/** @type {import("./state.js").Lesion[]} as they were when it was taken */ let before = [];

/** Takes the end that is nearest to a point. @param {Point} point @param {number} reach in image pixels */
export function grabEnd(point, reach) {
  held = null;
  if (!state.layers.calipers) update({ layers: { ...state.layers, calipers: true } });
  let nearest = reach;
  for (const lesion of shownLesions()) {
    for (const line of /** @type {const} */ ([0, 1])) {
      for (const end of /** @type {const} */ ([0, 1])) {
        const [x, y] = lesion[LINES[line]][end], away = Math.hypot(point.x - x, point.y - y);
        if (away >= nearest) continue;
        nearest = away;
        held = { lesion: state.lesions.indexOf(lesion), line, end };
      }
    }
  }
  before = state.lesions;
  if (held) dragEnd(point);
}

/** @param {Point} point where the end that is held lies now */
export function dragEnd(point) {
  const picture = state.picture;
  if (!held || !picture) return;
  const { lesion: place, line, end } = held;
  const x = Math.min(picture.width, Math.max(0, point.x)), y = Math.min(picture.height, Math.max(0, point.y));
  const old = state.lesions[place], ends = old[LINES[line]].slice();
  ends[end] = [x, y];
  const lesion = { ...old, by_hand: true, [LINES[line]]: ends, [LENGTHS[line]]: lengthOf(ends) };
  update({ lesions: state.lesions.map((one, number) => (number === place ? lesion : one)) });
}

/** Puts the end down. @returns {boolean} whether one was held */
export function dropEnd() {
  if (!held) return false;
  held = null;
  write({ calipers: pairs(state.lesions) });
  return true;
}

/** Leaves the end where it was. */
export function leaveEnd() {
  if (held) update({ lesions: before });
  held = null;
}

/** Back to the diameters that are worked out. @param {import("./state.js").Lesion} [lesion] without it, of all */
export function forgetCalipers(lesion) {
  write({ calipers: lesion ? pairs(state.lesions.filter((one) => one !== lesion)) : [] });
}

/** @param {import("./state.js").Lesion[]} lesions @returns {number[][][]} */
function pairs(lesions) {
  const own = lesions.filter((lesion) => lesion.by_hand);
  return own.map((lesion) => LINES.map((line) => lesion[line].flat()));
}

/** @param {import("./state.js").Place[]} ends @returns {number} in the unit of the picture */
function lengthOf([[x0, y0], [x1, y1]]) {
  const numbers = state.unit === "mm" ? state.finding.spacing.split(/[\s,]+/).map(Number) : [1];
  const row = numbers[0], column = numbers[1] ?? row;
  return Math.hypot((x1 - x0) * column, (y1 - y0) * row);
}
