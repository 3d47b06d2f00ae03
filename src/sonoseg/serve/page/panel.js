// @ts-check
// The right side: doubts, measurements, labels, note, layers and sliders.

import { Refusal, getPicture, sendDelete, sendJson } from "./api.js";
import { dropEnd } from "./calipers.js";
import { coloured } from "./heat.js";
import { mapOfPicture } from "./opening.js";
import { loadList, move, report } from "./pictures.js";
import { giveUp, reload, send, settled, takeDescription, write } from "./saver.js";
import { byId, canDraw, element, isLocked, onChange, state, update } from "./state.js";
import { enlarge, maskAt } from "./threshold.js";

const LAYERS = { outline: "Outline (O)", fill: "Mask (F)", calipers: "Calipers (C)", heat: "Heat (H)" };
/** @type {{id: string, large: Float32Array}|null} */ let enlarged = null;

/** Accepts the image and opens the next one; of a loop, the frame, which stays open. */
export async function accept() {
  dropEnd();  // what is seen is accepted
  const isShown = await decide("accepted", async ({ id, version }) => {
    const seen = { after: state.revision, words: state.words };
    takeDescription(await sendJson(`images/${id}/accept?version=${version}`, seen), id);
  });
  if (isShown && state.picture?.frames === 1) await move(1).catch(report);
}

/** Takes the image out of what is accepted. What was drawn and written stays. */
export async function withdraw() {
  if (!isAccepted()) return;
  await decide("withdrawn", async ({ id }) => {
    await sendDelete(`images/${id}/accept`);
    await reload(id);  // another window may have drawn
  });
}

/**
 * Has the server accept or withdraw the open image. The reader may open another one meanwhile.
 * @param {string} done what is shown when it is done
 * @param {(picture: import("./state.js").Picture) => Promise<void>} ask
 * @returns {Promise<boolean>} whether it is done, and the image is still the one that is looked at
 */
async function decide(done, ask) {
  const picture = state.picture;
  if (!picture || state.accepting || isLocked()) return false;
  const isShown = () => state.picture?.id === picture.id && !state.isOpening;
  update({ accepting: picture.id, preview: null });
  try {
    if (!(await settled())) return false;
    // What was seen of another image must not speak for this one.
    if (state.picture?.id !== picture.id) throw new Error("was left before it was saved; open it and do this again");
    await ask(picture);
    update({ saved: isShown() ? done : `${picture.name}: ${done}` });
    if (isShown()) update({ message: "" });
    void loadList().catch(report);  // nobody waits for it: a key that comes before the list counts
    return isShown();
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    if (error instanceof Refusal && error.status === 409 && isShown()) await giveUp(picture.id, error);
    else update({ message: isShown() ? message : `${picture.name}: ${message}` });
    update({ saved: `not ${done}` });
    return false;
  } finally {
    update({ accepting: "" });
  }
}

/** @returns {boolean} whether the open image is in the data set */
function isAccepted() {
  return state.progress === "accepted" || state.progress === "changed";
}

/** @param {keyof typeof LAYERS} name */
export function toggle(name) {
  update({ layers: { ...state.layers, [name]: !state.layers[name] } });
  if (name === "heat" && state.layers.heat && !state.heat) void loadHeat().catch(report);
}

/** Hides all that lies over the image, or shows the outline again. */
export function hide() {
  const isShown = Object.values(state.layers).some(Boolean);
  update({ layers: { outline: !isShown, fill: false, heat: false, calipers: !isShown } });
}

async function loadHeat() {
  const picture = state.picture;
  if (!picture) return;
  const heat = await getPicture(`images/${picture.id}/heat.png`);
  if (picture === state.picture) update({ heat: coloured(heat) });
}

/** Shows the mask of a threshold, without keeping it. @param {number} threshold */
export async function preview(threshold) {
  const picture = state.picture;
  if (!picture || !canDraw()) {
    showSliders();
    return;
  }
  update({ threshold });
  const { id, mapSize, width, height, smallest } = picture;
  if (enlarged?.id !== id) {
    const map = await mapOfPicture();
    if (state.picture?.id !== id) return;
    enlarged = { id, large: enlarge(map, mapSize, width, height) };
  }
  // The slider may have moved on, or been let go, while the map came.
  if (state.threshold !== threshold || !canDraw()) return;
  update({ preview: maskAt(enlarged.large, width, height, threshold, smallest * width * height) });
}

function showLabels() {
  const buttons = state.labels.map((label, place) => {
    const button = element("button", label);
    button.append(" ", element("kbd", String(place + 1)));
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", String(state.finding.label === label));
    button.addEventListener("click", () => write({ label }));
    return button;
  });
  byId("labels").replaceChildren(...buttons);
  choices(byId("birads"), state.categories, state.finding.birads);
}

/** @param {HTMLSelectElement} select @param {string[]} words @param {string} chosen */
function choices(select, words, chosen) {
  const options = words.map((word) => {
    const option = element("option", word || "–");
    option.value = word;
    return option;
  });
  select.replaceChildren(...options);
  select.value = chosen;
}

