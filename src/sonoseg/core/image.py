"""The `Image` record, and the one way in: a file, its bytes, an open file, an array or a PIL image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.decode import decode_gray
from sonoseg.core.source import Source, name_of
from sonoseg.errors import InputError

SPACINGS = (0.001, 10.0)
"""mm per pixel: what is smaller or larger was given in another unit."""


@dataclass(frozen=True)
class Image:
    """One image, as everything after it takes it.

    Attributes:
        pixels: (H, W) uint8, gray, upright.
        spacing: mm between the centres of neighbouring (rows, columns); None if it is not known.
        source: what messages call it: its path, or "image".
        doubts: why its pixels may be wrong although they could be read; empty if nothing speaks against them.
    """

    pixels: NDArray[np.uint8]
    spacing: tuple[float, float] | None = None
    source: str = "image"
    doubts: tuple[str, ...] = ()


def read_image(source: Source | Image, spacing: Any = None) -> Image:
    """Reads an image from any source; all take the same steps.

    8-bit images keep their values: colour becomes gray by ITU-R 601, alpha is ignored. Anything else is stretched
    from its own smallest..largest value to 0..255: scanners fill 10 to 14 of 16 bits and do not say how many, so a
    fixed scale would leave most images black. An image of one value becomes 0. EXIF turns the image upright. Of a
    phone's multi-picture JPEG the main picture is read.

    Args:
        source: a path, the bytes of a PNG, JPEG, TIFF or BMP file, such a file open for reading in binary mode, an
            array (H, W), or (H, W, 3 or 4) as RGB or RGBA, of real numbers, a PIL image, or an `Image`.
        spacing: mm per pixel, as `pixel_spacing` takes it; None leaves that of an `Image` as it is.

    Raises:
        InputError: no such file, not an image, damaged, under 16 × 16 or over 50 megapixels (found before decoding),
            more than one frame, pixels that are not finite, a kind of image that cannot be read rightly, or a
            spacing that is none.
    """
    known = pixel_spacing(spacing)
    if isinstance(source, Image):
        return (
            source if known is None else Image(source.pixels, known, source.source, source.doubts)
        )
    pixels, doubts = decode_gray(source)
    return Image(pixels, known, name_of(source), doubts)


def pixel_spacing(spacing: Any) -> tuple[float, float] | None:
    """The spacing (row, column) in mm that a number, or a pair of numbers, stands for; None for None.

    Raises:
        InputError: not a real number from 0.001 to 10, or a pair of them. A bool is no number.
    """
    if spacing is None:
        return None
    pair = spacing if isinstance(spacing, tuple) and len(spacing) == 2 else (spacing, spacing)
    row, column = (_length(one) for one in pair)
    return row, column


def _length(value: Any) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    try:
        length = float(value) if is_number else math.nan
    except OverflowError:
        length = math.inf
    if not SPACINGS[0] <= length <= SPACINGS[1]:
        shown = repr(value) if isinstance(value, str) else str(value)
        raise InputError(
            "spacing", f"{shown[:40]} is not a pixel size", "give mm per pixel, for example 0.08"
        )
    return length
