"""Grows a lesion at a point, or inside a box, on the network's probability and on the image's gray values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageFilter

from sonoseg.core.measure import connected_runs
from sonoseg.describe.outline import filled

Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""
SURE = 0.2
"""Probability at the point from which the network's own map decides alone."""
_LEVELS = 24
_COARSE = 240
"""Pixels to a side on which levels of gray are compared."""
_SMALLEST, _LARGEST = 0.0008, 0.25
"""Shares of the image that a lesion grown from gray values may have."""
_LIKELY = 8
"""Gray values of contrast that decide between two sizes; a larger part needs no less contrast."""


def grow_at(
    pixels: NDArray[np.uint8], probability: NDArray[np.float32], x: int, y: int
) -> NDArray[np.bool_]:
    """The lesion (H, W) around a point.

    If the network finds lesion there likely, it is the part of its probability map above half of the value at the
    point. Otherwise it is the dark part of the smoothed image around the point whose border has the most contrast.

    Args:
        pixels: (H, W) uint8.
        probability: (H, W) float32 in 0..1.
        x, y: the pixel's column and row.
    """
    height, width = pixels.shape
    reach = max(height, width) // 3
    left, top = max(0, x - reach), max(0, y - reach)
    rows, columns = slice(top, y + reach + 1), slice(left, x + reach + 1)
    seed = (y - top, x - left)
    near = probability[rows, columns]
    if near[seed] >= SURE:
        part = part_at(probability >= probability[y, x] / 2, y, x)
        return filled(part)
    smooth = _smoothed(pixels)[rows, columns]
    grown = np.zeros(pixels.shape, bool)
    grown[rows, columns] = _best_part(smooth, seed, pixels.size)
    return grown


def grow_in(
    pixels: NDArray[np.uint8], probability: NDArray[np.float32], box: Box
) -> NDArray[np.bool_]:
    """The lesion (H, W) inside a box: as `grow_at` at its middle, and nothing outside of it.

    Args:
        pixels: (H, W) uint8.
        probability: (H, W) float32 in 0..1.
        box: inside the image.
    """
    left, top, width, height = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    grown = np.zeros(pixels.shape, bool)
    near = probability[rows, columns]
    if near.max() >= SURE:
        likely = near >= near.max() / 2
        row, column = np.unravel_index(int(np.argmax(near)), near.shape)
        grown[rows, columns] = filled(part_at(likely, int(row), int(column)))
        return grown
    smooth = _smoothed(pixels)[rows, columns]
    middle = smooth[height // 4 : height - height // 4, width // 4 : width - width // 4]
    darkest = int(np.argmin(middle))
    row, column = np.unravel_index(darkest, middle.shape)
    seed = (int(row) + height // 4, int(column) + width // 4)
    grown[rows, columns] = _best_part(smooth, seed, pixels.size)
    return grown


def part_at(mask: NDArray[np.bool_], y: int, x: int) -> NDArray[np.bool_]:
    """The 8-connected part of a mask (H, W) that holds the pixel (y, x); empty if the pixel is not in the mask."""
    part = np.zeros(mask.shape, bool)
    if not mask[y, x]:
        return part
    runs = connected_runs(mask)
    is_here = (runs.row == y) & (runs.start <= x) & (x < runs.stop)
    label = runs.label[is_here][0]
    pixels = np.repeat(runs.label == label, runs.stop - runs.start)
    part[mask] = pixels
    return part


def _smoothed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The image (H, W) without speckle."""
    radius = max(1.5, 0.008 * max(pixels.shape))
    blurred = Picture.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, np.float32)


def _best_part(
    smooth: NDArray[np.float32], seed: tuple[int, int], image_size: int
) -> NDArray[np.bool_]:
    """Of the dark parts around the seed, the one whose border has the most contrast.

    The levels are compared on every n-th pixel, and the best one is applied to all pixels.
    """
    step = 1 + max(smooth.shape) // _COARSE
    coarse = smooth[::step, ::step]
    near = seed[0] // step, seed[1] // step
    best_level, best_score = None, -math.inf
    lowest = max(float(smooth[seed]), float(coarse[near])) + 1
    highest = min(lowest + 90, float(smooth.max()))
    for level in np.linspace(lowest, highest, _LEVELS):
        part = part_at(coarse <= level, *near)
        share = np.count_nonzero(part) * step**2 / image_size
        if not _SMALLEST <= share <= _LARGEST:
            continue
        score = _contrast(coarse, part) + _LIKELY * math.log10(share / _SMALLEST)
        if score > best_score:
            best_level, best_score = level, score
    if best_level is None:
        return _disc(smooth.shape, seed, image_size)
    return filled(part_at(smooth <= best_level, *seed))


def _contrast(smooth: NDArray[np.float32], part: NDArray[np.bool_]) -> float:
    """How much brighter it is just outside of a part than just inside; a border of the image counts as none."""
    width = max(2, round(0.02 * max(part.shape)))
    outer = _widened(part, width) & ~part
    inner = part & _widened(~part, width)
    if not outer.any() or not inner.any():
        return 0.0
    border = int(part[0].sum() + part[-1].sum() + part[:, 0].sum() + part[:, -1].sum())
    cut = min(1.0, border / (4 * math.sqrt(np.count_nonzero(part))))
    return float(smooth[outer].mean() - smooth[inner].mean()) * (1 - cut)


def _widened(part: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """A part with all pixels that are at most `width` rows and columns away from it."""
    taller = part.copy()
    for offset in range(1, width + 1):
        taller[offset:] |= part[:-offset]
        taller[:-offset] |= part[offset:]
    wide = taller.copy()
    for offset in range(1, width + 1):
        wide[:, offset:] |= taller[:, :-offset]
        wide[:, :-offset] |= taller[:, offset:]
    return wide


def _disc(
    shape: tuple[int, ...], seed: tuple[int, int], image_size: int
) -> NDArray[np.bool_]:
    """A small disc around the seed, for a place where nothing is darker than its surroundings."""
    radius = math.sqrt(image_size) * 0.03
    rows = np.arange(shape[0])[:, None] - seed[0]
    columns = np.arange(shape[1]) - seed[1]
    return np.hypot(rows, columns) <= radius
