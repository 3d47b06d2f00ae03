"""The `Image` record, and the one way in: a file, its bytes, an open file, an array or a PIL image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.decode import decode_gray
from sonoseg.core.measure import Spacing
from sonoseg.core.source import Source
from sonoseg.errors import InputError

SPACINGS = (0.001, 10.0)
"""mm per pixel: what is smaller or larger was given in another unit."""
MOST_STRETCHED = 4
"""Times that the larger side of a pixel may be the smaller one: beyond, a decimal comma was meant, as in 1,5."""
_HINT = "give mm per pixel with a decimal point, for example 0.08"


@dataclass(frozen=True)
class ImageSource:
    """Where an image comes from, if it is a part of a file.

    Attributes:
        name: of the file.
        frame: number of the frame in the file, from 1; None if the file has one frame.
        region: the part of the frame: left, top, width, height in pixels; None for all of it.
    """

    name: str
    frame: int | None = None
    region: tuple[int, int, int, int] | None = None

    def __str__(self) -> str:
        """For messages: the name, the frame and the place of the region."""
        text = self.name
        if self.frame is not None:
            text += f", frame {self.frame}"
        if self.region is not None:
            left, top, width, height = self.region
            text += f", region {width} × {height} at ({left}, {top})"
        return text


@dataclass(frozen=True)
class Image:
    """One image, as everything after it takes it.

    Attributes:
        pixels: (H, W) uint8, gray, upright.
        spacing: mm between the centres of neighbouring (rows, columns); None if it is not known.
        source: where it comes from: its path, "image", or an `ImageSource`; messages call it by `str(source)`.
        doubts: why its pixels may be wrong although they could be read; empty if nothing speaks against them.
        spacing_source: where the spacing comes from, in words.
        stretch: height of a pixel by its width, if the spacing is not known. It decides forms, and no length.
    """

    pixels: NDArray[np.uint8]
    spacing: Spacing | None = None
    source: str | ImageSource = "image"
    doubts: tuple[str, ...] = ()
    spacing_source: str = "given by the user"
    stretch: float = 1.0


def read_image(source: Source | Image, spacing: Any = None) -> Image:
    """Reads an image from any source; all take the same steps.

    8-bit images keep their values: colour becomes gray by ITU-R 601, alpha is ignored. Anything else is stretched
    from its own smallest..largest value to 0..255: scanners fill 10 to 14 of 16 bits and do not say how many, so a
    fixed scale would leave most images black. An image of one value becomes 0. EXIF turns the image upright. Of a
    phone's multi-picture JPEG the main picture is read.

    Args:
        source: a path, the bytes of a PNG, JPEG, TIFF or BMP file, such a file open for reading in binary mode, an
            array (H, W), or (H, W, 3 or 4) as RGB or RGBA, of real numbers, a PIL image, or an `Image`.
        spacing: mm per pixel of the upright image, as `pixel_spacing` takes it; None leaves that of an `Image` as
            it is.

    Raises:
        InputError: no such file, not an image, damaged, under 16 × 16 or over 50 megapixels (found before decoding),
            more than one frame, pixels that are not finite, a kind of image that cannot be read rightly, or a
            spacing that is not a pixel size.
    """
    known = pixel_spacing(spacing)
    if isinstance(source, Image):
        if known is None:
            return source
        return replace(source, spacing=known, spacing_source="given by the user")
    pixels, name, doubts = decode_gray(source)
    return Image(pixels, known, name, doubts)


def pixel_spacing(spacing: Any) -> Spacing | None:
    """The spacing (row, column) in mm that a number, or a pair of numbers, stands for; None for None.

    Arrays of NumPy count as the numbers in them.

    Raises:
        InputError: not a real number from 0.001 to 10, or a pair of them. A bool is not a number.
    """
    if spacing is None:
        return None
    if isinstance(spacing, np.ndarray):
        spacing = spacing.tolist()
    is_pair = isinstance(spacing, Sequence) and not isinstance(spacing, (str, bytes))
    if is_pair and len(spacing) == 2:  # also the Pixel Spacing of pydicom
        return _length(spacing[0]), _length(spacing[1])
    length = _length(spacing)
    return length, length


def parse_spacing(text: str) -> Spacing:
    """The spacing that "0.1", "0.1,0.08" or "0.1 0.08" stands for: one number, or that of rows and of columns.

    Raises:
        InputError: as `pixel_spacing`.
    """
    words = text.split(",") if "," in text else text.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise InputError("spacing", f"{text[:40]!r} is not a pixel size", _HINT)
    row, column = _length(numbers[0]), _length(numbers[-1])
    if max(row, column) > MOST_STRETCHED * min(row, column):  # "1,5" for 1.5
        problem = f"{text[:40]!r} says that rows and columns differ more than {MOST_STRETCHED} times"
        raise InputError("spacing", problem, _HINT)
    return row, column


def _length(value: Any) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    try:
        length = float(value) if is_number else math.nan
    except OverflowError:
        length = math.inf
    if not SPACINGS[0] <= length <= SPACINGS[1]:
        shown = repr(value) if isinstance(value, str) else str(value)
        raise InputError("spacing", f"{shown[:40]} is not a pixel size", _HINT)
    return length
