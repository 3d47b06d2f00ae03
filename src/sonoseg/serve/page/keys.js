// @ts-check
// The keyboard, the toolbar that shows the same commands, and the list of keys.

import { forgetCalipers } from "./calipers.js";
import { nextLesion, playOrPause, showFrame, stepFrame } from "./loop.js";
import { accept, hide, toggle, withdraw } from "./panel.js";
import { move, report } from "./pictures.js";
import { send, write } from "./saver.js";
import { byId, element, onChange, state, update } from "./state.js";
import { cancel, hideAtCross, moveCross, useAtCross } from "./tools.js";
import { actualSize, fit, zoom } from "./view.js";

/** @typedef {{keys: string[], text: string, run: () => void, tool?: import("./state.js").Tool, sign?: string}} Command */

/** @param {import("./state.js").Tool} tool */
const choose = (tool) => () => {
  cancel();
  update({ tool });
};
/** @param {number} factor */
const resizeBrush = (factor) => () => update({ brush: Math.min(200, Math.max(1, state.brush * factor)) });
/** @param {number} step */
const moveThreshold = (step) => () => {
  const threshold = Math.min(0.98, Math.max(0.02, Math.round(100 * (state.threshold + step)) / 100));
  if (send({ tool: "threshold", threshold })) update({ threshold });
};

/** Takes back what is in hand, or else the last change. */
const undo = () => void (cancel() || send({ tool: "undo" }));

