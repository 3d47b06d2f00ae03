// @ts-check
// Draws the image and what lies over it, with zoom and pan.

import { boxKey, outline, withoutParts } from "./mask.js";
import { byId, onChange, state, update } from "./state.js";

const MASK = [86, 180, 233];
const CALIPER = "#f0e442", LINK = "#f0e442";
const MOST_CALIPERS = 12;
const CROSS = "#ffffff";
/** @type {HTMLCanvasElement} */ const imageCanvas = byId("image");
/** @type {HTMLCanvasElement} */ export const overlay = byId("overlay");
/** @type {Path2D} */ let border = new Path2D();
/** @type {Uint8Array|null} */ let drawnMask = null;
const fill = document.createElement("canvas");
let isPlanned = false;
/** Whether the image itself must be drawn again, which takes longer than what lies over it. */
let isImageOld = true;
/** Whether the image must be fitted into the stage, once all that lies over it has its place. */
let isFitOld = false;

/** @returns {Uint8Array} the mask that is shown */
export function shownMask() {
  return state.preview ?? state.mask;
}

/** @returns {import("./state.js").Lesion[]} those that are not hidden, with their numbers */
export function shownLesions() {
  return state.lesions.filter((lesion) => !state.hidden.includes(boxKey(lesion.box)));
}

/** Draws everything at the next frame. */
export function redraw() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    if (isFitOld) fit();
    isFitOld = isPlanned = false;
    if (isImageOld) drawImage();
    isImageOld = false;
    drawOverlay();
  });
}

/** The outline and the filled mask are made again when they are next drawn. */
export function maskChanged() {
  drawnMask = null;
  redraw();
}

/** Shows the whole image, as large as there is room above the toolbar. */
export function fit() {
  const picture = state.picture;
  if (!picture) return;
  const { width, height: whole } = stageSize();
  // What lies over the lower end of the canvas: the toolbar, and the frames of a loop.
  const covered = overlay.clientHeight - byId("controls").offsetTop;
  const height = Math.max(whole / 2, whole - covered * (devicePixelRatio || 1));
  const scale = Math.min(width / picture.width, height / picture.height) * 0.97;
  const x = (width - picture.width * scale) / 2, y = (height - picture.height * scale) / 2;
  update({ transform: { x, y, scale } });
}

/** One pixel of the image is one pixel of the canvas. */
export function actualSize() {
  const picture = state.picture;
  if (!picture) return;
  const { width, height } = stageSize();
  const x = Math.round((width - picture.width) / 2), y = Math.round((height - picture.height) / 2);
  update({ transform: { x, y, scale: 1 } });
}

/** @param {number} factor @param {{x: number, y: number}} [centre] the canvas pixel that stays where it is */
export function zoom(factor, centre) {
  const { width, height } = stageSize();
  const { x: centreX, y: centreY } = centre ?? { x: width / 2, y: height / 2 };
  const old = state.transform;
  const scale = Math.min(40, Math.max(0.1, old.scale * factor));
  const change = scale / old.scale;
  const x = centreX - (centreX - old.x) * change, y = centreY - (centreY - old.y) * change;
  update({ transform: { x, y, scale } });
}

/** @param {number} dx @param {number} dy in canvas pixels */
export function pan(dx, dy) {
  const { x, y, scale } = state.transform;
  update({ transform: { x: x + dx, y: y + dy, scale } });
}

/** @param {{clientX: number, clientY: number}} event @returns {{x: number, y: number}} canvas pixels */
export function onCanvas(event) {
  const place = overlay.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  return { x: (event.clientX - place.left) * ratio, y: (event.clientY - place.top) * ratio };
}

/** @param {{x: number, y: number}} point canvas pixels @returns {{x: number, y: number}} image pixels */
export function toImage({ x, y }) {
  const { x: left, y: top, scale } = state.transform;
  return { x: (x - left) / scale, y: (y - top) / scale };
}

function stageSize() {
  return { width: overlay.width, height: overlay.height };
}

function resize() {
  const ratio = devicePixelRatio || 1;
  for (const canvas of [imageCanvas, overlay]) {
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  }
  isImageOld = true;
  fit();
  redraw();
}

/** @param {HTMLCanvasElement} canvas @returns {CanvasRenderingContext2D} empty, in image pixels */
function cleared(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { x, y, scale } = state.transform;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, x, y);
  return context;
}

function drawImage() {
  const context = cleared(imageCanvas);
  const isPlain = state.brightness === 1 && state.contrast === 1;
  imageCanvas.style.filter = isPlain ? "none" : `brightness(${state.brightness}) contrast(${state.contrast})`;
  if (!state.picture) return;
  context.imageSmoothingEnabled = state.transform.scale < 6;
  context.imageSmoothingQuality = "high";
  context.drawImage(state.picture.pixels, 0, 0);
}

