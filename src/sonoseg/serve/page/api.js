// @ts-check
// Requests to the server. A refusal is an error with the server's own words.

import { askForToken } from "./login.js";
import { state } from "./state.js";

export class Refusal extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** @param {string} path @returns {string} with the reader's name */
function address(path) {
  const sign = path.includes("?") ? "&" : "?";
  return `/api/${path}${sign}reader=${encodeURIComponent(state.reader)}`;
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function ask(path, options = {}) {
  const send = () => fetch(address(path), { credentials: "same-origin", ...options });
  let response = await send();
  while (response.status === 401 && path !== "login") {
    await askForToken((token) => sendJson("login", { token }));
    response = await send();
  }
  if (response.ok) return response;
  let text = `the server answered with status ${response.status}`;
  try {
    const { subject, problem, hint } = await response.json();
    text = `${subject}: ${problem}; ${hint}`;
  } catch {
    // an answer that is not ours, such as that of a proxy
  }
  throw new Refusal(response.status, text);
}

/** @param {string} path @returns {Promise<any>} */
export async function getJson(path) {
  return (await ask(path)).json();
}

/** @param {string} path @param {object} body @param {string} [method] @returns {Promise<any>} */
export async function sendJson(path, body, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method, headers, body: JSON.stringify(body) })).json();
}

/** @param {string} path @returns {Promise<any>} */
export async function sendDelete(path) {
  return (await ask(path, { method: "DELETE" })).json();
}

/** @param {string} path @returns {Promise<ImageBitmap>} */
export async function getPicture(path) {
  const blob = await (await ask(path)).blob();
  return createImageBitmap(blob);
}

/** @param {string} path @returns {Promise<{picture: ImageBitmap, version: string}>} a picture, and of which file it is */
export async function getVersioned(path) {
  const response = await ask(path);
  return { picture: await createImageBitmap(await response.blob()), version: response.headers.get("X-Version") ?? "" };
}

/** @param {string} path @returns {Promise<Float32Array>} */
export async function getFloats(path) {
  return new Float32Array(await (await ask(path)).arrayBuffer());
}

/** @param {File} file @returns {Promise<{id: string}>} */
export async function sendFile(file) {
  const body = new FormData();
  body.append("image", file);
  return (await ask("images", { method: "POST", body })).json();
}
