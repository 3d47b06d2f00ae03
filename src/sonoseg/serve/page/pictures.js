// @ts-check
// The list of images: what is there, what is done, and adding more.

import { getJson, sendDelete, sendFile } from "./api.js";
import { firstImage, open } from "./opening.js";
import { byId, element, onChange, state, update } from "./state.js";

const SIGNS = { open: "○", edited: "◐", accepted: "✓", changed: "!" };
const WORDS = { open: "not looked at", edited: "in work", accepted: "accepted", changed: "changed after it was accepted" };
const FILTERS = { all: "all", left: "left to do", accepted: "accepted" };
/** @type {HTMLUListElement} */ const list = byId("list");
let lists = 0;

/** Asks for the list again. One that comes after a later one was asked for is not shown. */
export async function loadList() {
  const number = ++lists;
  const { images, gone, notice, studies, labels, birads, descriptors } = await getJson("images");
  if (number !== lists) return;
  update({ entries: images, labels, categories: birads, descriptors });
  byId("passed-over").textContent = notice;
  byId("passed-over").hidden = !notice;
  byId("studies").hidden = !studies;
  showGone(gone);
}

/** @returns {import("./state.js").Entry[]} those that the filter shows */
export function visibleEntries() {
  if (state.filter === "all") return state.entries;
  const wanted = state.filter === "accepted";
  return state.entries.filter((entry) => (entry.state === "accepted") === wanted || entry.id === state.picture?.scene);
}

/** Opens the image this many places further. @param {number} step */
export async function move(step) {
  const entries = visibleEntries();
  const place = entries.findIndex((entry) => entry.id === state.picture?.scene);
  const next = entries[Math.min(entries.length - 1, Math.max(0, place + step))];
  if (next && next.id !== state.picture?.scene) await open(firstImage(next));
}

/** Sends files to the server and opens the first of them. @param {Iterable<File>} files */
export async function add(files) {
  let first = "";
  for (const file of files) {
    try {
      const { id } = await sendFile(file);
      first ||= id;
    } catch (error) {
      update({ message: `${file.name}: ${/** @type {Error} */ (error).message}` });
    }
  }
  const message = state.message;
  await loadList();
  if (first) await open(first);
  update({ message });
}

/** @typedef {{id: string, name: string, accepted: number}} Gone a file that left the folder after images of it were accepted */

/** @param {Gone[]} gone */
function showGone(gone) {
  const items = gone.map((file) => {
    const item = element("li"), button = element("button", "Withdraw");
    const images = file.accepted > 1 ? ` (${file.accepted} images)` : "";
    button.setAttribute("aria-label", `Withdraw ${file.name}`);
    button.addEventListener("click", () => void withdrawGone(file).catch(report));
    item.append(element("span", file.name + images), button);
    return item;
  });
  byId("gone-list").replaceChildren(...items);
  byId("gone").hidden = !gone.length;
}

/** @param {Gone} file */
async function withdrawGone({ id, name }) {
  // The data set may have the only copy.
  if (!confirm(`Delete image and mask of ${name} from your data set? The folder has no such file any more.`)) return;
  try {
    await sendDelete(`gone/${id}`);
    update({ saved: `${name}: withdrawn` });
  } finally {
    await loadList();
  }
}

function show() {
  const entries = visibleEntries(), done = state.entries.filter((entry) => entry.state === "accepted");
  byId("progress").textContent = `${done.length} of ${state.entries.length} accepted`;
  const known = new Map([...list.children].map((item) => [/** @type {HTMLElement} */ (item).dataset.id, item]));
  const items = entries.map((entry) => filled(/** @type {HTMLLIElement} */ (known.get(entry.id) ?? made(entry)), entry));
  // Moved only when it has to be: a thumbnail that is put in again would flicker.
  const isSame = items.length === list.children.length && items.every((item, place) => item === list.children[place]);
  if (!isSame) list.replaceChildren(...items);
}

/** @param {import("./state.js").Entry} entry */
function made(entry) {
  const item = element("li"), button = element("button"), picture = element("img");
  item.dataset.id = entry.id;
  picture.alt = "";
  picture.loading = "lazy";
  picture.fetchPriority = "low";  // the image that is opened comes first
  button.append(picture, element("span", "", "sign"), element("span", entry.name, "name"), element("span", "", "label"));
  button.addEventListener("click", () => void open(firstImage(entry)).catch(report));
  item.append(button);
  return item;
}

/** @param {HTMLLIElement} item @param {import("./state.js").Entry} entry */
function filled(item, entry) {
  const button = /** @type {HTMLButtonElement} */ (item.firstChild);
  const sign = /** @type {HTMLElement} */ (button.querySelector(".sign"));
  const label = /** @type {HTMLElement} */ (button.querySelector(".label"));
  const isOpen = entry.id === state.picture?.scene;
  const address = `/api/images/${entry.id}/thumbnail.png?version=${entry.version}`;
  const picture = /** @type {HTMLImageElement} */ (button.querySelector("img"));
  if (picture.getAttribute("src") !== address) picture.src = address;
  if (isOpen && button.getAttribute("aria-current") !== "true") item.scrollIntoView({ block: "nearest", inline: "nearest" });
  button.setAttribute("aria-current", String(isOpen));
  button.title = `${entry.name}${entry.place && `, ${entry.place}`}: ${WORDS[entry.state]}`;
  item.className = entry.state;
  sign.textContent = SIGNS[entry.state];
  sign.setAttribute("aria-label", WORDS[entry.state]);
  const frames = entry.frames > 1 ? `${entry.accepted} of ${entry.frames} frames` : "";
  label.textContent = [entry.place, entry.label, frames].filter(Boolean).join(" · ");
  return item;
}

/** @param {Error} error */
export function report(error) {
  update({ message: error.message });
}

for (const [value, text] of Object.entries(FILTERS)) {
  const option = element("option", text);
  option.value = value;
  byId("filter").append(option);
}
byId("filter").addEventListener("change", () => update({ filter: byId("filter").value }));
byId("add").addEventListener("click", () => byId("open").click());
byId("open").addEventListener("change", () => void add(byId("open").files).catch(report));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer?.files.length) void add(event.dataTransfer.files).catch(report);
});
let shownScene = "";
onChange((changed) => {
  const scene = state.picture?.scene ?? "", isOther = scene !== shownScene;
  shownScene = scene;
  if (changed.has("entries") || changed.has("filter") || isOther) show();
});
