// @ts-check
// What the pointer, and the cross of the keyboard, do to the mask.

import { dragEnd, dropEnd, grabEnd, leaveEnd } from "./calipers.js";
import { boxKey, drawLine, pack, union } from "./mask.js";
import { send } from "./saver.js";
import { canDraw, isLocked, onChange, state, update } from "./state.js";
import { maskChanged, onCanvas, overlay, pan, shownLesions, toImage, zoom } from "./view.js";

/** @typedef {{x: number, y: number}} Point */

/** @type {Map<number, Point>} canvas places of the fingers and the mouse that are down */
const pointers = new Map();
/** @type {Point|null} */ let last = null;
/** @type {Point|null} */ let corner = null;
/** @type {import("./mask.js").Box|null} */ let changed = null;
/** @type {Uint8Array|null} the mask as it was when the brush was put down */ let before = null;
/** @type {0|1} what the stroke paints: lesion or not */ let ink = 1;
let isPanning = false;
/** Whether the pointer was put down on the image that is open, to draw. */ let isHeld = false;
/** Whether the cross of the keyboard draws a cut. */ let isCutting = false;
/** Half the width of a cut, in pixels: no two pixels touch across it. */
const CUT = 1.01;

/** @param {Point} point @returns {boolean} whether it lies in the image */
function isInside({ x, y }) {
  const picture = state.picture;
  return picture !== null && x >= 0 && y >= 0 && x < picture.width && y < picture.height;
}

/** @param {Point} point @returns {Point} the pixel that holds it */
function pixelAt({ x, y }) {
  return { x: Math.floor(x), y: Math.floor(y) };
}

/** Grows, or deletes, at a point. @param {Point} point image pixels */
function click(point) {
  if (isInside(point)) send({ tool: state.tool, ...pixelAt(point) });
}

/** @returns {boolean} whether the tool draws strokes */
function isStroke() {
  return ["brush", "eraser", "push", "cut"].includes(state.tool);
}

/** Decides what a stroke paints: one that pushes paints what it begins on. @param {Point} point image pixels */
function beginStroke(point) {
  const { x, y } = pixelAt(point), width = state.picture?.width ?? 0;
  const isLesion = isInside(point) && state.mask[y * width + x] === 1;
  ink = state.tool === "brush" || (state.tool === "push" && isLesion) ? 1 : 0;
  before = state.mask.slice();
  draw(point, point);
}

/** @param {Point} from @param {Point} to image pixels */
function draw(from, to) {
  const picture = state.picture;
  if (!picture) return;
  const box = drawLine(state.mask, picture.width, picture.height, from, to, state.tool === "cut" ? CUT : state.brush, ink);
  changed = union(changed, box);
  maskChanged();
}

/** Sends what was drawn since the brush was put down. */
function endStroke() {
  if (state.picture && changed && changed.width > 0 && changed.height > 0) {
    const bits = pack(state.mask, state.picture.width, changed);
    const tool = state.tool === "cut" ? "cut" : ink ? "brush" : "eraser";
    send({ tool, ...changed, bits }, true);
  }
  changed = null;
}

/** Takes back what was drawn since the brush was put down: it was the first finger of two. */
function dropStroke() {
  if (changed && before?.length === state.mask.length) state.mask.set(before);
  changed = null;
  maskChanged();
}

