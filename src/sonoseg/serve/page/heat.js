// @ts-check
// Colours for the heat map: from black over violet and orange to yellow, brighter all the way, so that the order shows
// without telling colours apart.

const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

/** @param {ImageBitmap} gray @returns {HTMLCanvasElement} */
export function coloured(gray) {
  const canvas = document.createElement("canvas");
  canvas.width = gray.width;
  canvas.height = gray.height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(gray, 0, 0);
  const pixels = context.getImageData(0, 0, gray.width, gray.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    pixels.data.set(colour(pixels.data[i] / 255), i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** @param {number} value 0 to 1 @returns {number[]} red, green, blue */
function colour(value) {
  const place = Math.min(STOPS.length - 2, Math.floor(value * (STOPS.length - 1)));
  const share = value * (STOPS.length - 1) - place;
  return STOPS[place].map((low, channel) => low + (STOPS[place + 1][channel] - low) * share);
}
