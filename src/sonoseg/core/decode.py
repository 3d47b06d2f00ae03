"""Decodes pixels and turns them upright: images as 8-bit gray, masks as colours and alpha."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from sonoseg.core import deep, jpeg, tiff
from sonoseg.core.libtiff import caught
from sonoseg.core.source import Source, array_of, opened, quiet
from sonoseg.errors import InputError

Pixels = NDArray[Any]
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_COLOUR = ("RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_KNOWN = frozenset(("1", "L", "P")) | frozenset(_ALPHA) | frozenset(_COLOUR)
"""Pillow's modes of 8 bits."""
_GRAY = np.array((0.299, 0.587, 0.114))
"""ITU-R 601."""
_LOSSY = ("JPEG", "MPO", "WEBP")
_ORIENTATION = 0x112
_ROWS = 256


@dataclass(frozen=True)
class Samples:
    """The pixels of an image as they are stored, upright.

    Attributes:
        subject: what messages call the image.
        colour: (H, W) gray or (H, W, 3) RGB, of any real dtype.
        alpha: (H, W), None if there is none.
        indices: (H, W) uint8, into the palette; None if there is none.
        top: the largest value of a gray sample, if it has under 8 bits; otherwise None.
        lossy: whether compression changed the pixels.
    """

    subject: str
    colour: Pixels
    alpha: Pixels | None = None
    indices: Pixels | None = None
    top: int | None = None
    lossy: bool = False


def decode_gray(source: Source) -> tuple[NDArray[np.uint8], str, tuple[str, ...]]:
    """An image as gray; see `sonoseg.core.image.read_image`.

    Returns:
        the pixels (H, W) uint8, the name of the source, and what speaks against the data.
    """
    array = array_of(source)
    if array is not None:
        return _gray_array(array), "image", ()
    with opened(source) as (image, name):
        with _loading(image) as doubts:
            gray = _turned(_gray(image, name), image)
        return np.ascontiguousarray(gray), name, tuple(doubts)


@contextlib.contextmanager
def _loading(image: Image.Image) -> Iterator[list[str]]:
    """A block in which an image may be loaded; yields a list that, at its end, holds what speaks against the data."""
    doubts: list[str] = []
    content = jpeg.content(image) if image.format in jpeg.FORMATS else None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tile:
        with caught() as complaints, quiet():
            yield doubts
        if complaints:
            problem = "its TIFF data is damaged, parts of the image may be wrong"
            doubts.append(f"{problem} ({complaints[0]})")
        return
    yield doubts
    if content:
        doubts += jpeg.doubts(content)


def decode_samples(source: Source) -> Samples:
    """An image as its file stores it.

    Raises:
        InputError: as `sonoseg.core.image.read_image`; or its data is damaged, although it can be decoded.
    """
    array = array_of(source)
    if array is not None:
        alpha = array[..., 3] if array.ndim == 3 and array.shape[2] == 4 else None
        return Samples("image", array if array.ndim == 2 else array[..., :3], alpha)
    with opened(source) as (image, name):
        top = _top(image)
        with _loading(image) as doubts:
            colour, alpha, indices = _planes(image, name)
        for doubt in doubts:
            raise InputError(name, doubt, "copy or export it again")
        colour = _turned(colour, image)
        alpha = None if alpha is None else _turned(alpha, image)
        indices = None if indices is None else _turned(indices, image)
        return Samples(name, colour, alpha, indices, top, _is_lossy(image))


def orientation(source: Source) -> int:
    """How EXIF turns an image: 1 (not at all) to 8.

    Raises:
        InputError: as `sonoseg.core.image.read_image`, as far as the header shows it.
    """
    if array_of(source) is not None:
        return 1
    with opened(source) as (image, _):
        return _orientation(image)


def _stretch(
    array: Pixels, subject: object, are_shares: bool = False
) -> NDArray[np.uint8]:
    """Any real numbers (H, W) as uint8: their own smallest..largest value becomes 0..255; one value alone becomes 0.

    Args:
        array: the numbers.
        subject: what messages call them.
        are_shares: see `_are_shares`; then 0..1 becomes 0..255.

    Raises:
        InputError: numbers that are not finite.
    """
    # Halved, so that the difference of two large values cannot overflow.
    low = float(array.min()) / 2
    high = float(array.max()) / 2
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            subject,
            "has pixels that are not finite numbers (NaN or infinite)",
            "replace them by numbers",
        )
    if are_shares:
        low, high = 0.0, 0.5
    gray = np.zeros(array.shape, np.uint8)
    if low == high:
        return gray
    # A part at a time, because float64 takes eight times the memory.
    for top in range(0, len(array), _ROWS):
        rows = slice(top, top + _ROWS)
        halves = array[rows].astype(np.float64) / 2
        share = (halves - low) / (high - low)
        gray[rows] = np.rint(share * 255)
    return gray


