"""Anti-aliased lines: the outline of a mask, and calipers. They are drawn into a picture (H, W, 3) uint8, in place."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sonoseg.core.resize import unit_range

Colour = tuple[int, int, int]
_Distance = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def draw_outline(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], stroke: float, colour: Colour
) -> None:
    """Draws the border of `mask` (h, w) as a smooth line. The mask shows the same scene, and may have another size."""
    soft = Image.fromarray(mask.astype(np.uint8) * 255)
    soft = soft.resize(picture.shape[1::-1], Image.Resampling.BILINEAR)
    box = soft.getbbox()
    if box is None:
        return
    sigma = max(1.0, 0.7 * soft.width / mask.shape[1])
    # Beyond this margin the blur and the line change nothing.
    margin = math.ceil(2 * stroke + 4 * sigma) + 4
    left, top = max(0, box[0] - margin), max(0, box[1] - margin)
    right, bottom = min(soft.width, box[2] + margin), min(soft.height, box[3] + margin)
    near = soft.crop((left, top, right, bottom))
    value = unit_range(np.asarray(near.filter(ImageFilter.GaussianBlur(sigma))))
    # The border is where the softened mask crosses one half; its distance to a pixel is value over slope.
    down, across = np.gradient(value)
    slope = np.maximum(np.hypot(across, down), 1e-3)
    distance = np.abs(value - 0.5) / slope
    y, x = np.nonzero(distance < stroke + 2)
    _ink(picture, y + top, x + left, distance[y, x], stroke, colour)


def draw_caliper(
    picture: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    stroke: float,
    colour: Colour,
) -> None:
    """Draws a dotted line from `start` to `end`, each (x, y), with a cross at each end."""
    way = end - start
    length = max(float(np.hypot(way[0], way[1])), 1e-9)
    along = way / length
    arm = min(
        3.5 * stroke, stroke + length / 10
    )  # short in small lesions, so that they stay visible
    places = np.arange(1.5 * arm, length - 1.4 * arm, 4 * stroke)
    dots = start + places[:, None] * along
    _stamp(picture, dots, np.hypot, 2 * stroke, 1.3 * stroke, colour)

    def to_cross(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distance to the nearer of the cross's two arms."""
        u = np.abs(x * along[0] + y * along[1])
        v = np.abs(y * along[0] - x * along[1])
        one = np.hypot(np.maximum(u - arm, 0), v)
        other = np.hypot(u, np.maximum(v - arm, 0))
        cross: NDArray[np.float64] = np.minimum(one, other)
        return cross

    _stamp(picture, np.stack([start, end]), to_cross, arm + 2 * stroke, stroke, colour)


def _stamp(
    picture: NDArray[np.uint8],
    points: NDArray[np.float64],
    distance: _Distance,
    reach: float,
    stroke: float,
    colour: Colour,
) -> None:
    """Draws a small shape around each of the points (K, 2). `distance` returns how far (x, y) is from the shape."""
    most = math.ceil(reach)
    steps = np.arange(-most, most + 1)
    centre_x = points[:, 0, None, None]
    centre_y = points[:, 1, None, None]
    x = np.floor(centre_x).astype(int) + steps
    y = np.floor(centre_y).astype(int) + steps[:, None]
    x, y = np.broadcast_arrays(x, y)
    away = distance(x + 0.5 - centre_x, y + 0.5 - centre_y)
    height, width = picture.shape[:2]
    is_inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    inked = is_inside & (away < reach)
    _ink(picture, y[inked], x[inked], away[inked], stroke, colour)


def _ink(
    picture: NDArray[np.uint8],
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    distance: NDArray[np.floating],
    stroke: float,
    colour: Colour,
) -> None:
    """Colours pixels by their distance to a line of width `stroke`. A dark rim keeps it visible on bright tissue."""
    pixels = picture[y, x].astype(np.float32)
    rim = stroke + 2, 0.5, (0, 0, 0)
    line = stroke, 1.0, colour
    for width, opacity, ink in (rim, line):
        covered = np.clip(width / 2 + 0.5 - distance, 0, 1)
        alpha = opacity * covered[:, None]
        pixels += alpha * (np.array(ink) - pixels)
    picture[y, x] = np.rint(pixels).astype(np.uint8)
