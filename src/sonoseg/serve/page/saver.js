// @ts-check
// Sends edits and findings to the server one after the other. What was not answered is sent again until it is.

import { Refusal, getJson, sendJson } from "./api.js";
import { put, unpack } from "./mask.js";
import { state, update } from "./state.js";

/** @typedef {{id: string, version: string, path: "edits"|"finding", body: any, isLocal: boolean}} Item */

/** @type {Item[]} */
const waiting = [];
let isSending = false;
/** @type {number|undefined} */ let noteTimer;

/**
 * Puts an edit in line.
 * @param {object} edit tool and its values; see the server's Edit
 * @param {boolean} isLocal whether the page shows the change already, as for brush and eraser
 */
export function send(edit, isLocal = false) {
  if (!state.picture) return;
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");
  const { id, version } = state.picture;
  waiting.push({ id, version, path: "edits", body: { key, ...edit }, isLocal });
  // What the server works out must be seen before the next stroke is drawn on it.
  update({ saved: "saving …", message: "", busy: state.busy || !isLocal });
  void work();
}

/**
 * Keeps what the reader wrote.
 * @param {Partial<import("./state.js").Finding>} changes
 * @param {number} [delay] milliseconds to wait for more, as while a note is typed
 */
export function write(changes, delay = 0) {
  if (!state.picture) return;
  update({ finding: { ...state.finding, ...changes }, saved: "saving …", message: "" });
  clearTimeout(noteTimer);
  noteTimer = undefined;
  if (delay) noteTimer = setTimeout(sendFinding, delay);
  else sendFinding();
}

function sendFinding() {
  noteTimer = undefined;
  if (!state.picture) return;
  const { id, version } = state.picture;
  waiting.push({ id, version, path: "finding", body: state.finding, isLocal: true });
  void work();
}

/** @returns {Promise<void>} when all is on the server's disk */
export async function settled() {
  if (noteTimer !== undefined) {
    clearTimeout(noteTimer);
    sendFinding();
  }
  while (waiting.length || isSending) await pause(10);
}

async function work() {
  if (isSending) return;
  isSending = true;
  while (waiting.length) {
    const edit = waiting[0];
    try {
      const answer = await post(edit);
      waiting.shift();
      take(edit, answer);
    } catch (error) {
      if (!(error instanceof Refusal) || [429, 503].includes(error.status)) {
        update({ saved: "not saved: the server does not answer; trying again" });
        await pause(700);
        continue;
      }
      // What follows was drawn on a mask that the server does not have.
      waiting.length = 0;
      await reload(edit.id).catch(() => {});
      update({ message: error.message });
    }
  }
  isSending = false;
  update({ saved: "saved", busy: false });
}

/** @param {Item} item @returns {Promise<any>} */
function post({ id, version, path, body }) {
  if (path === "finding") return sendJson(`images/${id}/finding?version=${version}`, { words: state.words, ...body }, "PUT");
  return sendJson(`images/${id}/edits?version=${version}`, { after: state.revision, ...body });
}

/** @param {Item} edit @param {any} answer */
function take(edit, answer) {
  if (!state.picture || state.picture.id !== edit.id) return;
  if (edit.path === "edits" && !edit.isLocal) put(state.mask, state.picture.width, answer.patch);
  takeDescription(answer);
  if (edit.path === "edits") update({ mask: state.mask, preview: null });
}

/** @param {any} answer what changes with each edit */
export function takeDescription(answer) {
  const { revision, words, undo, redo, unit, lesions, doubts, notes, network, state: progress } = answer, picture = state.picture;
  if (!picture) return;
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

/** @param {string} id shows what the server has */
async function reload(id) {
  const shown = await getJson(`images/${id}`);
  if (!state.picture || state.picture.id !== id) return;
  if (shown.version !== state.picture.version) {
    location.reload();  // another file has taken the name: pixels, size and list are others
    return;
  }
  update({ mask: unpack(shown.mask, shown.width * shown.height), preview: null, finding: shown.finding });
  takeDescription(shown);
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

addEventListener("beforeunload", (event) => {
  if (waiting.length || noteTimer !== undefined) event.preventDefault();
});
