"""How the lesion passes into the tissue around it, measured along lines across its outline."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.describe.outline import normals_of
from sonoseg.describe.patch import Patch

_OFFSETS = np.arange(-0.4, 0.81, 0.05)
"""Points of a line, in radii; positive outside."""
_CLEAR = 0.15
"""Contrast of the rim from which it is clear."""
_SECTOR, _NEIGHBOURS, _NEAR = 8, 8, 2
"""Lines on either side of a line: of the sector around it, of its neighbours, and of its nearest neighbours. Sectors
begin at every line: with fixed ones, mirrored lesions would differ."""


@dataclass(frozen=True)
class Rim:
    """Contrasts are (a - b) / (a + b) of two gray values, -1 to 1; distances are in radii of the lesion.

    Attributes:
        step: contrast of the tissue just outside the outline with the lesion just inside, mean of the sectors.
        step_least: its 10th percentile over the sectors.
        step_spread: its standard deviation over the sectors.
        clear_share: share of the sectors in which it is at least 0.15.
        sharpness: the largest change of gray over a tenth of a radius near the outline, by the range of gray along
            the line; 0 to 1, mean of the lines.
        jitter: standard deviation of the place of this change from line to line, in radii.
        halo: contrast of the tissue just outside with that farther out; positive is a bright rim.
        spikes: standard deviation of the gray outside from line to line, by its mean; thin lines raise it.
    """

    step: float
    step_least: float
    step_spread: float
    clear_share: float
    sharpness: float
    jitter: float
    halo: float
    spikes: float


def measure_rim(patch: Patch) -> Rim:
    """Measures the rim of the lesion in a patch (see `sonoseg.describe.patch.cut_patch`); NaN outside the image."""
    lines = _lines(patch)
    inner, outer = _band(lines, -0.3, -0.1), _band(lines, 0.1, 0.3)
    far, fringe = _band(lines, 0.5, 0.8), _band(lines, 0.15, 0.6)
    steps = (outer - inner) / np.maximum(outer + inner, 1.0)
    sectors = _around(steps, _SECTOR)
    sectors = sectors[np.isfinite(sectors)]
    if not len(sectors):
        return Rim(*(math.nan,) * 8)
    halo = (outer - far) / np.maximum(outer + far, 1.0)
    sharpness, jitter = _sharpness(lines)
    spikes = fringe - _around(fringe, _NEIGHBOURS)
    return Rim(
        step=float(sectors.mean()),
        step_least=float(np.quantile(sectors, 0.1)),
        step_spread=float(sectors.std()),
        clear_share=float((sectors >= _CLEAR).mean()),
        sharpness=sharpness,
        jitter=jitter,
        halo=float(_mean(halo, 0)),
        spikes=float(np.sqrt(_mean(spikes**2, 0)) / max(float(_mean(fringe, 0)), 1.0)),
    )


def _lines(patch: Patch) -> NDArray[np.float64]:
    """(`POINTS`, 25) float64, gray values along the lines from inside to outside; NaN outside the image."""
    curve = patch.curve
    # A curve runs along the edges of pixels; the centre of the first pixel is at 0.5.
    starts = curve - (0.5 + 0.5j)
    points = starts[:, None] + normals_of(curve)[:, None] * (_OFFSETS * patch.radius)
    return _sample(patch, points.real, points.imag)


def _sample(
    patch: Patch, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gray values between pixels, bilinear; NaN outside the image."""
    height, width = patch.gray.shape
    column = np.clip(np.floor(x).astype(int), 0, width - 2)
    row = np.clip(np.floor(y).astype(int), 0, height - 2)
    right, down = np.clip(x - column, 0, 1), np.clip(y - row, 0, 1)
    gray = patch.gray
    upper = gray[row, column] * (1 - right) + gray[row, column + 1] * right
    lower = gray[row + 1, column] * (1 - right) + gray[row + 1, column + 1] * right
    value = upper * (1 - down) + lower * down
    is_inside = patch.inside[row, column] & patch.inside[row + 1, column + 1]
    is_inside &= (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return np.where(is_inside, value, np.nan)


def _band(lines: NDArray[np.float64], start: float, stop: float) -> NDArray[np.float64]:
    """The mean of each line between two offsets."""
    middle, half = (start + stop) / 2, (stop - start) / 2
    is_in = np.abs(_OFFSETS - middle) < half + 0.01
    return _mean(lines[:, is_in], 1)


def _sharpness(lines: NDArray[np.float64]) -> tuple[float, float]:
    """How much of the change along a line is in its steepest part, and how much the place of that part varies."""
    smooth = np.nan_to_num(lines, nan=float(np.nanmean(lines)))
    smooth = _around(smooth, _NEAR)
    near = smooth[:, np.abs(_OFFSETS) < 0.41]
    rises = near[:, 2:] - near[:, :-2]
    ranges = np.maximum(near.max(1) - near.min(1), 1.0)
    place = rises.argmax(1) * 0.05
    sharpness = float((rises.max(1) / ranges).mean())
    return max(0.0, sharpness), float((place - _around(place, _NEIGHBOURS)).std())


def _around(values: NDArray[np.float64], lines: int) -> NDArray[np.float64]:
    """The mean of the values (`POINTS`, ...) of each line and so many on either side, along the closed outline."""
    shifted = [np.roll(values, by, 0) for by in range(-lines, lines + 1)]
    return _mean(np.stack(shifted), 0)


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The mean of what is not NaN; NaN if nothing is left."""
    if np.isfinite(values).all():  # as a rule; nanmean takes ten times as long
        return np.asarray(values.mean(axis))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: NDArray[np.float64] = np.nanmean(values, axis)
    return mean
