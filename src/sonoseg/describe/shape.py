"""The form of a lesion, measured on its outline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import connected_runs, convex_hull
from sonoseg.describe.outline import area_of, keep_waves, length_of, turns_of
from sonoseg.describe.patch import Patch

_LOBES = 8
"""Waves around the outline: up to so many are lobes, more are bumps."""
_TURNS = 16
"""Waves that count as turns; shorter ones come from the pixels."""


@dataclass(frozen=True)
class Shape:
    """Numbers without a unit, which do not depend on the size of the lesion.

    Attributes:
        axis_ratio: short by long axis of the ellipse with the same second moments, over 0 to 1 (a circle).
        tilt: degrees between the long axis of that ellipse and the rows of the image, 0 to 90.
        height_to_width: of the upright rectangle around the lesion.
        ellipse_overlap: IoU with that ellipse, 0 to 1 (an ellipse).
        solidity: area by area of the convex hull, over 0 to 1 (convex).
        circularity: 4π area / length², over 0 to 1 (a circle).
        turning: how much more than once the outline turns, in full turns: 0 if it is convex.
        sharpest: the largest turn to the outside along a twentieth of the outline, in radians: about π/10 for a circle.
        lobes: mean distance of the outline from itself with 2 waves only, in radii; waves of 3 to 8.
        bumps: the same from the outline with 8 waves; shorter waves than these.
    """

    axis_ratio: float
    tilt: float
    height_to_width: float
    ellipse_overlap: float
    solidity: float
    circularity: float
    turning: float
    sharpest: float
    lobes: float
    bumps: float


def measure_shape(patch: Patch) -> Shape:
    """Measures the form of the outline of the lesion in a patch (see `sonoseg.describe.patch.cut_patch`)."""
    curve = patch.curve
    area, length = area_of(curve), length_of(curve)
    pixels = float(np.count_nonzero(patch.filled))
    ratio, tilt, overlap = _ellipse(patch.filled)
    hull = convex_hull(connected_runs(patch.filled))
    hull_area = area_of(hull[:, 0] + 1j * hull[:, 1])
    turns = turns_of(keep_waves(curve, _TURNS))
    window = len(curve) // 20
    sums = np.cumsum(np.concatenate([turns, turns[:window]]))
    smooth = keep_waves(curve, 2), keep_waves(curve, _LOBES)
    return Shape(
        axis_ratio=ratio,
        tilt=tilt,
        height_to_width=patch.height_to_width,
        ellipse_overlap=overlap,
        solidity=min(1.0, pixels / abs(hull_area)),
        circularity=min(1.0, 4 * math.pi * area / length**2),
        turning=max(0.0, float(np.abs(turns).sum()) / (2 * math.pi) - 1),
        sharpest=float((sums[window:] - sums[:-window]).max()),
        lobes=float(np.abs(smooth[1] - smooth[0]).mean()) / patch.radius,
        bumps=float(np.abs(curve - smooth[1]).mean()) / patch.radius,
    )


def _ellipse(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Of the ellipse with the second moments of a mask: axis ratio, tilt in degrees, and IoU with the mask."""
    area = np.count_nonzero(mask)
    height, width = mask.shape
    dx, dy = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    by_column, by_row = mask.sum(0), mask.sum(1)
    dx -= by_column @ dx / area
    dy -= by_row @ dy / area
    mixed = dy @ (mask @ dx) / area
    # A pixel is a square, whose own second moment is 1/12.
    xx, yy = by_column @ dx**2 / area + 1 / 12, by_row @ dy**2 / area + 1 / 12
    values, vectors = np.linalg.eigh([[xx, mixed], [mixed, yy]])
    along = vectors[:, 1]
    tilt = math.degrees(math.atan2(abs(along[1]), abs(along[0])))
    # A point is inside if its squared Mahalanobis distance is at most 4.
    determinant = xx * yy - mixed**2
    distance = yy * dx**2 + (xx * dy**2)[:, None] - np.outer(2 * mixed * dy, dx)
    is_ellipse = distance <= 4 * determinant
    union = np.count_nonzero(is_ellipse | mask)
    overlap = float(np.count_nonzero(is_ellipse & mask)) / float(union)
    return math.sqrt(values[0] / values[1]), tilt, overlap
