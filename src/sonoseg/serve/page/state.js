// @ts-check
// The state of the page, in one place. Everything that is shown follows from it.

/**
 * @typedef {object} Entry one image in the list
 * @property {string} id
 * @property {string} version of its file
 * @property {string} name
 * @property {string} place which image of a split screen it is
 * @property {"open"|"edited"|"accepted"|"changed"} state
 * @property {string} label
 * @property {number} frames more than one: a loop
 * @property {number} accepted how many of them are accepted
 *
 * @typedef {[number, number]} Place x and y in pixels of the image
 *
 * @typedef {object} Lesion lengths in the unit of the picture, places in pixels
 * @property {number} area
 * @property {number} longest_diameter
 * @property {number} perpendicular_diameter
 * @property {number} mean_probability
 * @property {Place} centre
 * @property {Place[]} longest_diameter_ends
 * @property {Place[]} perpendicular_diameter_ends
 * @property {{x: number, y: number, width: number, height: number}} box
 * @property {boolean} by_hand whether the diameters are the reader's calipers
 * @property {Record<string, {word: string|null, probabilities: Record<string, number>}>} descriptors
 *
 * @typedef {object} Finding what the reader wrote
 * @property {string} label
 * @property {string} birads
 * @property {string} note
 * @property {string} spacing
 * @property {Record<string, string>} descriptors
 *
 * @typedef {object} Picture the image that is open
 * @property {string} id of the image; in a loop, of the frame
 * @property {string} scene of the entry in the list
 * @property {number} frame from 1
 * @property {number} frames
 * @property {number|null} frameTime milliseconds from frame to frame
 * @property {string} name
 * @property {string} place
 * @property {number} width
 * @property {number} height
 * @property {string} version of the file; another file under the same name has another one
 * @property {ImageBitmap} pixels
 * @property {Promise<Float32Array>|null} map the network's own map, row by row, once it was asked for
 * @property {[number, number]} mapSize rows and columns of the map
 * @property {number} smallest share of the image below which a part is dropped
 * @property {number} ownThreshold
 *
 * @typedef {"pan"|"grow"|"box"|"brush"|"eraser"|"push"|"cut"|"join"|"delete"|"calipers"} Tool
 */

export const state = {
  reader: "reader",
  /** @type {Entry[]} */ entries: [],
  /** @type {string[]} */ labels: [],
  /** @type {string[]} */ categories: [],
  /** @type {Record<string, string[]>} */ descriptors: {},
  filter: "all",
  /** @type {Picture|null} */ picture: null,
  /** @type {Uint8Array} one byte per pixel, 1 is lesion */ mask: new Uint8Array(0),
  /** @type {Uint8Array|null} shown instead of the mask while the threshold moves */ preview: null,
  revision: 0,
  /** digits of what the server has of the finding */ words: "",
  undo: 0,
  redo: 0,
  unit: "px",
  /** @type {string[]} why the open image's result should not be trusted */ doubts: [],
  /** @type {string[]} what else the reader should know of it */ notes: [],
  network: "",
  /** @type {Lesion[]} */ lesions: [],
  /** @type {Finding} */ finding: { label: "", birads: "", note: "", spacing: "", descriptors: {} },
  /** @type {"open"|"edited"|"accepted"|"changed"} of the open image */ progress: "open",
  /** @type {string[]} boxes of the lesions that are not shown */ hidden: [],
  /** @type {number[]} of each frame that was segmented, the share that is lesion */ shares: [],
  /** @type {Record<string, string>} states of the frames that were touched */ frameStates: {},
  isPlaying: false,
  /** @type {Tool} */ tool: "grow",
  brush: 12,
  threshold: 0.5,
  opacity: 0.35,
  brightness: 1,
  contrast: 1,
  layers: { outline: true, fill: false, heat: false, calipers: true },
  /** @type {ImageBitmap|HTMLCanvasElement|null} */ heat: null,
  /** place of the image's corner on the canvas, and canvas pixels per image pixel */
  transform: { x: 0, y: 0, scale: 1 },
  /** @type {{x: number, y: number}|null} the cross, in image pixels */ cursor: null,
  /** @type {{x: number, y: number, width: number, height: number}|null} */ box: null,
  /** @type {[Place, Place]|null} from one lesion to another */ link: null,
  /** whether the server works out what the last edit changes */ busy: false,
  /** whether another image, or frame, is being opened */ isOpening: false,
  /** whether the server may have another mask, or other words, than are shown */ isStale: false,
  /** identifier of the image that is being accepted or withdrawn, or "" */ accepting: "",
  message: "",
  saved: "",
};

/** @returns {boolean} whether nothing can be changed now: it could get to another image than the one that is seen */
export function isLocked() {
  return state.isOpening || state.isStale || (state.accepting !== "" && state.accepting === state.picture?.id);
}

/** @returns {boolean} whether strokes can be drawn */
export function canDraw() {
  return state.picture !== null && !state.busy && !isLocked();
}

/** @type {((changed: Set<string>) => void)[]} */
const listeners = [];

/** @param {(changed: Set<string>) => void} listener called after each change with the names of what changed */
export function onChange(listener) {
  listeners.push(listener);
}

/** @param {Partial<typeof state>} changes */
export function update(changes) {
  Object.assign(state, changes);
  const changed = new Set(Object.keys(changes));
  for (const listener of listeners) listener(changed);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [text] shown as text, whatever it contains
 * @param {string} [className]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** @param {string} id @returns {any} the element of the page with this id */
export function byId(id) {
  return document.getElementById(id);
}
