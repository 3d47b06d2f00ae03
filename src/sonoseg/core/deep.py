"""Reads 16-bit colours of PNG and TIFF. Pillow keeps the high byte alone, so each file is decoded twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_ROWS = 256


def is_deep(image: Image.Image) -> bool:
    """Whether an image, opened and not yet loaded, has 16-bit colours, or 16-bit gray with alpha."""
    return rawmode(image).endswith((";16B", ";16L", ";16N")) and image.mode in (
        "RGB",
        "RGBA",
        "RGBX",
    )


def has_alpha(image: Image.Image) -> bool:
    """Whether the last channel of `bands` is alpha."""
    return image.mode == "RGBA"


def bands(image: Image.Image) -> Iterator[NDArray[np.uint16]]:
    """The rows of such an image, some at a time: (h, W, C) uint16, C being gray and alpha, RGB or RGBA."""
    assert isinstance(image, ImageFile.ImageFile)
    assert image.fp is not None
    packed = rawmode(image)
    if (
        packed == "LA;16B"
    ):  # both bytes of gray and of alpha, in the four bytes of a pixel
        _set_rawmode(image, "RGBA")
        image.load()
        for part in _parts(image):
            yield np.ascontiguousarray(part).view(">u2").astype(np.uint16)
        return
    low = Image.open(image.fp, formats=[str(image.format)])
    assert isinstance(low, ImageFile.ImageFile)
    _set_rawmode(low, _other_byte(packed))
    low.load()
    image.load()
    for high_bytes, low_bytes in zip(_parts(image), _parts(low), strict=True):
        rows = high_bytes.astype(np.uint16)
        rows <<= 8
        rows |= low_bytes
        yield rows


def _other_byte(packed: str) -> str:
    """The raw mode with which Pillow keeps the low byte."""
    base, order = packed[:-1], packed[-1]
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    return base + ("B" if order == "L" else "L")


def rawmode(image: Image.Image) -> str:
    """The raw mode with which Pillow will unpack an opened image; "" if the image is already in memory."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args if isinstance(args, str) else args[0])


def _set_rawmode(image: ImageFile.ImageFile, packed: str) -> None:
    tiles = []
    for tile in image.tile:
        if isinstance(tile.args, str):
            tiles.append(tile._replace(args=packed))
        else:
            others = tuple(tile.args or ())[1:]
            tiles.append(tile._replace(args=(packed, *others)))
    image.tile = tiles


def _parts(image: Image.Image) -> Iterator[NDArray[np.uint8]]:
    for top in range(0, image.height, _ROWS):
        bottom = min(top + _ROWS, image.height)
        yield np.asarray(image.crop((0, top, image.width, bottom)))