function showDescriptors() {
  const rows = Object.entries(state.descriptors).map(([name, words]) => {
    const row = element("label", `${name} `, "row"), select = element("select");
    choices(select, ["", ...words], state.finding.descriptors[name] ?? "");
    select.addEventListener("change", () => write({ descriptors: { ...state.finding.descriptors, [name]: select.value } }));
    row.append(select);
    const found = state.lesions[0]?.descriptors[name], word = found?.word;
    if (word) row.append(suggestion(word, found.probabilities[word], () => write({ descriptors: { ...state.finding.descriptors, [name]: word } })));
    return row;
  });
  byId("descriptors").replaceChildren(...rows);
}

/** The program's word for the largest lesion, to be taken over by a click. @param {string} word @param {number} probability @param {() => void} take */
function suggestion(word, probability, take) {
  const button = element("button", `suggested: ${word} (${probability.toFixed(2)})`, "suggestion");
  button.addEventListener("click", (event) => { event.preventDefault(); take(); showDescriptors(); });
  return button;
}

/** Shows note and spacing. @param {boolean} isOther whether it also replaces what is being typed */
function showTexts(isOther) {
  for (const name of /** @type {const} */ (["note", "spacing"])) {
    const field = byId(name);
    if (isOther || field !== document.activeElement) field.value = state.finding[name];
  }
}

function showLayers() {
  const buttons = Object.entries(LAYERS).map(([name, text]) => {
    const layer = /** @type {keyof typeof LAYERS} */ (name), button = element("button", text);
    button.setAttribute("aria-pressed", String(state.layers[layer]));
    button.addEventListener("click", () => toggle(layer));
    return button;
  });
  byId("layers").replaceChildren(...buttons);
}

function showSliders() {
  for (const name of /** @type {const} */ (["threshold", "opacity", "brightness", "contrast"])) {
    byId(name).value = String(state[name]);
    byId(`${name}-value`).textContent = state[name].toFixed(2);
  }
}

for (const name of ["opacity", "brightness", "contrast"]) {
  byId(name).addEventListener("input", () => update({ [name]: Number(byId(name).value) }));
}
byId("threshold").addEventListener("input", () => void preview(Number(byId("threshold").value)).catch(report));
byId("threshold").addEventListener("change", () => {
  if (!send({ tool: "threshold", threshold: state.threshold })) showSliders();
});
byId("birads").addEventListener("change", () => write({ birads: byId("birads").value }));
byId("spacing").addEventListener("change", () => write({ spacing: byId("spacing").value.trim() }));
byId("note").addEventListener("input", () => write({ note: byId("note").value }, 500));
byId("accept").addEventListener("click", () => void accept());
byId("withdraw").addEventListener("click", () => void withdraw());
function showAccept() {
  const picture = state.picture, isLoop = picture !== null && picture.frames > 1;
  byId("accept-text").textContent = isLoop ? `Accept frame ${picture.frame}` : "Accept";
  byId("accept").disabled = !picture || state.isStale;
  byId("withdraw").hidden = !isAccepted();
}

/** What is written must not get to the next image. A field that is typed in keeps the focus: its keys would be commands. */
function showLock() {
  byId("stage").ariaBusy = String(state.isOpening);
  for (const name of ["note", "spacing"]) byId(name).readOnly = isLocked();
  for (const name of ["labels", "birads", "descriptors", "lesions"]) byId(name).inert = isLocked();
}

function showCaption() {
  const picture = state.picture;
  const parts = picture ? [picture.place, `${picture.width} × ${picture.height}`] : [];
  if (picture && picture.frames > 1) parts.push(`frame ${picture.frame} of ${picture.frames}`);
  if (state.progress === "accepted" && !state.isPlaying) parts.push("✓ accepted");
  if (state.progress === "changed" && !state.isPlaying) parts.push("changed after it was accepted");
  const rest = parts.filter(Boolean).map((part) => ` · ${part}`).join("");
  // A long name is cut short, and what follows it stays.
  byId("caption").replaceChildren(...picture ? [element("span", picture.name), element("span", rest)] : []);
}

function showDoubts() {
  const doubts = state.doubts.map((text) => element("li", `Do not trust this: ${text}`));
  byId("doubts").replaceChildren(...doubts, ...state.notes.map((text) => element("li", `Note: ${text}`)));
  byId("model").textContent = state.picture ? `Network: ${state.network}` : "";
}

function showPicture() {
  showDescriptors();
  if (state.layers.heat) void loadHeat().catch(report);
}

onChange((changed) => {
  const has = (/** @type {string[]} */ ...names) => names.some((name) => changed.has(name));
  if (has("labels", "finding")) showLabels();
  if (has("descriptors", "lesions")) showDescriptors();
  if (has("layers")) showLayers();
  if (has("finding")) showTexts(has("isStale"));  // the server has just been asked
  if (has("threshold", "opacity", "brightness", "contrast")) showSliders();
  if (has("picture", "progress", "isStale")) showAccept();
  if (has("picture", "isOpening", "isStale", "accepting")) showLock();
  if (has("picture", "progress", "isPlaying")) showCaption();
  if (has("picture", "doubts", "notes", "network")) showDoubts();
  if (has("picture") && !state.isPlaying) showPicture();
});
showLayers();
showSliders();
showAccept();
