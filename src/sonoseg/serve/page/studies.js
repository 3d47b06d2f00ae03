// @ts-check
// The list of studies of a DICOMweb server. A click fetches a study's ultrasound into the folder.

import { byId, element } from "./state.js";

/**
 * @typedef {object} Study
 * @property {string} study
 * @property {string} date
 * @property {string} patient
 * @property {string} name
 * @property {string} description
 * @property {string} objects
 */

/** @param {string} address @param {RequestInit} [options] @returns {Promise<any>} */
async function ask(address, options = {}) {
  const response = await fetch(address, { credentials: "same-origin", ...options });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401) throw new Error("log in on the page of images first");
  throw new Error(`${answer.subject}: ${answer.problem}; ${answer.hint}`);
}

/** Of the images that were not fetched. */
const MOST_NAMED = 5;

/** @param {string} text */
function say(text) {
  byId("said").textContent = text;
}

/** @param {Study} study */
async function open(study) {
  say("Fetching the images …");
  const answer = await ask(`/api/studies/${study.study}`, { method: "POST" });
  const { images, missing } = answer;
  if (missing.length) {
    const named = missing.slice(0, MOST_NAMED).join("; "), more = missing.length - MOST_NAMED;
    const rest = more > 0 ? `; and ${more} more` : "";
    say(`${images - missing.length} of ${images} images were fetched. Not fetched: ${named}${rest}`);
  } else if (images) location.assign("/");
  else say("The study has no ultrasound images.");
}

/** @param {string} date @returns {string} with dashes */
function written(date) {
  return /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
}

/** @param {Study} study @returns {HTMLElement} */
function row(study) {
  const line = element("tr"), button = element("button", "Open");
  button.addEventListener("click", () => open(study).catch((error) => say(error.message)));
  const cells = [written(study.date), study.patient, study.name, study.description, study.objects];
  line.append(...cells.map((text) => element("td", text)));
  const last = element("td");
  last.append(button);
  line.append(last);
  return line;
}

/** @param {string} id @returns {string} a date as DICOM writes it, or "" */
function day(id) {
  return /** @type {HTMLInputElement} */ (byId(id)).value.replaceAll("-", "");
}

async function search() {
  const patient = /** @type {HTMLInputElement} */ (byId("patient")).value.trim();
  const days = day("from") || day("to") ? `${day("from")}-${day("to")}` : "";
  const answer = await ask(`/api/studies?${new URLSearchParams({ patient, days })}`);
  byId("server").textContent = answer.server;
  byId("studies").replaceChildren(...answer.studies.map(row));
  const count = answer.studies.length;
  const words = [answer.is_cut ? `the latest ${count} studies; there are more: narrow the list by patient or dates` : `${count} studies`];
  if (answer.waiting) words.push(`${answer.waiting} results wait to be stored`);
  if (answer.refused) words.push(`${answer.refused} results were refused by the server`);
  say(words.join(", "));
}

byId("search").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  search().catch((error) => say(error.message));
});
search().catch((error) => say(error.message));
