// @ts-check
// Asks for the server's token.

import { byId } from "./state.js";

/** @type {Promise<void>|null} */ let asking = null;

/**
 * Shows the dialog until the server has taken a token; all who ask meanwhile wait for the same one.
 * @param {(token: string) => Promise<any>} logIn
 * @returns {Promise<void>}
 */
export function askForToken(logIn) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("login");
    byId("token").value = byId("login-problem").textContent = "";
    dialog.showModal();
    dialog.onclose = () => { if (asking) dialog.showModal(); };  // Escape closes it
    byId("login-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      logIn(byId("token").value).then(() => {
        asking = null;
        dialog.close();
        resolve();
      }, (error) => { byId("login-problem").textContent = error.message; });
    };
  });
  return asking;
}
