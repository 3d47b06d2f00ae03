// @ts-check
// The table of lesions: their measurements, and what can be done to each of them.

import { forgetCalipers } from "./calipers.js";
import { boxKey, boxOf, partAt } from "./mask.js";
import { send } from "./saver.js";
import { byId, canDraw, element, onChange, state, update } from "./state.js";

function show() {
  const rows = state.lesions.map(rowOf);
  const head = element("tr");
  const { unit } = state, area = unit === "mm" ? "mm²" : unit;
  head.append(...["", `axes, ${unit}`, `area, ${area}`, "prob.", ""].map((text) => element("th", text)));
  const none = element("tr");
  none.append(element("td", state.isPlaying ? "measured when it stops" : "no lesion"));
  byId("lesions").replaceChildren(...(rows.length ? [head, ...rows] : [none]));
}

/** @param {import("./state.js").Lesion} lesion @param {number} place */
function rowOf(lesion, place) {
  const row = element("tr"), digits = state.unit === "mm" ? 1 : 0;
  const lengths = [lesion.longest_diameter, lesion.perpendicular_diameter].map((length) => length.toFixed(digits));
  const area = lesion.area.toFixed(lesion.area < 100 ? digits : 0);
  const isHidden = state.hidden.includes(boxKey(lesion.box));
  const diameters = element("td", lengths.join(" × "), lesion.by_hand ? "by-hand" : "");
  if (lesion.by_hand) diameters.title = "measured by hand";
  const actions = element("td", "", "actions");
  if (lesion.by_hand) actions.append(action("↺", `Lesion ${place + 1}: back to the diameters worked out`, () => forgetCalipers(lesion)));
  actions.append(
    action(isHidden ? "○" : "◉", `Lesion ${place + 1}: ${isHidden ? "show" : "hide"}`, () => toggle(lesion)),
    action("✕", `Lesion ${place + 1}: delete`, () => remove(lesion)),
  );
  row.append(element("th", String(place + 1)), diameters, element("td", area), element("td", lesion.mean_probability.toFixed(2)), actions);
  return row;
}

/** @param {string} sign @param {string} text @param {() => void} run */
function action(sign, text, run) {
  const button = element("button", sign);
  button.title = text;
  button.setAttribute("aria-label", text);
  button.addEventListener("click", run);
  return button;
}

/** @param {import("./state.js").Lesion} lesion */
function toggle(lesion) {
  const key = boxKey(lesion.box), others = state.hidden.filter((one) => one !== key);
  update({ hidden: others.length < state.hidden.length ? others : [...others, key] });
}

/** @param {import("./state.js").Lesion} lesion */
function remove(lesion) {
  const picture = state.picture, { x, y, width } = lesion.box;
  if (!picture || !canDraw()) return;
  const seen = new Uint8Array(state.mask.length);
  for (let column = x; column < x + width; column++) {
    const place = y * picture.width + column;
    if (!state.mask[place] || seen[place]) continue;
    const part = partAt(state.mask, picture.width, picture.height, place, seen);
    if (boxKey(boxOf(part, picture.width)) !== boxKey(lesion.box)) continue;  // another one that reaches into its box
    send({ tool: "delete", x: column, y });
    return;
  }
}

onChange((changed) => {
  if (["lesions", "unit", "hidden"].some((name) => changed.has(name))) show();
});
