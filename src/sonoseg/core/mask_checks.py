"""What looks wrong in a mask: gray levels that were painted, an image in its place, an outline that is not filled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import Runs, connected_runs, convex_hull

Values = NDArray[Any]
NOISE = 1 / 8
"""Of the largest value: how far compression and resizing may change black or white."""
_SHADES = 64
"""Levels of gray that are counted separately."""
ROWS = 256
"""Large masks are looked at a part at a time, which takes less memory."""
_MOST_GRAY, _MOST_RAGGED = 0.5, 100.0
"""Over both, a "mask" is an image: the share of gray among its pixels that are not black, and the square of its
outline's length by its area. Images of BUSI have at least 0.93 and 178, its lesions cut out of their images 0.92 and,
98 of 100, 110. Its masks, compressed or blurred, have at most 52; blurred ones of small lesions are nearly all gray."""
_SPECK = 0.01
"""Of the area of a mask: smaller parts of it are not judged."""
_MOST_HOLE, _MOST_HULL = 1.5, 3.0
"""Over either, a part of a mask is an outline: its area with holes filled, and that of its convex hull, by its own.
The 2,666 masks of BUSI, BUS-BRA and BrEaST have at most 1.0015 and 1.57; outlines of up to 5 pixels around a lesion of
80 have 3.6 and more. The hull tells those that are not closed, or end at the border of the image."""
_THIN = 0.15
"""Half the thickness of an outline, at most, by the radius of a disc as large as what it encloses. Lines of up to 8
pixels around lesions of 80 and 160 have 0.11 at most, filled bodies with long spicules 0.35 and more."""


def has_levels(values: Values, high: float) -> bool:
    """Whether many even pixels have about the same value, and few a similar one: labels; a probability has all."""
    shades, lesion = np.zeros(_SHADES + 1, np.intp), 0
    for top in range(0, len(values) - 2, ROWS):
        rows = values[top : top + ROWS + 2]
        share = rows.astype(np.float32) / np.float32(high)
        lowest, highest = _extremes_near(share)
        middle = share[1:-1, 1:-1]
        even = middle[highest - lowest < NOISE / 4]
        levels = (even * _SHADES).astype(int)
        shades += np.bincount(levels, minlength=_SHADES + 1)
        lesion += int(np.count_nonzero(middle > 0.5))
    at_level = np.convolve(shades, np.ones(3), "same")
    similar = np.convolve(shades, np.ones(9), "same")
    is_common = at_level > max(16, 0.005 * lesion)
    is_level = is_common & (at_level > 0.75 * similar)
    margin = int(NOISE * _SHADES)
    # Compression makes single pixels brighter than the lesion that was painted.
    painted = int(np.flatnonzero(is_common).max(initial=0))
    top = painted if painted > 0.75 * _SHADES else _SHADES
    return bool(is_level[margin : top + 1 - margin].any())


def share_of_gray(values: Values, high: float) -> float:
    """How much of what is not black is gray: a lesion cut out of its image may be a small part of it."""
    light = values[values > high * NOISE]
    return float((light < high * (1 - NOISE)).mean()) if light.size else 0.0


def is_image(values: Values, high: float) -> bool:
    """Whether gray values (H, W), not of one lesion and its edge, are an image in a mask's place."""
    is_gray = share_of_gray(values, high) > _MOST_GRAY
    return is_gray and _raggedness(values > high / 2) > _MOST_RAGGED


def _raggedness(mask: NDArray[np.bool_]) -> float:
    """The square of the length of a mask's outline by its area: 20 for a disc, as much again for each further one."""
    down = int(np.count_nonzero(mask[1:] != mask[:-1]))
    across = int(np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
    return float((down + across) ** 2 / np.count_nonzero(mask))


def _extremes_near(
    array: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The smallest and the largest value of the 3 × 3 around each inner pixel of (H, W), each (H - 2, W - 2)."""
    lowest = array[1:-1, 1:-1].copy()
    highest = lowest.copy()
    height, width = lowest.shape
    for row in range(3):
        for column in range(3):
            near = array[row : row + height, column : column + width]
            np.minimum(lowest, near, out=lowest)
            np.maximum(highest, near, out=highest)
    return lowest, highest


def outline_problem(mask: NDArray[np.bool_]) -> str:
    """Says that in a mask (H, W) a lesion was outlined and not filled; "" if that is not so."""
    runs = connected_runs(mask)
    areas = np.bincount(runs.label, runs.stop - runs.start)
    for label in np.flatnonzero(areas >= _SPECK * areas.sum()):
        own = runs.label == label
        part = Runs(*(field[own] for field in runs))
        filled, hull = _filled_area(part), _hull_area(part)
        is_open = filled > _MOST_HOLE * areas[label] or hull > _MOST_HULL * areas[label]
        if is_open and _is_thin(part, max(filled, hull)):
            share = areas[label] / max(filled, hull)
            return f"the mask seems to be an outline: it covers {share:.0%} of what it encloses"
    return ""


def _filled_area(part: Runs) -> int:
    """The pixels of a part with its holes."""
    top, left = part.row.min() - 1, part.start.min() - 1
    around = np.ones((part.row.max() + 2 - top, part.stop.max() + 1 - left), np.bool_)
    for row, start, stop, _ in zip(*part, strict=True):
        around[row - top, start - left : stop - left] = False
    runs = connected_runs(around, diagonal=False)
    is_outside = runs.label == 0  # the row above the part
    return int(around.size - (runs.stop - runs.start)[is_outside].sum())


def _is_thin(part: Runs, enclosed: float) -> bool:
    """Whether a part is thin everywhere, for the area that it encloses; a filled body with long spicules is not."""
    top, left = part.row.min(), part.start.min()
    inside = np.zeros((part.row.max() + 1 - top, part.stop.max() - left), np.bool_)
    for row, start, stop, _ in zip(*part, strict=True):
        inside[row - top, start - left : stop - left] = True
    for _ in range(max(1, round(_THIN * math.sqrt(enclosed / math.pi)))):
        inside = eroded(inside)
        if not inside.any():
            return True
    return False


def eroded(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The inner pixels of (H, W) whose 3 × 3 is full, (H - 2, W - 2)."""
    rows = part[:-2] & part[1:-1] & part[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]


def _hull_area(part: Runs) -> float:
    x, y = convex_hull(part).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
