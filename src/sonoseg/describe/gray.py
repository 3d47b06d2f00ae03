"""The gray values of a lesion, and of what is behind it, compared with the tissue beside it at the same depth."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.describe.patch import Patch

Mask = NDArray[np.bool_]
Rows = tuple[NDArray[Any], NDArray[Any]]

_RIM = 0.12
"""Radii on either side of the outline that count neither as lesion nor as surroundings."""
_BEHIND = 0.15, 1.2
"""Depths behind the lesion that are looked at, in radii."""
_SEEN = 0.4
"""Share of that depth that must be in the image."""
_BLOCK = 0.25
"""Side of the blocks whose means say how uneven a lesion is, in radii."""
_BLACK = 1.5
"""Gray value: the surroundings up to this one are outside the beam."""


@dataclass(frozen=True)
class Gray:
    """Gray values relative to the surroundings, so the gain of the scanner cancels; NaN where there is nothing to see.

    Attributes:
        echo: contrast of the lesion with its surroundings at the same depth, (a - b) / (a + b) of their means, -1
            (black) to 1.
        dark, middle, bright: the 10th, 50th and 90th percentile of the lesion, by the mean of its surroundings.
        black_share: share of the lesion under a fifth of the mean of its surroundings.
        unevenness: standard deviation of the means of blocks of the lesion, by the mean of its surroundings.
        grain: standard deviation of the lesion, by its mean.
        around: standard deviation of the surroundings, by their mean.
        behind: contrast of the tissue behind the lesion with that beside it at the same depth, -1 (shadow) to 1.
        behind_least, behind_most: the same of the third of the width in which it is smallest, and largest.
        behind_middle: the same of the middle third.
    """

    echo: float
    dark: float
    middle: float
    bright: float
    black_share: float
    unevenness: float
    grain: float
    around: float
    behind: float
    behind_least: float
    behind_most: float
    behind_middle: float


def measure_gray(patch: Patch) -> Gray:
    """Measures the gray values in a patch (see `sonoseg.describe.patch.cut_patch`)."""
    rim = max(1, round(_RIM * patch.radius))
    core = _shrunk(patch.lesion, rim)
    if not core.any():
        core = patch.lesion
    beside = _beside(patch, rim)
    values = patch.gray[core].astype(np.float64)
    tissue = patch.gray[beside].astype(np.float64)
    mean = float(tissue.mean()) if len(tissue) else math.nan
    mean = max(mean, 1.0)
    dark, middle, bright = np.quantile(values, (0.1, 0.5, 0.9)) / mean
    behind, thirds = _behind(patch)
    return Gray(
        echo=_same_depth(patch.gray, core, beside),
        dark=float(dark),
        middle=float(middle),
        bright=float(bright),
        black_share=float((values < 0.2 * mean).mean()) if len(tissue) else math.nan,
        unevenness=_unevenness(patch, core) / mean,
        grain=float(values.std() / max(values.mean(), 1.0)),
        around=float(tissue.std()) / mean if len(tissue) else math.nan,
        behind=behind,
        behind_least=min(thirds),
        behind_most=max(thirds),
        behind_middle=thirds[1],
    )


def contrast(one: float, other: float) -> float:
    """(a - b) / (a + b) of two gray values, -1 to 1; 0 if both are black."""
    return (one - other) / max(one + other, 1.0)


def _beside(patch: Patch, rim: int) -> Mask:
    """The tissue beside the lesion, in its rows."""
    near = ~_shrunk(~patch.filled, rim)  # what is in its hole is not beside it
    rows = patch.lesion.any(1, keepdims=True)
    is_tissue: Mask = patch.inside & ~near & rows & (patch.gray > _BLACK)
    return is_tissue


def _same_depth(gray: NDArray[np.float32], one: Mask, other: Mask) -> float:
    """The contrast of two regions, row by row; each row counts by its pixels of the first region."""
    return _contrast(_rows(gray, one), _rows(gray, other))


def _rows(gray: NDArray[np.float32], mask: Mask) -> Rows:
    """The number of pixels of a region in each row, and the sum of their gray values."""
    return np.count_nonzero(mask, 1), (gray * mask).sum(1)


def _contrast(one: Rows, other: Rows) -> float:
    (counts, sums), (other_counts, other_sums) = one, other
    is_both = (counts > 0) & (other_counts > 0)
    if not is_both.any():
        return math.nan
    counts = counts[is_both]
    mean, other_mean = (
        sums[is_both] / counts,
        other_sums[is_both] / other_counts[is_both],
    )
    contrasts = (mean - other_mean) / np.maximum(mean + other_mean, 1.0)
    return float(counts @ contrasts / counts.sum())


def _behind(patch: Patch) -> tuple[float, tuple[float, float, float]]:
    """The contrast behind the lesion with the tissue beside, over its width, and in each third of it."""
    columns = np.flatnonzero(patch.lesion.any(0))
    bottom = int(np.flatnonzero(patch.lesion.any(1))[-1]) + 1
    first, last = (bottom + round(depth * patch.radius) for depth in _BEHIND)
    left, right = int(columns[0]), int(columns[-1]) + 1
    band, inside = patch.gray[first:last], patch.inside[first:last]
    is_beside = inside & (band > 0)
    edge = round(_RIM * patch.radius)
    is_beside[:, max(left - edge, 0) : right + edge] = False
    if inside.any(1).sum() < _SEEN * (last - first) or not is_beside.any():
        return math.nan, (math.nan,) * 3
    beside = _rows(band, is_beside)
    # Beside a round lesion its edges cast shadows of their own.
    inset = round(0.1 * (right - left))
    edges = np.linspace(left + inset, right - inset, 4).round().astype(int).tolist()
    contrasts = []
    for start, stop in [(edges[0], edges[3]), *itertools.pairwise(edges)]:
        part = slice(start, max(stop, start + 1))
        under = _rows(band[:, part], inside[:, part])
        contrasts.append(_contrast(under, beside))
    return contrasts[0], (contrasts[1], contrasts[2], contrasts[3])


def _unevenness(patch: Patch, core: Mask) -> float:
    """The standard deviation of the means of blocks of the lesion of which at least half is lesion."""
    side = max(2, round(_BLOCK * patch.radius))
    height, width = (length // side * side for length in core.shape)
    if not height or not width:
        return 0.0
    blocks = (height // side, side, width // side, side)
    own = core[:height, :width]
    sums = np.where(own, patch.gray[:height, :width], 0).reshape(blocks).sum((1, 3))
    counts = own.reshape(blocks).sum((1, 3))
    is_full = counts >= side * side / 2
    return float((sums[is_full] / counts[is_full]).std()) if is_full.any() else 0.0


def _shrunk(mask: Mask, by: int) -> Mask:
    """The pixels of a mask (H, W) whose neighbours up to `by` rows and columns away are in the mask as well."""
    window = 2 * by + 1
    kept = np.pad(mask, by, "edge")
    for _ in range(2):
        covered = 1
        while covered < window:
            step = min(covered, window - covered)
            kept = kept[step:] & kept[:-step]
            covered += step
        kept = kept.T
    return kept
