"""Resizes images, masks and probability maps. Training, scores and reader use the same functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Region = tuple[slice, slice]
"""Rows and columns of an image."""
WHOLE: Region = (slice(None), slice(None))


def unit_range(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Gray 0..255 (uint8, any shape) as float32 in 0..1, as networks take it."""
    return np.divide(pixels, 255, dtype=np.float32)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes (H, W) uint8 to `size` = (h, w), bilinear with antialiasing, in training as in reading."""
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized)


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resizes (H, W) bool to `size` = (h, w), nearest neighbour."""
    height, width = size
    picture = Image.fromarray(mask.astype(np.uint8))
    resized = picture.resize((width, height), Image.Resampling.NEAREST)
    return np.array(resized) > 0


def enlarge(
    small: NDArray[np.float32], shape: tuple[int, int], region: Region = WHOLE
) -> NDArray[np.float32]:
    """A map (h, w) at the size `shape` = (H, W), linear between the centres of its pixels.

    Args:
        small: the map.
        shape: of the image.
        region: the part of the image to work out; what it holds is the same, bit by bit, as in the whole.
    """
    rows, down = _between(small.shape[0], shape[0], region[0])
    columns, across = _between(small.shape[1], shape[1], region[1])
    taller = _mixed(small, rows, down[:, None], 0)
    return _mixed(taller, columns, across, 1)


def resize_probability(
    probability: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Scales a map (h, w) to `size` = (H, W) as the reader does; one of that size is left as it is.

    Returns:
        (H, W) float32 in 0..1, linear between the centres of the map's pixels, for larger and smaller sizes alike.
    """
    if probability.shape == size:
        return probability
    is_larger = size[0] >= probability.shape[0] and size[1] >= probability.shape[1]
    if is_larger:
        # The same but for rounding, which the published scores contain. Pillow would average a map made smaller.
        picture = Image.fromarray(probability)
        scaled = np.array(picture.resize(size[::-1], Image.Resampling.BILINEAR))
    else:
        scaled = enlarge(probability, size)
    clipped: NDArray[np.float32] = np.clip(
        scaled, 0, 1
    )  # rounding may leave 0..1 a little
    return clipped


def _mixed(
    values: NDArray[np.float32],
    before: NDArray[np.intp],
    share: NDArray[np.float32],
    axis: int,
) -> NDArray[np.float32]:
    """Along `axis`, of the lines `before` and those after them, `share` of the latter."""
    low, high = values.take(before, axis), values.take(before + 1, axis)
    high -= low
    high *= share
    high += low
    return high


def _between(
    count: int, wanted: int, part: slice
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each output pixel of an axis: the input pixel before it, and the fraction (0..1) of the way to the next."""
    centres = np.arange(wanted)[part] + 0.5
    at = (centres * (count / wanted) - 0.5).clip(0, count - 1)
    before = np.minimum(at.astype(np.intp), count - 2)
    share = (at - before).astype(np.float32)
    return before, share


def bounds(mask: NDArray[np.bool_]) -> Region:
    """The smallest part of a mask (H, W) that holds all its True pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def reach(hot: NDArray[np.bool_], shape: tuple[int, int]) -> Region:
    """The part of an image of `shape` (H, W) on which the True pixels of a map (h, w) have any influence."""
    rows = _reach(np.flatnonzero(hot.any(1)), hot.shape[0], shape[0])
    columns = _reach(np.flatnonzero(hot.any(0)), hot.shape[1], shape[1])
    return rows, columns


def _reach(hot: NDArray[np.intp], count: int, wanted: int) -> slice:
    if not len(hot):
        return slice(0, 0)
    scale = wanted / count
    first = (hot[0] - 0.5) * scale - 0.5  # the centre of the pixel before
    last = (hot[-1] + 1.5) * scale - 0.5
    return slice(max(0, math.floor(first)), min(wanted, math.ceil(last) + 1))