/** @param {Point} from @param {Point} to @returns {import("./mask.js").Box} whole pixels inside the image */
function boxOf(from, to) {
  const picture = /** @type {import("./state.js").Picture} */ (state.picture);
  const left = Math.max(0, Math.floor(Math.min(from.x, to.x)));
  const top = Math.max(0, Math.floor(Math.min(from.y, to.y)));
  const right = Math.min(picture.width, Math.ceil(Math.max(from.x, to.x)));
  const bottom = Math.min(picture.height, Math.ceil(Math.max(from.y, to.y)));
  return { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
}

function endBox() {
  const box = state.box;
  update({ box: null });
  corner = null;
  if (box && box.width >= 4 && box.height >= 4) send({ tool: "box", ...box });
}

/** Joins the lesions at the two ends of the line that was drawn. */
function endLink() {
  const link = state.link;
  update({ link: null });
  corner = null;
  if (!link) return;
  const [from, to] = link.map(([x, y]) => pixelAt({ x, y }));
  send({ tool: "join", ...from, width: to.x - from.x, height: to.y - from.y });
}

/** Begins what takes two points: a box, or a line from lesion to lesion. @param {Point} point image pixels */
function beginPair(point) {
  corner = point;
  movePair(point);
}

/** @param {Point} point image pixels */
function movePair(point) {
  const picture = state.picture;
  if (!corner || !picture) return;
  if (state.tool === "box") update({ box: boxOf(corner, point) });
  const x = Math.min(picture.width - 0.5, Math.max(0, point.x)), y = Math.min(picture.height - 0.5, Math.max(0, point.y));
  if (state.tool === "join") update({ link: [[corner.x, corner.y], [x, y]] });
}

function endPair() {
  if (state.tool === "box") endBox();
  else endLink();
}

/** @returns {boolean} whether the tool takes two points */
function isPair() {
  return state.tool === "box" || state.tool === "join";
}

/** Hides the lesion under the cross, or shows all again where there is none. */
export function hideAtCross() {
  const cursor = state.cursor;
  const lesion = cursor && shownLesions().find(({ box: { x, y, width, height } }) =>
    cursor.x >= x && cursor.y >= y && cursor.x < x + width && cursor.y < y + height);
  update({ hidden: lesion ? [...state.hidden, boxKey(lesion.box)] : [] });
}

/** Uses the tool at the cross, as a click would. A box takes two: one for each corner, and so
    does a line from lesion to lesion, and the end of a caliper: taken, then put down. */
export function useAtCross() {
  const cursor = state.cursor;
  if (!cursor || !canDraw()) return;
  const point = { x: cursor.x + 0.5, y: cursor.y + 0.5 };
  if (state.tool === "grow" || state.tool === "delete") click(point);
  else if (state.tool === "cut") {
    if (isCutting) endStroke();
    else beginStroke(point);
    isCutting = !isCutting;
  } else if (isStroke()) {
    beginStroke(point);
    endStroke();
  } else if (isPair() && corner) endPair();
  else if (isPair()) beginPair(point);
  else if (state.tool === "calipers" && !dropEnd()) grabEnd(point, Infinity);
}

/** @param {number} dx @param {number} dy in image pixels */
export function moveCross(dx, dy) {
  const picture = state.picture;
  if (!picture) return;
  const old = state.cursor ?? { x: Math.floor(picture.width / 2), y: Math.floor(picture.height / 2) };
  const x = Math.min(picture.width - 1, Math.max(0, Math.floor(old.x) + dx));
  const y = Math.min(picture.height - 1, Math.max(0, Math.floor(old.y) + dy));
  update({ cursor: { x, y } });
  if (state.tool === "cut" && isCutting) {
    draw({ x: old.x + 0.5, y: old.y + 0.5 }, { x: x + 0.5, y: y + 0.5 });
  }
  movePair({ x: x + 0.5, y: y + 0.5 });
  dragEnd({ x: x + 0.5, y: y + 0.5 });
}

/** Takes back what is being drawn: it must not get to the next image. */
function letGo() {
  if (last || isCutting) dropStroke();
  last = null;
  isHeld = false;
  cancel();
}

/** Leaves a box, a line, a cut or the end of a caliper that is in hand. @returns {boolean} whether there was one */
export function cancel() {
  const had = corner !== null || isCutting, hadEnd = leaveEnd();
  corner = null;
  if (isCutting) dropStroke();
  isCutting = false;
  update({ box: null, link: null });
  return had || hadEnd;
}

overlay.addEventListener("pointerdown", (event) => {
  if (!state.picture) return;
  event.preventDefault();
  overlay.focus({ preventScroll: true });
  overlay.setPointerCapture(event.pointerId);
  const place = onCanvas(event), point = toImage(place);
  pointers.set(event.pointerId, place);
  isPanning = pointers.size > 1 || event.button !== 0 || state.tool === "pan";
  if (isPanning) {
    dropStroke();
    cancel();
    last = null;
    return;
  }
  isHeld = canDraw();
  if (!isHeld) return;
  update({ message: "" });
  if (isStroke()) {
    last = point;
    beginStroke(point);
  } else if (isPair() && isInside(point)) beginPair(point);
  else if (state.tool === "calipers") grabEnd(point, reachOf(event));
});

overlay.addEventListener("pointermove", (event) => {
  const place = onCanvas(event), old = pointers.get(event.pointerId);
  if (state.picture && event.pointerType === "mouse") {
    update({ cursor: pixelAt(toImage(place)) });
  }
  if (!old) return;
  if (isPanning) moveView(event.pointerId, old, place);
  else if (last) {
    const point = toImage(place);
    draw(last, point);
    last = point;
  } else if (corner) movePair(toImage(place));
  else dragEnd(toImage(place));
  pointers.set(event.pointerId, place);
});

/** @param {PointerEvent} event @returns {number} how far off an end may be, in image pixels: a finger hides it */
function reachOf(event) {
  const pixels = event.pointerType === "touch" ? 26 : 14;
  return (pixels * (devicePixelRatio || 1)) / state.transform.scale;
}

/** One finger, or the mouse, pans; two zoom too. @param {number} moved @param {Point} from @param {Point} place */
function moveView(moved, from, place) {
  const other = [...pointers].find(([id]) => id !== moved)?.[1];
  if (!other) {
    pan(place.x - from.x, place.y - from.y);
    return;
  }
  pan((place.x - from.x) / 2, (place.y - from.y) / 2);
  const old = Math.hypot(from.x - other.x, from.y - other.y);
  const now = Math.hypot(place.x - other.x, place.y - other.y);
  const centre = { x: (place.x + other.x) / 2, y: (place.y + other.y) / 2 };
  if (old > 5 && now > 5) zoom(now / old, centre);
}

/** @param {PointerEvent} event */
function lift(event) {
  if (!pointers.delete(event.pointerId)) return;
  if (!isPanning && isHeld && canDraw() && event.type === "pointerup") {
    if (state.tool === "grow" || state.tool === "delete") click(toImage(onCanvas(event)));
    else if (corner) endPair();
  }
  dropEnd();
  if (last) endStroke();
  last = null;
  if (pointers.size === 0) isPanning = false;
}
overlay.addEventListener("pointerup", lift);
overlay.addEventListener("pointercancel", lift);
overlay.addEventListener("pointerleave", () => {
  if (pointers.size === 0 && !corner) update({ cursor: null });
});
let wasLocked = false;
onChange(() => {
  const isNew = isLocked() && !wasLocked;
  wasLocked = isLocked();
  if (isNew) letGo();
});
overlay.addEventListener("contextmenu", (event) => event.preventDefault());
overlay.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), onCanvas(event));
}, { passive: false });
