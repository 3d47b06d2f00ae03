"""One picture in a file format for volumes, as 3D Slicer sends it: its pixels, and where they lie in space."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import pixel_spacing
from sonoseg.core.measure import Spacing
from sonoseg.errors import InputError

Vector = tuple[float, float, float]
SAMPLE_BYTES = 3 * 8
"""Most of one pixel: three numbers of 64 bits."""
HINT = "send one picture: PNG, DICOM, or a volume of one slice"


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a volume lie: mm to the left, to the back and to the head of the patient.

    Attributes:
        column, row, slice: from one pixel to the next along a row, along a column, and to the next slice.
        origin: the centre of the first pixel.
    """

    column: Vector = (1.0, 0.0, 0.0)
    row: Vector = (0.0, 1.0, 0.0)
    slice: Vector = (0.0, 0.0, 1.0)
    origin: Vector = (0.0, 0.0, 0.0)

    @property
    def spacing(self) -> Spacing | None:
        """mm between rows and between columns; None if they cannot be that, or are 1, which stands for not known."""
        sizes = float(np.linalg.norm(self.row)), float(np.linalg.norm(self.column))
        if sizes == (1.0, 1.0):
            return None
        try:
            return pixel_spacing(sizes)
        except InputError:
            return None


@dataclass(frozen=True)
class Volume:
    """One picture.

    Attributes:
        pixels: (H, W) or (H, W, 3), of any real dtype.
        geometry: where they lie.
    """

    pixels: NDArray[Any]
    geometry: Geometry


def check_sizes(width: int, height: int, others: list[int], most_pixels: int) -> None:
    if min(width, height) < 1 or any(other < 1 for other in others):
        raise damaged()
    slices = int(np.prod(others)) if others else 1
    if slices > 1:
        problem = (
            f"is a volume of {slices} slices; the network outlines single pictures"
        )
        raise InputError("image", problem, HINT)
    if width * height > most_pixels:
        problem = (
            f"has {width} × {height} pixels, over {most_pixels / 1e6:.0f} megapixels"
        )
        raise InputError("image", problem, "send a smaller image")


def numbers_in(content: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    if len(content) < count * kind.itemsize:
        raise damaged()
    return np.frombuffer(content, kind, count).reshape(shape)


def as_picture(pixels: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers of 0 to 255 as uint8: 3D Slicer may keep gray values in 16 bits."""
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    is_whole = np.issubdtype(pixels.dtype, np.integer)
    if is_whole and pixels.min() >= 0 and pixels.max() <= 255:
        return pixels.astype(np.uint8)
    return pixels.astype(pixels.dtype.newbyteorder("="))


def inflated(content: bytes, most: int) -> bytes:
    """The first bytes of a gzip file, at most `most`."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, most)
    except zlib.error:
        return b""


def damaged() -> InputError:
    return InputError("image", "is damaged or cut short", "save it again")