/** @type {Command[]} */
const COMMANDS = [
  { keys: ["g"], text: "Grow a lesion at a point", run: choose("grow"), tool: "grow", sign: "✚" },
  { keys: ["r"], text: "Find a lesion in a box", run: choose("box"), tool: "box", sign: "▭" },
  { keys: ["b"], text: "Brush", run: choose("brush"), tool: "brush", sign: "●" },
  { keys: ["e"], text: "Eraser", run: choose("eraser"), tool: "eraser", sign: "◌" },
  { keys: ["u"], text: "Push the outline out from inside, or in from outside", run: choose("push"), tool: "push", sign: "◑" },
  { keys: ["k"], text: "Cut a lesion in two: draw through it", run: choose("cut"), tool: "cut", sign: "╱" },
  { keys: ["j"], text: "Join two lesions: draw from one to the other", run: choose("join"), tool: "join", sign: "∞" },
  { keys: ["d"], text: "Delete a lesion", run: choose("delete"), tool: "delete", sign: "✕" },
  { keys: ["m"], text: "Move the ends of the calipers", run: choose("calipers"), tool: "calipers", sign: "↔" },
  { keys: ["v"], text: "Move the view", run: choose("pan"), tool: "pan", sign: "✥" },
  { keys: ["z"], text: "Undo", run: undo, sign: "↶" },
  { keys: ["y"], text: "Redo", run: () => void send({ tool: "redo" }), sign: "↷" },
  { keys: ["q"], text: "Back to the network's own mask", run: () => void send({ tool: "reset" }), sign: "⟲" },
  { keys: ["Delete"], text: "Delete all lesions", run: () => void send({ tool: "clear" }), sign: "∅" },
  { keys: ["n", "PageDown"], text: "Next image", run: () => void move(1).catch(report) },
  { keys: ["p", "PageUp"], text: "Previous image", run: () => void move(-1).catch(report) },
  { keys: ["Enter"], text: "Accept, and open the next image", run: () => void accept() },
  { keys: ["w"], text: "Withdraw what was accepted", run: () => void withdraw() },
  { keys: ["1", "2", "3", "4"], text: "Label benign, malignant, normal, uncertain", run: () => {} },
  { keys: [" "], text: "Use the tool at the cross", run: useAtCross },
  { keys: ["ArrowLeft"], text: "Move the cross; with Shift ten pixels", run: () => {} },
  { keys: ["a"], text: "Frame before", run: () => stepFrame(-1) },
  { keys: ["s"], text: "Frame after", run: () => stepFrame(1) },
  { keys: ["A"], text: "Frame with a lesion before", run: () => nextLesion(-1) },
  { keys: ["S"], text: "Frame with a lesion after", run: () => nextLesion(1) },
  { keys: ["Home"], text: "First frame", run: () => void showFrame(1).catch(report) },
  { keys: ["End"], text: "Last frame", run: () => void showFrame(Infinity).catch(report) },
  { keys: ["l"], text: "Play the loop, or pause", run: () => void playOrPause() },
  { keys: [","], text: "Smaller brush", run: resizeBrush(1 / 1.2) },
  { keys: ["."], text: "Larger brush", run: resizeBrush(1.2) },
  { keys: ["t"], text: "Lower threshold", run: moveThreshold(-0.05) },
  { keys: ["T"], text: "Higher threshold", run: moveThreshold(0.05) },
  { keys: ["o"], text: "Outline", run: () => toggle("outline") },
  { keys: ["f"], text: "Filled mask", run: () => toggle("fill") },
  { keys: ["c"], text: "Calipers", run: () => toggle("calipers") },
  { keys: ["h"], text: "Heat: where the network looked", run: () => toggle("heat") },
  { keys: ["i"], text: "Hide the lesion at the cross; elsewhere, show all", run: hideAtCross },
  { keys: ["M"], text: "Calipers back to what is worked out", run: () => forgetCalipers() },
  { keys: ["x"], text: "Hide all, or show again", run: hide },
  { keys: ["+", "="], text: "Zoom in", run: () => zoom(1.25) },
  { keys: ["-"], text: "Zoom out", run: () => zoom(0.8) },
  { keys: ["0"], text: "Whole image", run: fit },
  { keys: ["9"], text: "Actual size", run: actualSize },
  { keys: ["Escape"], text: "Leave a box, a line, a cut or the end of a caliper that is in hand", run: () => void cancel() },
  { keys: ["?"], text: "This list", run: () => byId("help").showModal() },
];
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** @type {Record<string, string>} */
const NAMES = { " ": "Space", ArrowLeft: "← → ↑ ↓" };

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && event.repeat && !target.matches("textarea")) {
    event.preventDefault();  // a key that is held would accept images that nobody has looked at
    return;
  }
  if (event.ctrlKey || event.metaKey) {
    onControl(event);
    return;
  }
  if (event.altKey || target.matches("input:not([type=range]), textarea, select")) return;
  const arrow = ARROWS[event.key];
  // Buttons and sliders keep the keys that they know themselves.
  const isControl = target.matches("button, input, label, a");
  if (isControl && (event.key === " " || event.key === "Enter" || arrow)) return;
  if (arrow) {
    const step = event.shiftKey ? 10 : 1;
    moveCross(arrow[0] * step, arrow[1] * step);
  } else if (/^[1-4]$/.test(event.key)) {
    write({ label: state.labels[Number(event.key) - 1] });
  } else {
    const command = COMMANDS.find(({ keys }) => keys.includes(event.key));
    if (!command) return;
    command.run();
  }
  event.preventDefault();
}

/** @param {KeyboardEvent} event */
function onControl(event) {
  const key = event.key.toLowerCase();
  if (key === "y" || (key === "z" && event.shiftKey)) send({ tool: "redo" });
  else if (key === "z") undo();
  else return;
  event.preventDefault();
}

function showTools() {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (byId("tools").querySelectorAll("button"))) {
    const { tool, command } = button.dataset;
    if (tool) button.setAttribute("aria-pressed", String(tool === state.tool));
    if (command === "z") button.disabled = state.undo === 0;
    if (command === "y") button.disabled = state.redo === 0;
  }
}

for (const command of COMMANDS) {
  const shown = command.keys.map((key) => NAMES[key] ?? key).join(" ");
  byId("keys").append(element("dt", shown), element("dd", command.text));
  if (!command.sign) continue;
  const button = element("button", command.sign);
  button.title = `${command.text} (${shown})`;
  button.setAttribute("aria-label", command.text);
  button.dataset.command = command.keys[0];
  if (command.tool) button.dataset.tool = command.tool;
  button.addEventListener("click", command.run);
  byId("tools").append(button);
}
byId("help-button").addEventListener("click", () => byId("help").showModal());
addEventListener("keydown", onKey);
onChange((changed) => {
  if (["tool", "undo", "redo"].some((name) => changed.has(name))) showTools();
});
showTools();
