"""The one resize used everywhere; and images and masks read as bare arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core import image as core_image
from sonoseg.core import mask as core_mask
from sonoseg.core.source import MAX_PIXELS, MIN_SIDE, Source, check_size
from sonoseg.reader.paths import IMAGE_SUFFIXES, list_images

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "WHOLE",
    "bounds",
    "check_size",
    "enlarge",
    "list_images",
    "reach",
    "read_image",
    "read_mask",
    "resize_image",
    "resize_mask",
    "to_gray",
]

Region = tuple[slice, slice]
"""Rows and columns of an image."""
WHOLE: Region = (slice(None), slice(None))


def read_image(source: Source) -> NDArray[np.uint8]:
    """The pixels (H, W) uint8 of an image; see `sonoseg.core.image.read_image`."""
    return core_image.read_image(source).pixels


def read_mask(source: Source) -> NDArray[np.bool_]:
    """Where a mask is lesion, (H, W) bool; see `sonoseg.core.mask.read_mask`."""
    return core_mask.read_mask(source).pixels


def to_gray(array: NDArray[Any]) -> NDArray[np.uint8]:
    """An array of pixels as 8-bit gray, (H, W) uint8; see `sonoseg.core.image.read_image`."""
    return read_image(array)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes (H, W) uint8 to `size` = (h, w), bilinear with antialiasing, in training as in reading."""
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resizes (H, W) bool to `size` = (h, w), nearest neighbour."""
    resized = Image.fromarray(mask.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
    return np.array(resized) > 0


def enlarge(small: NDArray[np.float32], shape: tuple[int, int], region: Region = WHOLE) -> NDArray[np.float32]:
    """A map (h, w) at the size `shape` = (H, W), linear between the centres of its pixels.

    Args:
        small: the map.
        shape: of the image.
        region: the part of the image to work out; what it holds is the same, bit by bit, as in the whole.
    """
    (upper, down), (left, right) = (_between(*axis) for axis in zip(small.shape, shape, region, strict=True))
    return _mixed(_mixed(small, upper, down[:, None], 0), left, right, 1)


def _mixed(
    values: NDArray[np.float32], before: NDArray[np.intp], share: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Along `axis`, of the lines `before` and those after them, `share` of the latter."""
    low, high = values.take(before, axis), values.take(before + 1, axis)
    high -= low
    high *= share
    high += low
    return high


def _between(count: int, wanted: int, part: slice) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Of each wanted pixel along an axis, the pixel before it, and how far it is on the way to the next, 0..1."""
    at = ((np.arange(wanted)[part] + 0.5) * (count / wanted) - 0.5).clip(0, count - 1)
    before = np.minimum(at.astype(np.intp), count - 2)
    return before, (at - before).astype(np.float32)


def bounds(mask: NDArray[np.bool_]) -> Region:
    """The smallest part of a mask (H, W) that holds all its True pixels."""
    rows, columns = (np.flatnonzero(mask.any(1 - axis)) for axis in range(2))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else (slice(0, 0),) * 2


def reach(hot: NDArray[np.bool_], shape: tuple[int, int]) -> Region:
    """The part of an image of `shape` (H, W) on which the True pixels of a map (h, w) have any influence."""
    rows, columns = (
        _reach(np.flatnonzero(hot.any(1 - axis)), count, wanted)
        for axis, (count, wanted) in enumerate(zip(hot.shape, shape, strict=True))
    )
    return rows, columns


def _reach(hot: NDArray[np.intp], count: int, wanted: int) -> slice:
    if not len(hot):
        return slice(0, 0)
    first, last = ((place + 0.5) * (wanted / count) - 0.5 for place in (hot[0] - 1, hot[-1] + 1))
    return slice(max(0, math.floor(first)), min(wanted, math.ceil(last) + 1))
