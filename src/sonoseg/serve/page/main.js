// @ts-check
// Starts the page: who reads, the token if there is one, the list, the first image.

import "./keys.js";
import "./lesions.js";
import { sendJson } from "./api.js";
import { firstImage, open } from "./opening.js";
import { loadList, report } from "./pictures.js";
import { settled } from "./saver.js";
import { byId, onChange, state, update } from "./state.js";

const READER = "sonoseg-reader";

/** Logs in with the token behind # in the address, which the server never sees and no log holds. */
async function logInFromAddress() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname);
  await sendJson("login", { token: decodeURIComponent(found[1]) });
}

async function showFirst() {
  const wanted = location.hash.slice(1);
  const entry = state.entries.find(({ id }) => id === wanted.split("-")[0]);
  const first = entry ?? state.entries.find((one) => one.state !== "accepted") ?? state.entries[0];
  if (first) await open(entry && entry.frames > 1 && wanted.includes("-") ? wanted : firstImage(first));
  else update({ message: "There are no images yet: drop some here, or choose Add images." });
}

async function start() {
  update({ reader: localStorage.getItem(READER) || "reader" });
  byId("reader").value = state.reader;
  await logInFromAddress().catch(() => {});  // if the token is wrong, the list asks for another one
  await loadList();
  await showFirst();
}

byId("reader").addEventListener("change", async () => {
  if (!(await settled())) {
    byId("reader").value = state.reader;
    return;
  }
  const reader = byId("reader").value.trim() || "reader";
  localStorage.setItem(READER, reader);
  // What one reader sees must not be changed in the name of another.
  update({ reader, picture: null, mask: new Uint8Array(0), lesions: [], preview: null, hidden: [] });
  byId("reader").value = reader;
  await loadList().then(showFirst).catch(report);
});
onChange((changed) => {
  if (changed.has("message")) {
    byId("message").textContent = state.message;
    byId("message").hidden = !state.message;
  }
  if (changed.has("saved")) byId("saved").textContent = state.saved;
});
start().catch(report).finally(() => { document.body.dataset.ready = "yes"; });
