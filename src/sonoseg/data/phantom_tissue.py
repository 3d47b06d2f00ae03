"""The tissue of a synthetic breast: layers, strands, fat lobules, shadows and a lesion, as echo strength in dB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Frame:
    """The picture being made: its generator and the coordinates of its pixels, y (H, 1) and x (1, W)."""

    rng: np.random.Generator
    y: Floats
    x: Floats

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def smooth(self, cell_y: float, cell_x: float) -> Floats:
        """(H, W) noise of unit variance whose features are about cell_y × cell_x pixels."""
        return self._noise(self.shape, (cell_y, cell_x))

    def wave(self, cell: float) -> Floats:
        """(1, W) undulating line of unit variance around 0."""
        return self._noise((1, self.shape[1]), (1, cell))

    def _noise(self, shape: tuple[int, int], cell: tuple[float, float]) -> Floats:
        grid = [
            max(2, round(side / size)) if side > 1 else 1
            for side, size in zip(shape, cell, strict=True)
        ]
        coarse = Image.fromarray(self.rng.standard_normal(grid).astype(np.float32))
        field = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
        return field / max(float(field.std()), 1e-6)


def _step(distance: Floats, width: float) -> Floats:
    """0 before a border, 1 behind it, over about `width` pixels."""
    step: Floats = 0.5 * (1 + np.tanh(distance / np.float32(width)))
    return step


def _bump(distance: Floats, width: float) -> Floats:
    """1 on a line, falling to 0 over about `width` pixels."""
    bump: Floats = np.exp(-((distance / np.float32(width)) ** 2))
    return bump


def draw_tissue(frame: Frame) -> tuple[Floats, tuple[float, float]]:
    """Echo strength (H, W) in dB of healthy tissue, and the depths between which the gland lies."""
    height, width = frame.shape
    skin = frame.between(0.03, 0.06) * height
    gland = frame.between(0.16, 0.34) * height
    muscle = frame.between(0.68, 0.88) * height
    borders = (
        skin + 0.006 * height * frame.wave(width / 3),
        gland
        + 0.03 * height * frame.wave(width / 5)
        + 0.008 * height * frame.wave(width / 16),
        muscle + 0.02 * height * frame.wave(width / 4),
    )
    echo = np.full(frame.shape, -8.0, np.float32)
    levels = (
        -8.0,
        frame.between(-27, -22),
        frame.between(-17, -12),
        frame.between(-29, -24),
    )
    textures = (2.0, 3.0, frame.between(2.5, 4.5), 3.0)
    cells = ((3, 60), (10, 45), (9, 30), (7, 110))
    echo += textures[0] * frame.smooth(*cells[0])
    for k, border in enumerate(borders, start=1):
        inside = _step(frame.y - border, 2.0 + k)
        layer = (
            levels[k]
            + textures[k] * frame.smooth(*cells[k])
            + 0.5 * textures[k] * frame.smooth(5, 12)
        )
        echo += inside * (layer - echo)
        broken = np.clip(0.7 + 0.6 * frame.wave(width / 12), 0, 1)
        echo += frame.between(6, 11) * broken * _bump(frame.y - border, 2.5)
    echo += _strands(frame, skin, muscle)
    return echo, (gland, muscle)


def _strands(frame: Frame, top: float, bottom: float) -> Floats:
    """Bright fibrous strands, (H, W) in dB: oblique septa in the fat and the gland, streaks in the muscle."""
    height, width = frame.shape
    strands = np.zeros(frame.shape, np.float32)
    for _ in range(int(frame.rng.integers(30, 60))):
        deep = frame.rng.random() < 0.25
        level = frame.between(bottom, height) if deep else frame.between(top, bottom)
        slope = frame.between(-0.06, 0.06) if deep else frame.between(-0.35, 0.35)
        centre, reach = frame.between(0, width), frame.between(0.03, 0.11) * width
        columns = slice(
            max(0, int(centre - 2 * reach)), min(width, int(centre + 2 * reach) + 1)
        )
        along = frame.x[:, columns] - np.float32(centre)
        line = level + slope * along + 4 * frame.wave(width / 9)[:, columns]
        rows = slice(max(0, int(line.min()) - 8), min(height, int(line.max()) + 9))
        thin = _bump(frame.y[rows] - line, frame.between(1.2, 2.6))
        strands[rows, columns] += frame.between(6, 16) * thin * _bump(along, reach)
    return strands


def draw_lobules(frame: Frame, gland: tuple[float, float]) -> Floats:
    """Dark fat lobules in the gland, (H, W) in dB: not dark enough to be lesions."""
    echo = np.zeros(frame.shape, np.float32)
    for _ in range(int(frame.rng.integers(1, 4))):
        centre_y, centre_x = frame.between(*gland), frame.between(0, frame.shape[1])
        radius_y, radius_x = frame.between(8, 18), frame.between(20, 55)
        distance = np.hypot(
            (frame.y - centre_y) / radius_y, (frame.x - centre_x) / radius_x
        )
        echo -= frame.between(3, 7) * _step(1 - distance, 0.35)
    return echo


def draw_shadows(frame: Frame) -> Floats:
    """Up to two acoustic shadows, (H, W) in dB, over whatever lies in them."""
    height, width = frame.shape
    echo = np.zeros(frame.shape, np.float32)
    for _ in range(int(frame.rng.integers(0, 3))):
        top, centre = frame.between(0.02, 0.6) * height, frame.between(0, width)
        drift = centre + frame.between(-0.15, 0.15) * (frame.y - top)
        beam = _bump(frame.x - drift, frame.between(0.03, 0.12) * width)
        echo -= frame.between(4, 9) * beam * _step(frame.y - top, 15)
    return echo


def draw_lesion(
    frame: Frame, echo: Floats, gland: tuple[float, float]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Puts a dark lobulated lesion into the gland; returns echo strength (H, W) in dB and its mask."""
    height, width = frame.shape
    radius_x = frame.between(0.07, 0.24) * width
    radius_y = min(radius_x * frame.between(0.5, 0.9), 0.28 * height)
    centre_x = frame.between(0.15 * width + radius_x / 2, 0.85 * width - radius_x / 2)
    centre_y = np.clip(
        frame.between(*gland), 0.1 * height + radius_y, 0.88 * height - radius_y
    )
    tilt = frame.between(-0.35, 0.35)
    dy, dx = frame.y - np.float32(centre_y), frame.x - np.float32(centre_x)
    across, along = (
        np.cos(tilt) * dx + np.sin(tilt) * dy,
        np.cos(tilt) * dy - np.sin(tilt) * dx,
    )
    angle = np.arctan2(along / radius_y, across / radius_x)
    border = np.ones_like(angle)
    lobes = frame.between(0.02, 0.13)
    for order in range(2, 8):
        border += (
            lobes
            / (order - 1) ** 0.6
            * np.cos(order * angle + np.float32(frame.between(0, 2 * np.pi)))
        )
    distance = np.hypot(across / radius_x, along / radius_y) / border
    mask = distance < 1
    inside = _step(1 - distance, frame.between(0.05, 0.2))
    dark = (
        frame.between(-44, -35) + 2.0 * frame.smooth(12, 20) + 1.5 * frame.smooth(5, 7)
    )
    rim = frame.between(0, 6) * _bump(distance - 1.08, 0.08)
    behind = _step(dy - 0.4 * radius_y, 0.4 * radius_y) * _bump(dx, 0.75 * radius_x)
    posterior = (
        frame.between(-16, 11)
        * behind
        * np.exp(-np.maximum(dy, 0) / np.float32(0.6 * height))
    )
    return echo + rim + posterior * (1 - inside) + inside * (dark - echo), mask
