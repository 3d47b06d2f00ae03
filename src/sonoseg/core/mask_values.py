"""What the values of a mask mean: labels or shades, colours seen through transparency, an image in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.errors import InputError

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
_SAME = 1 / 64
"""As a share of the largest value: two values no further apart are the same."""
HINT = "paint lesions white (255) on black (0)"


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


def eroded(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The inner pixels of (H, W) whose 3 × 3 is full, (H - 2, W - 2)."""
    rows = part[:-2] & part[1:-1] & part[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]


def with_alpha(values: Values, alpha: Values, subject: str) -> Values:
    """The values (H, W) as they are seen through `alpha` (H, W) on a black background."""
    is_hidden = alpha == 0
    has_hidden_colour = (values[is_hidden] > 0).any()
    has_shown_black = (values[~is_hidden] == 0).any()
    if has_hidden_colour and has_shown_black:
        problem = "the colours and the transparency of the mask contradict each other"
        raise InputError(subject, problem, HINT)
    if _are_alike(values, alpha):
        return alpha  # colours that were multiplied by alpha before
    most = alpha.max()
    if not values.dtype == alpha.dtype == np.uint8:
        shares: Values = values * (alpha / np.float64(most))
        return shares
    products = values.astype(np.uint16) * alpha
    rounded = (products + most // 2) // most
    shown: Values = rounded.astype(np.uint8)
    return shown


def _are_alike(first: Values, second: Values) -> bool:
    """Whether two channels are the same, each as a share of its largest value."""
    most_of_first = np.float32(max(first.max(), 1))
    most_of_second = np.float32(max(second.max(), 1))
    for top in range(0, len(first), ROWS):
        rows = slice(top, top + ROWS)
        difference = first[rows] / most_of_first - second[rows] / most_of_second
        if np.abs(difference).max() >= _SAME:
            return False
    return True


def are_labels(indices: Values, colour: Values) -> bool:
    """Whether the indices of a palette are labels: 0 is black, or all colours are the same, and all form areas."""
    used = np.unique(indices)
    if len(used) < 2:
        return False
    if is_constant(colour):
        return True
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    is_gray = (red == green).all() and (red == blue).all()
    is_zero_black = used[0] == 0 and not colour[indices == 0].any()
    if is_gray or not is_zero_black:
        return False
    return all(has_area(indices == label) for label in used[1:])


def is_constant(array: Values) -> bool:
    return bool((array == array[:1, :1]).all())


def has_area(part: NDArray[np.bool_]) -> bool:
    """Whether a part of a mask fills 3 × 3 pixels anywhere: smooth edges are thinner."""
    return bool(eroded(part).any())
