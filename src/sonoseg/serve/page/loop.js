// @ts-check
// Frames of a loop: the strip that shows where lesions are, the slider, and playing.

import { getJson } from "./api.js";
import { fetchAhead, pixelsOf } from "./frames.js";
import { unpack } from "./mask.js";
import { open } from "./opening.js";
import { report } from "./pictures.js";
import { settled } from "./saver.js";
import { byId, onChange, state, update } from "./state.js";

const USUAL_TIME = 40;
const AHEAD = 8;
const SEEN = "#56b4e9", EDITED = "#e69f00", ACCEPTED = "#f0e442", HERE = "#ffffff", UNKNOWN = "#59636e";
const bar = byId("loop"), slider = byId("frame");
/** @type {HTMLCanvasElement} */ const strip = byId("strip");
/** @type {number|undefined} */ let timer;
let wanted = 1, isSeeking = false;
/** @type {Map<string, Promise<{mask: string|null}>>} masks of the next frames, while it plays */
const masks = new Map();

/** @returns {string} the identifier of a frame @param {number} frame */
function idOf(frame) {
  return `${state.picture?.scene}-${frame}`;
}

/** @param {number} frame from 1; beyond the ends it is the first or the last one */
export async function showFrame(frame) {
  const picture = state.picture;
  if (!picture || picture.frames === 1) return;
  wanted = Math.min(picture.frames, Math.max(1, frame));
  if (isSeeking) return;
  isSeeking = true;
  try {
    // While a frame is being opened, the slider may have moved on: those in between are passed over.
    while (state.picture?.scene === picture.scene && (state.picture.frame !== wanted || state.isStale)) {
      if (!(await open(idOf(wanted)))) return;
    }
  } finally {
    isSeeking = false;
  }
}

/** @param {number} step how many frames further */
export function stepFrame(step) {
  void showFrame((state.picture?.frame ?? 1) + step).catch(report);
}

/** Shows the next frame with a lesion, as far as it is known. @param {1|-1} direction */
export function nextLesion(direction) {
  const picture = state.picture;
  if (!picture) return;
  for (let frame = picture.frame + direction; frame >= 1 && frame <= picture.frames; frame += direction) {
    if (state.shares[frame - 1] > 0) {
      void showFrame(frame).catch(report);
      return;
    }
  }
}

/** Plays, or pauses and opens the frame that is shown. */
export async function playOrPause() {
  const picture = state.picture;
  if (!picture || picture.frames === 1 || state.isOpening || state.accepting) return;
  if (state.isPlaying) {
    await showFrame(picture.frame).catch(report);
    return;
  }
  if (!(await settled()) || state.isOpening) return;
  // What is written of a frame, and its number of changes, are not known while it passes by.
  update({ isPlaying: true, isStale: true, lesions: [], preview: null, heat: null, message: "" });
  await play(picture.scene).catch(async (error) => {
    // The frame that is shown is opened: only then it can be changed again.
    await showFrame(state.picture?.frame ?? 1).catch(report);
    report(error);
  });
}

/** Shows frame after frame until it is paused or another image is opened. @param {string} scene */
async function play(scene) {
  masks.clear();
  let due = performance.now();
  while (state.isPlaying && state.picture?.scene === scene) {
    const { frame, frames, frameTime, width, height } = state.picture;
    const next = frame % frames + 1;
    for (let ahead = 0; ahead < AHEAD; ahead++) prepare((next + ahead - 1) % frames + 1);
    const [pixels, known] = await Promise.all([pixelsOf(idOf(next)), masks.get(idOf(next))]);
    due = Math.max(due + (frameTime ?? USUAL_TIME), performance.now() - 200);
    await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    if (!state.isPlaying || state.picture?.scene !== scene) return;
    masks.delete(idOf(next));
    const mask = known?.mask ? unpack(known.mask, width * height) : new Uint8Array(width * height);
    update({ picture: { ...state.picture, id: idOf(next), frame: next, pixels, map: null }, mask, doubts: [], notes: [] });
  }
}

/** @param {number} frame that will soon be shown */
function prepare(frame) {
  const id = idOf(frame);
  fetchAhead(id);
  if (!masks.has(id)) masks.set(id, getJson(`images/${id}/mask`).catch(() => ({ mask: null })));
}

/** Asks which frames have lesions, again and again until all are known. */
async function watch() {
  clearTimeout(timer);
  const scene = state.picture?.scene;
  if (!state.picture || state.picture.frames === 1) return;
  const { shares, states } = await getJson(`images/${state.picture.id}/frames`);
  if (scene !== state.picture?.scene) return;
  update({ shares, frameStates: states });
  if (shares.length < (state.picture?.frames ?? 0)) timer = setTimeout(() => void watch().catch(report), 700);
}

function draw() {
  const picture = state.picture;
  if (!picture || picture.frames === 1) return;
  const ratio = devicePixelRatio || 1, width = strip.clientWidth * ratio, height = strip.clientHeight * ratio;
  strip.width = Math.max(1, Math.round(width));
  strip.height = Math.max(1, Math.round(height));
  const context = /** @type {CanvasRenderingContext2D} */ (strip.getContext("2d"));
  const step = width / picture.frames, most = Math.max(0.01, ...state.shares);
  const mark = 4 * ratio, room = height - mark;
  for (let place = 0; place < picture.frames; place++) {
    const x = Math.round(place * step), end = Math.round((place + 1) * step);
    const wide = Math.max(1, end - x - (step > 4 * ratio ? ratio : 0));
    const share = state.shares[place], touched = state.frameStates[place + 1];
    context.fillStyle = share === undefined ? UNKNOWN : SEEN;
    const tall = share === undefined ? ratio : share && Math.max(3 * ratio, (share / most) * room);
    context.fillRect(x, room - tall, wide, tall);
    if (touched) {
      context.fillStyle = touched === "accepted" ? ACCEPTED : EDITED;
      context.fillRect(x, room + ratio, wide, mark - ratio);
    }
  }
  context.fillStyle = HERE;
  context.fillRect((picture.frame - 0.5) * step - ratio, 0, 2 * ratio, height);
}

function show() {
  const picture = state.picture;
  bar.hidden = !picture || picture.frames === 1;
  if (!picture || bar.hidden) return;
  slider.max = String(picture.frames);
  slider.value = String(picture.frame);
  slider.setAttribute("aria-valuetext", `frame ${picture.frame} of ${picture.frames}`);
  byId("frame-number").textContent = `${picture.frame} / ${picture.frames}`;
  byId("play").textContent = state.isPlaying ? "❚❚" : "▶";
  byId("play").setAttribute("aria-label", state.isPlaying ? "Pause" : "Play");
  draw();
}

/** @param {PointerEvent} event */
function seek(event) {
  const picture = state.picture, place = strip.getBoundingClientRect();
  if (!picture || (event.type === "pointermove" && !event.buttons)) return;
  const share = (event.clientX - place.left) / place.width;
  void showFrame(Math.floor(share * picture.frames) + 1).catch(report);
}

byId("play").addEventListener("click", () => void playOrPause());
slider.addEventListener("input", () => void showFrame(Number(slider.value)).catch(report));
strip.addEventListener("pointerdown", seek);
strip.addEventListener("pointermove", seek);
new ResizeObserver(draw).observe(strip);
let watched = "";
onChange((changed) => {
  if (changed.has("picture") && watched !== state.picture?.scene) {
    watched = state.picture?.scene ?? "";
    void watch().catch(report);
  }
  if (["picture", "isPlaying", "shares", "frameStates"].some((name) => changed.has(name))) show();
});
