// @ts-check
// Sends edits to the server one after the other. What was not answered is sent again until it is.

import { Refusal, getJson, sendJson } from "./api.js";
import { put, unpack } from "./mask.js";
import { state, update } from "./state.js";

/** @type {{id: string, body: any, isLocal: boolean}[]} */
const waiting = [];
let isSending = false;

/**
 * Puts an edit in line.
 * @param {object} edit tool and its values; see the server's Edit
 * @param {boolean} isLocal whether the page shows the change already, as for brush and eraser
 */
export function send(edit, isLocal = false) {
  if (!state.picture) return;
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");
  waiting.push({ id: state.picture.id, body: { key, ...edit }, isLocal });
  // What the server works out must be seen before the next stroke is drawn on it.
  update({ saved: "saving …", busy: state.busy || !isLocal });
  void work();
}

/** @returns {boolean} whether something is not on the server's disk yet */
export function isWaiting() {
  return waiting.length > 0;
}

/** @returns {Promise<void>} when all edits are on the server's disk */
export async function settled() {
  while (waiting.length) await pause(20);
}

async function work() {
  if (isSending) return;
  isSending = true;
  while (waiting.length) {
    const edit = waiting[0];
    try {
      const answer = await sendJson(`images/${edit.id}/edits`, { after: state.revision, ...edit.body });
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
      await reload(edit.id);
      update({ message: error.message });
    }
  }
  isSending = false;
  update({ saved: "saved", busy: false });
}

/** @param {{id: string, isLocal: boolean}} edit @param {any} answer */
function take(edit, answer) {
  if (!state.picture || state.picture.id !== edit.id) return;
  if (!edit.isLocal) put(state.mask, state.picture.width, answer.patch);
  takeDescription(answer);
  update({ mask: state.mask, preview: null });
}

/** @param {any} answer what changes with each edit */
export function takeDescription(answer) {
  const { revision, undo, redo, unit, lesions } = answer;
  const entries = state.entries.map((entry) =>
    state.picture && entry.id === state.picture.id
      ? { ...entry, state: answer.state, label: state.finding.label } : entry);
  update({ revision, undo, redo, unit, lesions, entries });
}

/** @param {string} id shows what the server has */
async function reload(id) {
  const shown = await getJson(`images/${id}`);
  if (!state.picture || state.picture.id !== id) return;
  update({ mask: unpack(shown.mask, shown.width * shown.height), preview: null });
  takeDescription(shown);
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

addEventListener("beforeunload", (event) => {
  if (waiting.length) event.preventDefault();
});
