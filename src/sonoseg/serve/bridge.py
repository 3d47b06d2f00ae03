"""Joins two lesions to one, as where the network saw two parts of the same lesion."""

from __future__ import annotations

import numpy as np

from sonoseg.core.measure import connected_runs, convex_hull
from sonoseg.errors import InputError
from sonoseg.serve.grow import part_at
from sonoseg.serve.patch import Mask

Place = tuple[int, int]
"""Column and row of a pixel."""


def joined(mask: Mask, one: Place, other: Place) -> Mask:
    """The mask (H, W) with what lies between two of its lesions.

    Between them is what the convex hull of both has more than their own hulls: their outer borders stay as they are.
    If that does not join them, as where one lies in a bay of the other, the hull of both is filled.

    Args:
        mask: not changed.
        one, other: a pixel of each lesion.

    Raises:
        InputError: a pixel is in no lesion, or both are in the same.
    """
    first, second = (part_at(mask, y, x) for x, y in (one, other))
    if not first.any() or not second.any():
        hint = "drag from one lesion to the other"
        raise InputError("join", "does not begin and end in a lesion", hint)
    if first[other[1], other[0]]:
        raise InputError("join", "is within one lesion", "drag to another lesion")
    whole = _filled_hull(first | second)
    between = whole & ~_filled_hull(first) & ~_filled_hull(second)
    result = mask | between
    if not part_at(result, one[1], one[0])[other[1], other[0]]:
        result = mask | whole
    return result


def _filled_hull(part: Mask) -> Mask:
    """The pixels whose centres lie in the convex hull of a part (H, W)."""
    corners = convex_hull(connected_runs(part))
    left, top = corners.min(0).astype(int)
    right, bottom = corners.max(0).astype(int)
    x = np.arange(left, right) + 0.5
    y = (np.arange(top, bottom) + 0.5)[:, None]
    middle = corners.mean(0)
    inside = np.ones((bottom - top, right - left), bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = end - start
        side = along[0] * (y - start[1]) - along[1] * (x - start[0])
        own = along[0] * (middle[1] - start[1]) - along[1] * (middle[0] - start[0])
        inside &= side * own >= 0
    filled = np.zeros(part.shape, bool)
    filled[top:bottom, left:right] = inside
    return filled
