"""A lesion and its surroundings at one size: features do not depend on the resolution of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.measure import Spacing
from sonoseg.core.resize import bounds
from sonoseg.describe.outline import Curve, filled, trace
from sonoseg.errors import InputError

RADIUS = 24.0
"""Of the circle with the area of the lesion and its holes, in pixels of the patch."""
LONGEST = 192.0
"""Pixels of the patch that a lesion may be wide or high; thin lesions get a smaller radius."""
BESIDE, ABOVE, BELOW = 1.0, 1.0, 1.8
"""How much of the surroundings is shown: beside, above and below the lesion, in radii."""


@dataclass(frozen=True)
class Patch:
    """A lesion at a fixed size, with square pixels.

    Attributes:
        gray: (h, w) float32 in 0..255; 0 outside the image.
        lesion: (h, w) bool.
        filled: (h, w) bool, the lesion with its holes; form and size are those of its outline.
        inside: (h, w) bool, where there is image.
        radius: of the circle with the area of the filled lesion, in pixels of the patch.
        height_to_width: of the upright rectangle around the lesion in the image, in square pixels.
    """

    gray: NDArray[np.float32]
    lesion: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    radius: float
    height_to_width: float

    @cached_property
    def curve(self) -> Curve:
        """The outline of the lesion, see `sonoseg.describe.outline.trace`."""
        return trace(self.filled)


def cut_patch(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], spacing: Spacing | None = None
) -> Patch:
    """Cuts out a lesion with its surroundings, and scales it to `RADIUS`.

    Args:
        image: (H, W) uint8, gray.
        mask: (H, W) bool, one lesion.
        spacing: mm between neighbouring (rows, columns). Only their ratio counts; None takes square pixels.

    Raises:
        InputError: the mask is empty, or has another size than the image.
    """
    if mask.shape != image.shape:
        raise InputError("mask", "has another size than the image", "give both alike")
    if not mask.any():
        raise InputError("mask", "is empty", "give the mask of one lesion")
    row, column = spacing or (1.0, 1.0)
    stretch = row / column
    rows, columns = bounds(mask)
    whole = mask.copy()
    whole[rows, columns] = filled(mask[rows, columns])
    area = int(np.count_nonzero(whole[rows, columns])) * stretch
    width, height = columns.stop - columns.start, rows.stop - rows.start
    scale = RADIUS / math.sqrt(area / math.pi)
    scale = min(scale, LONGEST / max(width, height * stretch))
    across, down = scale, scale * stretch  # pixels of the patch per pixel of the image
    # Whole pixels of the image around the lesion.
    side = math.ceil(BESIDE * RADIUS / across)
    left, right = columns.start - side, columns.stop + side
    top = rows.start - math.ceil(ABOVE * RADIUS / down)
    bottom = rows.stop + math.ceil(BELOW * RADIUS / down)
    size = round((right - left) * across), round((bottom - top) * down)
    frame = _Frame.of((left, top, right, bottom), size, image.shape)
    is_whole = frame.cut_mask(whole)
    radius = math.sqrt(float(np.count_nonzero(is_whole)) / math.pi)
    return Patch(
        frame.cut(image),
        frame.cut_mask(mask),
        is_whole,
        frame.inside(),
        radius,
        height * stretch / width,
    )


@dataclass(frozen=True)
class _Frame:
    """A rectangle in the image that is scaled, and may exceed the image.

    Attributes:
        size: (h, w) of the scaled rectangle.
        source: its rows and columns that are in the image.
        target: where these are in the scaled rectangle.
    """

    size: tuple[int, int]
    source: tuple[slice, slice]
    target: tuple[slice, slice]

    @classmethod
    def of(
        cls, box: tuple[int, int, int, int], size: tuple[int, int], shape: Sequence[int]
    ) -> _Frame:
        """For a box (left, top, right, bottom), its scaled size (w, h) and the shape (H, W) of the image."""
        left, top, right, bottom = box
        columns, x = _overlap(left, right, size[0], shape[1])
        rows, y = _overlap(top, bottom, size[1], shape[0])
        return cls((size[1], size[0]), (rows, columns), (y, x))

    def cut(self, pixels: NDArray[Any], factor: int = 1) -> NDArray[np.float32]:
        """(H, W) bool or uint8 → (h, w) float32, scaled and multiplied by `factor`; 0 outside the image."""
        own = Image.fromarray(pixels[self.source].astype(np.uint8) * np.uint8(factor))
        y, x = self.target
        size = x.stop - x.start, y.stop - y.start
        patch = np.zeros(self.size, np.float32)
        patch[self.target] = np.asarray(own.resize(size, Image.Resampling.BILINEAR))
        return patch

    def cut_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(H, W) bool → (h, w) bool, not empty if the mask is not."""
        share = self.cut(mask, 255)
        is_in: NDArray[np.bool_] = share >= 127.5
        return is_in if is_in.any() else share > 0  # thinner than a pixel of the patch

    def inside(self) -> NDArray[np.bool_]:
        """(h, w) bool, where the scaled rectangle is in the image."""
        inside = np.zeros(self.size, np.bool_)
        inside[self.target] = True
        return inside


def _overlap(start: int, stop: int, size: int, limit: int) -> tuple[slice, slice]:
    """The part of start..stop that is in 0..limit, and its place when start..stop is scaled to 0..size."""
    scale = size / (stop - start)
    own = slice(max(start, 0), min(stop, limit))
    first = min(round((own.start - start) * scale), size - 1)
    length = max(1, round((own.stop - own.start) * scale))
    return own, slice(first, min(first + length, size))