function drawOverlay() {
  const context = cleared(overlay), picture = state.picture;
  const { x, y, scale } = state.transform;
  overlay.dataset.x = String(x);
  overlay.dataset.y = String(y);
  overlay.dataset.scale = String(scale);
  if (!picture) return;
  if (drawnMask !== shownMask()) prepareMask(picture.width, picture.height);
  context.imageSmoothingEnabled = false;
  context.globalAlpha = state.opacity;
  if (state.layers.heat && state.heat) context.drawImage(state.heat, 0, 0, picture.width, picture.height);
  if (state.layers.fill) context.drawImage(fill, 0, 0);
  context.globalAlpha = 1;
  if (state.layers.outline) {
    stroke(context, border, 4, "rgb(0 0 0 / 55%)");
    stroke(context, border, 2, `rgb(${MASK.join(" ")})`);
  }
  if (state.layers.calipers && !state.preview) drawCalipers(context);
  if (state.lesions.length > 1 && state.layers.outline && !state.preview) drawNumbers(context);
  if (state.box) drawBox(context, state.box);
  if (state.link) drawLink(context, state.link);
  if (state.cursor) drawCross(context, state.cursor);
  if (overlay.dataset.shown !== picture.id && !state.isPlaying) performance.mark(`shown ${picture.id}`);
  overlay.dataset.shown = picture.id;
}

/** @param {number} width @param {number} height */
function prepareMask(width, height) {
  drawnMask = shownMask();
  const mask = state.hidden.length ? withoutParts(drawnMask, width, height, state.hidden) : drawnMask;
  border = outline(mask, width, height);
  fill.width = width;
  fill.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (fill.getContext("2d"));
  const pixels = context.createImageData(width, height);
  const whole = new Uint32Array(pixels.data.buffer);
  const [ink] = new Uint32Array(new Uint8Array([...MASK, 255]).buffer);
  for (let i = 0; i < mask.length; i++) if (mask[i]) whole[i] = ink;
  context.putImageData(pixels, 0, 0);
}

/** @param {CanvasRenderingContext2D} context @param {Path2D} path @param {number} width in screen pixels @param {string} colour */
function stroke(context, path, width, colour) {
  context.lineWidth = (width * (devicePixelRatio || 1)) / state.transform.scale;
  context.lineJoin = "round";
  context.strokeStyle = colour;
  context.stroke(path);
}

/** @param {CanvasRenderingContext2D} context */
function drawCalipers(context) {
  const dash = 5 / state.transform.scale;
  for (const lesion of shownLesions().slice(0, MOST_CALIPERS)) {
    for (const [from, to] of [lesion.longest_diameter_ends, lesion.perpendicular_diameter_ends]) {
      const line = new Path2D();
      line.moveTo(...from);
      line.lineTo(...to);
      context.setLineDash(lesion.by_hand ? [] : [dash, dash]);
      stroke(context, line, 1.5, CALIPER);
      context.setLineDash([]);
      if (state.tool === "calipers") drawEnds(context, [from, to]);
    }
  }
}

/** @param {CanvasRenderingContext2D} context @param {import("./state.js").Place[]} ends that can be dragged */
function drawEnds(context, ends) {
  const radius = (6 * (devicePixelRatio || 1)) / state.transform.scale;
  for (const [x, y] of ends) {
    const circle = new Path2D();
    circle.arc(x, y, radius, 0, 2 * Math.PI);
    stroke(context, circle, 4, "rgb(0 0 0 / 70%)");
    stroke(context, circle, 2, CALIPER);
  }
}

/** The number of each lesion in the table, to the left of it. @param {CanvasRenderingContext2D} context */
function drawNumbers(context) {
  const size = (13 * (devicePixelRatio || 1)) / state.transform.scale;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.lineWidth = size / 4;
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  context.fillStyle = CROSS;
  state.lesions.forEach((lesion, place) => {
    const { x, y, height } = lesion.box, left = Math.max(size, x - size / 2);
    context.strokeText(String(place + 1), left, y + height / 2);
    context.fillText(String(place + 1), left, y + height / 2);
  });
}

/** @param {CanvasRenderingContext2D} context @param {[import("./state.js").Place, import("./state.js").Place]} link */
function drawLink(context, [from, to]) {
  const line = new Path2D();
  line.moveTo(...from);
  line.lineTo(...to);
  stroke(context, line, 4, "rgb(0 0 0 / 55%)");
  stroke(context, line, 2, LINK);
}

/** @param {CanvasRenderingContext2D} context @param {{x: number, y: number, width: number, height: number}} box */
function drawBox(context, { x, y, width, height }) {
  const path = new Path2D();
  path.rect(x, y, width, height);
  stroke(context, path, 3, "rgb(0 0 0 / 55%)");
  stroke(context, path, 1.5, CALIPER);
}

/** The brush as a circle, other tools as a cross. @param {CanvasRenderingContext2D} context @param {{x: number, y: number}} cursor */
function drawCross(context, cursor) {
  const x = cursor.x + 0.5, y = cursor.y + 0.5, path = new Path2D();
  if (["brush", "eraser", "push"].includes(state.tool)) {
    path.arc(x, y, state.brush, 0, 2 * Math.PI);
  } else {
    const arm = 9 / state.transform.scale;
    path.moveTo(x - arm, y);
    path.lineTo(x + arm, y);
    path.moveTo(x, y - arm);
    path.lineTo(x, y + arm);
  }
  stroke(context, path, 3.5, "rgb(0 0 0 / 70%)");
  stroke(context, path, 1.5, CROSS);
}

let shownScene = "";
new ResizeObserver(resize).observe(overlay);
onChange((changed) => {
  if (["mask", "preview", "picture", "hidden"].some((name) => changed.has(name))) drawnMask = null;
  const scene = state.picture?.scene ?? "";
  if (scene !== shownScene) {  // frames of one loop are seen at the same place
    shownScene = scene;
    isFitOld = true;
  }
  if (["picture", "transform", "brightness", "contrast"].some((name) => changed.has(name))) isImageOld = true;
  redraw();
});
