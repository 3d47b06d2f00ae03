"""Reading pictures: any PNG, JPEG, TIFF or BMP to an 8-bit gray array, and the one resize used everywhere."""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sonoseg.errors import InputError
from sonoseg.reader.paths import IMAGE_SUFFIXES, list_images, readable_file

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

MIN_SIDE = 16
MAX_PIXELS = 100_000_000
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_EXPORT = "export it again as PNG, JPEG, TIFF or BMP"
Region = tuple[slice, slice]
"""Rows and columns of an image."""
WHOLE: Region = (slice(None), slice(None))
_warnings_lock = threading.Lock()


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Reads a picture as gray, turned upright by its EXIF orientation.

    8-bit pictures keep their values (colour becomes gray by ITU-R 601, alpha is ignored); 16-bit and floating
    point ones are stretched as `to_gray` says. Of a phone's multi-picture JPEG the main picture is read.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: not there, not a picture, damaged, under 16 × 16 or over 100 megapixels (found before
            decoding), more than one frame, or pixels that are not finite.
    """
    pixels = _pixels(path)
    return pixels if pixels.dtype == np.uint8 else _stretch(pixels, path)


def read_mask(path: Path | str) -> NDArray[np.bool_]:
    """Reads a mask: True where the picture is not black, whatever its mode. Alpha is ignored.

    Returns:
        (H, W) bool.

    Raises:
        InputError: as `read_image`.
    """
    mask: NDArray[np.bool_] = _pixels(path) > 0
    return mask


def to_gray(array: NDArray[Any]) -> NDArray[np.uint8]:
    """An array of pixels as 8-bit gray, as `read_image` would give it.

    uint8 keeps its values. Anything else is stretched from its own smallest..largest value to 0..255:
    scanners fill 10 to 14 of 16 bits and do not say how many, so a fixed scale would leave most pictures
    black. A picture of one value becomes 0.

    Args:
        array: (H, W), or (H, W, 3 or 4) as RGB or RGBA; any real dtype. Alpha is ignored.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: another shape or dtype, under 16 × 16, over 100 megapixels, or pixels that are not finite.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError("image", f"an array of shape {array.shape}", "give (H, W), (H, W, 3) or (H, W, 4)")
    if array.dtype.kind not in "buif":
        raise InputError("image", f"an array of {array.dtype}", "give whole or floating-point numbers")
    check_size("image", array.shape[1], array.shape[0])
    if array.ndim == 2:
        return array.copy() if array.dtype == np.uint8 else _stretch(array, "image")
    if array.dtype == np.uint8:
        return np.array(Image.fromarray(np.ascontiguousarray(array[..., :3])).convert("L"))
    return _stretch(array[..., :3] @ np.array([0.299, 0.587, 0.114]), "image")


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


def _pixels(path: Path | str) -> NDArray[Any]:
    """The decoded picture, upright, its header checked first: (H, W) uint8, or wider where a pixel is."""
    path = readable_file(path)
    try:
        with path.open("rb") as file:
            with _quiet():
                image = Image.open(file, formats=_FORMATS)
                frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            check_size(path, *image.size)
            if frames > 1:
                raise InputError(path, f"holds {frames} frames", "split it into one file a frame")
            image.load()
            with _quiet():
                ImageOps.exif_transpose(image, in_place=True)
        # Alpha is ignored, and Pillow warns about palettes that have one.
        image.info.pop("transparency", None)
        # Pillow would cut 16-bit ("I;16"), 32-bit ("I") and floating-point ("F") pixels off at 255.
        return np.array(image if image.mode[0] in "IF" else image.convert("L"))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(path, "not a picture that can be read", _EXPORT) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except MemoryError as error:
        raise InputError(path, "not enough memory to read it", "make the picture smaller") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise InputError(path, "is damaged or cut short", "copy or export it again") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back Pillow's warnings; one thread at a time, because the filters belong to the whole process."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_size(subject: object, width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Raises InputError if a picture is smaller than `MIN_SIDE` on a side or has over `most` pixels."""
    if min(width, height) < MIN_SIDE:
        fault = f"is {width} × {height} pixels, too small to segment"
        raise InputError(subject, fault, f"give an image of at least {MIN_SIDE} × {MIN_SIDE}")
    if width * height > most:
        raise _too_large(subject, most, f" ({width} × {height} pixels)")


def _too_large(subject: object, most: int = MAX_PIXELS, size: str = "") -> InputError:
    return InputError(subject, f"is over {most // 10**6} megapixels{size}", "crop it or make it smaller")


def _stretch(array: NDArray[Any], subject: object) -> NDArray[np.uint8]:
    # Halved, so that the difference of two large values cannot overflow.
    halves = array.astype(np.float64) / 2
    low, high = float(halves.min()), float(halves.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        fault = "has pixels that are not finite numbers (NaN or infinite)"
        raise InputError(subject, fault, "replace them by numbers")
    if low == high:
        return np.zeros(array.shape, np.uint8)
    return np.rint((halves - low) / (high - low) * 255).astype(np.uint8)
