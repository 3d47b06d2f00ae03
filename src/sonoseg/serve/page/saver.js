// @ts-check
// Sends edits and findings to the server one after the other. What was not answered is sent again until it is.

import { Refusal, getJson, sendJson } from "./api.js";
import { put, unpack } from "./mask.js";
import { isLocked, state, update } from "./state.js";

/** @typedef {{id: string, version: string, path: "edits"|"finding", body: any, isLocal: boolean}} Item */

/** What a server that is busy, has a full disk or starts again answers, or a proxy before it. */
const PASSING = [408, 429, 502, 503, 504];
/** @type {Item[]} all of the open image: another one is opened when they are saved */
const waiting = [];
let isSending = false;
let refusals = 0;
/** @type {number|undefined} */ let noteTimer;

/**
 * Puts an edit in line.
 * @param {object} edit tool and its values; see the server's Edit
 * @param {boolean} isLocal whether the page shows the change already, as for brush and eraser
 * @returns {boolean} false if nothing can be changed now
 */
export function send(edit, isLocal = false) {
  const picture = changeable();
  if (!picture) return false;
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");
  waiting.push({ id: picture.id, version: picture.version, path: "edits", body: { key, ...edit }, isLocal });
  // What the server works out must be seen before the next stroke is drawn on it.
  update({ saved: "saving …", message: "", busy: state.busy || !isLocal });
  void work();
  return true;
}

/**
 * Keeps what the reader wrote.
 * @param {Partial<import("./state.js").Finding>} changes
 * @param {number} [delay] milliseconds to wait for more, as while a note is typed
 */
export function write(changes, delay = 0) {
  if (!changeable()) {
    update({ finding: state.finding });  // what was chosen is shown no more
    return;
  }
  update({ finding: { ...state.finding, ...changes }, saved: "saving …", message: "" });
  clearTimeout(noteTimer);
  noteTimer = undefined;
  if (delay) noteTimer = setTimeout(sendFinding, delay);
  else sendFinding();
}

/** @returns {import("./state.js").Picture|null} the open image, if it can be changed now */
function changeable() {
  if (state.isPlaying) update({ message: "Pause first (l): nothing is changed while the loop plays." });
  return isLocked() ? null : state.picture;
}

function sendFinding() {
  clearTimeout(noteTimer);
  noteTimer = undefined;
  if (!state.picture) return;
  const { id, version } = state.picture;
  waiting.push({ id, version, path: "finding", body: state.finding, isLocal: true });
  void work();
}

/** @returns {Promise<boolean>} when nothing is left to send: whether the server has all of it on its disk */
export async function settled() {
  const before = refusals;
  while (isSending || noteTimer !== undefined) {
    if (noteTimer !== undefined) sendFinding();
    await pause(10);
  }
  return refusals === before;
}

async function work() {
  if (isSending) return;
  isSending = true;
  while (waiting.length) {
    const item = waiting[0];
    try {
      take(item, await untilAnswered(() => post(item)));
      waiting.shift();
    } catch (error) {
      // What follows was drawn on a mask that the server does not have.
      waiting.length = 0;
      await giveUp(item.id, /** @type {Error} */ (error));
    }
  }
  isSending = false;
  update({ saved: state.isStale ? "not saved" : "saved", busy: false });
}

/**
 * Asks again as long as the server, or a proxy before it, is not able to answer.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function untilAnswered(ask) {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const { status, message } = error instanceof Refusal ? error : { status: 503, message: "the server does not answer" };
      if (!PASSING.includes(status)) throw error;
      update({ saved: `not saved: ${message}; trying again` });
      await pause(700);
    }
  }
}

/** @param {Item} item @returns {Promise<any>} */
function post({ id, version, path, body }) {
  if (path === "finding") return sendJson(`images/${id}/finding?version=${version}`, { words: state.words, ...body }, "PUT");
  return sendJson(`images/${id}/edits?version=${version}`, { after: state.revision, ...body });
}

/** @param {Item} item @param {any} answer */
function take(item, answer) {
  if (!state.picture || state.picture.id !== item.id) return;
  const isEdit = item.path === "edits";
  // Taken over, what another window has drawn or written would pass for what this one shows.
  const isSame = isEdit ? answer.words === state.words : answer.revision === state.revision;
  if (!isSame) throw new Refusal(409, "image: was changed in another window; look at it again");
  if (isEdit && !item.isLocal) put(state.mask, state.picture.width, answer.patch);
  takeDescription(answer, item.id);
  if (isEdit) update({ mask: state.mask, preview: null });
}

/** @param {any} answer what changes with each edit @param {string} id of the image that it is about */
export function takeDescription(answer, id) {
  const { revision, words, undo, redo, unit, lesions, doubts, notes, network, state: progress } = answer, picture = state.picture;
  if (!picture || picture.id !== id) return;
  const entries = state.entries.map((entry) => (entry.id === picture.scene ? touched(entry, progress) : entry));
  const frameStates = { ...state.frameStates };
  if (progress === "open") delete frameStates[picture.frame];
  else frameStates[picture.frame] = progress;
  update({ revision, words, undo, redo, unit, lesions, doubts, notes, network, progress, entries, frameStates });
}

/** @param {import("./state.js").Entry} entry @param {import("./state.js").Entry["state"]} progress of the open frame */
function touched(entry, progress) {
  // The other frames of a loop have a part in its state, which the next list will say.
  const isHidden = entry.frames > 1 && (progress === "open" || progress === "accepted");
  return { ...entry, state: isHidden ? entry.state : progress, label: state.finding.label || entry.label };
}

/** Says why something was refused, and shows what the server has; until then nothing can be changed. @param {string} id @param {Error} error */
export async function giveUp(id, error) {
  refusals += 1;
  clearTimeout(noteTimer);
  noteTimer = undefined;
  update({ isStale: true, message: error.message });
  await reload(id).catch((other) => update({ message: `${error.message}. Open the image again: ${other.message}` }));
}

/** Shows what the server has, if the image is still open. @param {string} id */
export async function reload(id) {
  const shown = await untilAnswered(() => getJson(`images/${id}`));
  if (!state.picture || state.picture.id !== id) return;
  if (shown.version !== state.picture.version) {
    location.reload();  // another file has taken the name: pixels, size and list are others
    return;
  }
  update({ mask: unpack(shown.mask, shown.width * shown.height), preview: null, finding: shown.finding, isStale: false });
  takeDescription(shown, id);
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

addEventListener("beforeunload", (event) => {
  if (waiting.length || noteTimer !== undefined) event.preventDefault();
});
