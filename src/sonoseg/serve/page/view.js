// @ts-check
// Draws the image and what lies over it, with zoom and pan.

import { outline } from "./mask.js";
import { byId, onChange, state, update } from "./state.js";

const MASK = [86, 180, 233];
const CALIPER = "#f0e442";
const TOOLBAR = 66;
const CROSS = "#ffffff";
/** @type {HTMLCanvasElement} */ const imageCanvas = byId("image");
/** @type {HTMLCanvasElement} */ export const overlay = byId("overlay");
/** @type {Path2D} */ let border = new Path2D();
/** @type {Uint8Array|null} */ let drawnMask = null;
const fill = document.createElement("canvas");
let isPlanned = false;
/** Whether the image itself must be drawn again, which takes longer than what lies over it. */
let isImageOld = true;

/** @returns {Uint8Array} the mask that is shown */
export function shownMask() {
  return state.preview ?? state.mask;
}

/** Draws everything at the next frame. */
export function redraw() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
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
  const height = Math.max(whole / 2, whole - TOOLBAR * (devicePixelRatio || 1));
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
  if (state.box) drawBox(context, state.box);
  if (state.cursor) drawCross(context, state.cursor);
}

/** @param {number} width @param {number} height */
function prepareMask(width, height) {
  const mask = drawnMask = shownMask();
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
  for (const lesion of state.lesions.slice(0, 4)) {
    for (const [from, to] of [lesion.longest_diameter_ends, lesion.perpendicular_diameter_ends]) {
      const line = new Path2D();
      line.moveTo(...from);
      line.lineTo(...to);
      context.setLineDash([5 / state.transform.scale, 5 / state.transform.scale]);
      stroke(context, line, 1.5, CALIPER);
      context.setLineDash([]);
    }
  }
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

new ResizeObserver(resize).observe(overlay);
onChange((changed) => {
  if (changed.has("mask") || changed.has("preview") || changed.has("picture")) drawnMask = null;
  if (changed.has("picture")) fit();
  if (["picture", "transform", "brightness", "contrast"].some((name) => changed.has(name))) isImageOld = true;
  redraw();
});