def _are_shares(stored: Pixels) -> bool:
    """Whether all are floats in 0..1 as they are stored. Mixed to gray, whole numbers are floats, and 1 may be more."""
    is_float = np.issubdtype(stored.dtype, np.floating)
    return bool(is_float and stored.min() >= 0 and stored.max() <= 1)


def _gray_array(array: Pixels) -> NDArray[np.uint8]:
    if array.ndim == 2:
        if array.dtype == np.uint8:
            return array.copy()
        return _stretch(array, "image", _are_shares(array))
    if array.dtype == np.uint8:
        colour = np.ascontiguousarray(array[..., :3])
        return np.array(Image.fromarray(colour).convert("L"))
    colour = array[..., :3]
    return _stretch(colour @ _GRAY, "image", _are_shares(colour))


def _gray(image: Image.Image, subject: str) -> NDArray[np.uint8]:
    if deep.is_deep(image):
        rows = [_gray_of_band(band) for band in deep.bands(image)]
        return _stretch(np.concatenate(rows), subject)
    image.load()
    numbers = _numbers(image)
    if numbers is not None:
        return _stretch(numbers, subject, _are_shares(numbers))
    if "transparency" in image.info or image.mode in ("La", "RGBa", "HSV"):
        image = _as_colour(image, subject)
    elif image.mode not in _KNOWN:
        raise _unknown(image, subject)
    return np.array(image.convert("L"))


def _gray_of_band(band: Pixels) -> Pixels:
    """Gray (h, W) of rows with gray and alpha, RGB or RGBA."""
    gray: Pixels = (
        band[..., 0] if band.shape[2] == 2 else band[..., :3] @ _GRAY.astype(np.float32)
    )
    return gray


def _planes(
    image: Image.Image, subject: str
) -> tuple[Pixels, Pixels | None, Pixels | None]:
    """Colour, alpha and palette indices of an image."""
    if deep.is_deep(image):
        has_alpha = deep.has_alpha(image)  # before the image is loaded
        rows = np.concatenate(list(deep.bands(image)))
        colour = rows[..., 0] if rows.shape[2] == 2 else rows[..., :3]
        alpha = rows[..., -1] if has_alpha else None
        return colour, alpha, None
    image.load()
    numbers = _numbers(image)
    if numbers is not None:
        return numbers, None, None
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L")), None, None
    indices = np.asarray(image) if image.mode == "P" else None
    colours = np.asarray(_as_colour(image, subject))
    alpha = colours[..., 3] if colours.shape[2] == 4 else None
    return colours[..., :3], alpha, indices


def _numbers(image: Image.Image) -> Pixels | None:
    """The pixels of an image that has one sample of more than 8 bits, or a signed one; None for others."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        has_numbers = image.mode[0] in "IF" or (
            image.mode == "L" and tiff.is_signed(image)
        )
        return tiff.values(image, np.asarray(image)) if has_numbers else None
    return np.asarray(image) if image.mode[0] in "IF" else None


def _as_colour(image: Image.Image, subject: str) -> Image.Image:
    """An image as RGB, or as RGBA if it has alpha."""
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    elif image.mode not in _KNOWN:
        raise _unknown(image, subject)
    has_alpha = image.mode in _ALPHA or "transparency" in image.info
    with quiet():
        return image.convert("RGBA" if has_alpha else "RGB")


def _unknown(image: Image.Image, subject: str) -> InputError:
    return InputError(
        subject,
        f"has pixels of the mode {image.mode}, which are not read",
        "convert it to gray or RGB",
    )


def _turned(pixels: Pixels, image: Image.Image) -> Pixels:
    """`pixels` (H, W, ...) turned upright by the EXIF orientation, if the image still has one."""
    turn = _orientation(image)
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if turn in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if turn in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def _orientation(image: Image.Image) -> int:
    with quiet():
        turn = image.getexif().get(_ORIENTATION, 1)
    return int(turn) if turn in range(1, 9) else 1


def _top(image: Image.Image) -> int | None:
    """The largest value of a sample of 2 or 4 bits, which Pillow multiplies to fill 8."""
    rawmode = deep.rawmode(image)
    return {"L;2": 3, "L;4": 15}.get(rawmode[:3])


def _is_lossy(image: Image.Image) -> bool:
    return image.format in _LOSSY or (
        isinstance(image, TiffImagePlugin.TiffImageFile) and tiff.is_lossy(image)
    )
