"""The outline of a lesion as a smooth closed curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.contour import rings_of
from sonoseg.core.measure import connected_runs

POINTS = 256
"""Points of a curve."""
_HARMONICS = 40
"""Waves around the outline that are kept; shorter ones are the stairs of pixels."""

Curve = NDArray[np.complex128]
"""(`POINTS`,) complex: x + iy in pixels, at equal distances along the curve, clockwise on the screen."""


def trace(mask: NDArray[np.bool_]) -> Curve:
    """The outer outline of the largest part of a mask (H, W), without the stairs of its pixels.

    Fourier descriptors (Zahn and Roskies 1972): the corners of the outline as complex numbers, of whose Fourier
    series only the long waves are kept.
    """
    corners = [np.array(ring, np.float64) for ring in rings_of(mask)]
    points = [ring[:, 0] + 1j * ring[:, 1] for ring in corners]
    largest = max(points, key=area_of)
    stairs = _equidistant(largest, 4 * POINTS)
    return _equidistant(keep_waves(stairs, _HARMONICS), POINTS)


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (H, W) with the holes of its 8-connected parts filled."""
    around = np.pad(~mask, 1, constant_values=True)
    runs = connected_runs(around, diagonal=False)
    is_outside = np.zeros_like(around)
    # The first run is the row above the mask.
    is_outside[around] = np.repeat(runs.label == 0, runs.stop - runs.start)
    return ~is_outside[1:-1, 1:-1]


def keep_waves(curve: NDArray[np.complex128], most: int) -> NDArray[np.complex128]:
    """The curve of the Fourier series up to `most` waves around it; the last quarter of the waves fades out."""
    series = np.fft.fft(curve)
    waves = np.abs(np.fft.fftfreq(len(curve), 1 / len(curve)))
    fade = np.clip((most + 1 - waves) / max(1.0, most / 4), 0, 1)
    kept: NDArray[np.complex128] = np.fft.ifft(series * fade)
    return kept


def length_of(curve: NDArray[np.complex128]) -> float:
    """The length of a closed curve, in pixels."""
    return float(np.abs(np.roll(curve, -1) - curve).sum())


def area_of(curve: NDArray[np.complex128]) -> float:
    """The area inside a closed curve, in square pixels; positive if it runs clockwise on the screen."""
    return float((np.conj(curve) * np.roll(curve, -1)).imag.sum() / 2)


def normals_of(curve: Curve) -> Curve:
    """(`POINTS`,) complex of length 1: the directions straight out of the curve."""
    along = np.roll(curve, -1) - np.roll(curve, 1)
    normals: Curve = along / np.maximum(np.abs(along), 1e-9) * -1j
    return normals


def turns_of(curve: Curve) -> NDArray[np.float64]:
    """(`POINTS`,) float64 in radians: how far the curve turns at each point, positive where it is convex."""
    steps = np.roll(curve, -1) - curve
    turn: NDArray[np.float64] = np.angle(steps * np.conj(np.roll(steps, 1)))
    return turn


def _equidistant(curve: NDArray[np.complex128], count: int) -> NDArray[np.complex128]:
    """`count` points at equal distances along a closed polygon."""
    closed = np.append(curve, curve[0])
    passed = np.append(0.0, np.cumsum(np.abs(np.diff(closed))))
    places = np.arange(count) * (passed[-1] / count)
    points: NDArray[np.complex128] = np.interp(places, passed, closed)
    return points
