// @ts-check
// The ends of the calipers: taken, dragged and put down. What was put down is undone like a stroke.

import { boxKey } from "./mask.js";
import { send } from "./saver.js";
import { canDraw, onChange, state, update } from "./state.js";
import { shownLesions } from "./view.js";

/** @typedef {{x: number, y: number}} Point */
/** @typedef {import("./state.js").Lesion} Lesion */

const LINES = /** @type {const} */ (["longest_diameter_ends", "perpendicular_diameter_ends"]);
const LENGTHS = /** @type {const} */ (["longest_diameter", "perpendicular_diameter"]);
/** @type {{lesion: string, line: 0|1, end: 0|1, at: Point}|null} the end that is held, and where */ let held = null;
/** @type {Lesion[]} as the server knows them */ let before = [];
/** @type {Lesion[]} with the end where it is held */ let dragged = [];

/** Takes the end that is nearest to a point. @param {Point} point @param {number} reach in image pixels */
export function grabEnd(point, reach) {
  leaveEnd();
  if (!state.layers.calipers) update({ layers: { ...state.layers, calipers: true } });
  let nearest = reach;
  for (const lesion of shownLesions()) {
    for (const line of /** @type {const} */ ([0, 1])) {
      for (const end of /** @type {const} */ ([0, 1])) {
        const [x, y] = lesion[LINES[line]][end], away = Math.hypot(point.x - x, point.y - y);
        if (away >= nearest) continue;
        nearest = away;
        held = { lesion: boxKey(lesion.box), line, end, at: point };
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
  const x = Math.min(picture.width, Math.max(0, point.x)), y = Math.min(picture.height, Math.max(0, point.y));
  const { lesion: key, line, end } = held;
  held.at = { x, y };
  dragged = before.map((lesion) => (boxKey(lesion.box) === key ? withEnd(lesion, line, end, [x, y]) : lesion));
  update({ lesions: dragged });
}

/** Puts the end down. @returns {boolean} whether one was held */
export function dropEnd() {
  const key = held?.lesion, lesion = dragged.find((one) => boxKey(one.box) === key);
  if (!held || !lesion) return false;
  if (!canDraw()) return leaveEnd();  // the lesion may be another one in a moment
  held = null;
  send({ tool: "calipers", ...lesion.box, lines: LINES.map((line) => lesion[line].flat()) }, true);
  return true;
}

/** Leaves the end where it was. @returns {boolean} whether one was held */
export function leaveEnd() {
  if (!held) return false;
  held = null;
  update({ lesions: before });
  return true;
}

/** Back to the diameters that are worked out. @param {Lesion} [lesion] without it, of all */
export function forgetCalipers(lesion) {
  leaveEnd();
  send({ tool: "calipers", ...lesion?.box });
}

/** @param {Lesion} lesion @param {0|1} line @param {0|1} end @param {import("./state.js").Place} place @returns {Lesion} */
function withEnd(lesion, line, end, place) {
  const ends = lesion[LINES[line]].slice();
  ends[end] = place;
  return { ...lesion, by_hand: true, [LINES[line]]: ends, [LENGTHS[line]]: lengthOf(ends) };
}

/** @param {import("./state.js").Place[]} ends @returns {number} in the unit of the picture */
function lengthOf([[x0, y0], [x1, y1]]) {
  const numbers = state.unit === "mm" ? state.finding.spacing.split(/[\s,]+/).map(Number) : [1];
  const row = numbers[0], column = numbers[1] ?? row;
  return Math.hypot((x1 - x0) * column, (y1 - y0) * row);
}

onChange((changed) => {
  if (!held || !changed.has("lesions") || state.lesions === dragged) return;
  // The server has answered to something else. The end stays in the hand if its lesion is still there.
  before = state.lesions;
  const key = held.lesion;
  if (before.some(({ box }) => boxKey(box) === key)) dragEnd(held.at);
  else held = null;
});
