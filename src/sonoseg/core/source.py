"""Opens an image from any source. The header is checked first, so that nothing huge or strange is decoded."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from os import PathLike, fsdecode, fspath
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from sonoseg.core import tiff
from sonoseg.errors import InputError
from sonoseg.inputs import readable_file

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MIN_SIDE = 16
MAX_PIXELS = 50_000_000
MAX_BYTES = 500_000_000
"""Of an open file, which is read whole."""
PROCESS_LOCK = threading.RLock()
"""Warnings' filters and stderr belong to the whole process: one thread at a time changes them."""
NAMELESS = "image"
"""What messages call a source without a name."""
_EXPORT = "export it again as PNG, JPEG, TIFF or BMP"
_KINDS = "give a file, its bytes, a numpy array or a PIL image"

Source = (
    str
    | PathLike[str]
    | PathLike[bytes]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | Image.Image
    | NDArray[Any]
)
"""A path, the content of a file, an open file, a PIL image, or an array of pixels."""


def name_of(source: Source) -> str:
    """What messages call a source: its path if it has one, otherwise `NAMELESS`."""
    if isinstance(source, (str, PathLike)):
        return fsdecode(fspath(source))
    attribute = "filename" if isinstance(source, Image.Image) else "name"
    name: Any = getattr(source, attribute, None)
    is_path = isinstance(
        name, (str, bytes, PathLike)
    )  # a file descriptor has a number as its name
    return (fsdecode(name) if is_path else "") or NAMELESS


def array_of(source: Source) -> NDArray[Any] | None:
    """The pixels of a source that is an array: (H, W) or (H, W, 3 or 4), real numbers; None if it is another source.

    Raises:
        InputError: an array of another shape or dtype, with masked elements, under 16 × 16 or over 50 megapixels.
    """
    is_other = isinstance(
        source, (str, bytes, bytearray, memoryview, PathLike, Image.Image)
    ) or hasattr(source, "read")
    if is_other or not hasattr(source, "__array__"):
        return None
    try:
        array = np.asarray(source)
    except Exception as error:
        raise InputError(
            "image", f"a {type(source).__name__} is not an array of pixels", _KINDS
        ) from error
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError(
            "image",
            f"an array of shape {array.shape} is not an image",
            "give (H, W), (H, W, 3) or (H, W, 4)",
        )
    if array.dtype.kind not in "buif":
        raise InputError(
            "image",
            f"an array of {array.dtype} is not an image",
            "give whole or floating-point numbers",
        )
    if np.ma.is_masked(source):
        raise InputError(
            "image", "the array has masked pixels", "fill them with numbers"
        )
    check_dimensions("image", array.shape[1], array.shape[0])
    return array


@contextlib.contextmanager
def opened(source: Source) -> Iterator[tuple[Image.Image, str]]:
    """Yields a source that is not an array as a PIL image whose header is good, and the name for messages.

    It is not loaded, unless it came as a PIL image that was.

    Raises:
        InputError: no such file, not an image, damaged (also if that shows within the block), under 16 × 16 or over
            50 megapixels, more than one frame, or a kind that Pillow would decode wrongly.
    """
    subject = name_of(source)
    with contextlib.ExitStack() as files, decoding(subject):
        if isinstance(source, Image.Image):
            image = _as_file(source)
        else:
            image = _open(files.enter_context(_file(source, subject)), subject)
        check_dimensions(subject, *image.size)
        _check_frames(image, subject)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            tiff.prepare(image, subject)
        yield image, subject


@contextlib.contextmanager
def decoding(subject: str) -> Iterator[None]:
    """Turns whatever Pillow raises into an InputError."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(subject, "not a picture that can be read", _EXPORT) from error
    except Image.DecompressionBombError as error:
        raise _too_large(subject) from error
    except MemoryError as error:
        raise InputError(
            subject, "not enough memory to read it", "make the image smaller"
        ) from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise InputError(
            subject, "is damaged or cut short", "copy or export it again"
        ) from error


def check_dimensions(
    subject: object, width: int, height: int, most: int = MAX_PIXELS
) -> None:
    """Raises InputError if an image is smaller than `MIN_SIDE` on a side or has over `most` pixels."""
    if min(width, height) < MIN_SIDE:
        problem = f"is {width} × {height} pixels, too small to segment"
        raise InputError(
            subject, problem, f"give an image of at least {MIN_SIDE} × {MIN_SIDE}"
        )
    if width * height > most:
        raise _too_large(subject, most, f" ({width} × {height} pixels)")


def _too_large(subject: object, most: int = MAX_PIXELS, size: str = "") -> InputError:
    return InputError(
        subject,
        f"is over {most // 10**6} megapixels{size}",
        "crop it or make it smaller",
    )


@contextlib.contextmanager
def _file(source: Source, subject: str) -> Iterator[IO[bytes]]:
    """A path opened, bytes and open files as a file in memory."""
    if isinstance(source, (str, PathLike)):
        with readable_file(subject).open("rb") as file:
            yield file
        return
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    elif hasattr(source, "read"):
        content = _content(source, subject)
    else:
        raise InputError(subject, f"a {type(source).__name__} is not an image", _KINDS)
    if not content:
        raise InputError(subject, "is empty", "copy or export it again")
    yield io.BytesIO(content)


def _content(file: Any, subject: str) -> bytes:
    """All that is in an open file, from its beginning if it can go back there."""
    content = bytearray()
    try:
        if file.seekable():
            file.seek(0)
        while len(content) <= MAX_BYTES and (part := file.read(1 << 20)):
            if isinstance(part, str):
                raise InputError(subject, "is open as text", 'open it with "rb"')
            content += part
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            subject, f"cannot be read ({error})", 'open it with "rb"'
        ) from error
    if len(content) > MAX_BYTES:
        raise InputError(
            subject, f"is over {MAX_BYTES // 10**6} MB", "give an image file"
        )
    return bytes(content)


def _open(file: IO[bytes], subject: str) -> Image.Image:
    try:
        with quiet():
            return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        tiff.refuse_unknown(file, subject)
        raise


def _as_file(image: Image.Image) -> Image.Image:
    """A PIL image that is opened and not loaded, opened anew: Pillow maps some TIFFs into memory wrongly.

    Raises:
        InputError: it was closed before it was loaded; or it is a PNG of 16-bit colours that was loaded, so that its
            low bytes are gone (if its file is still there to show it).
    """
    if isinstance(image, PngImagePlugin.PngImageFile) and not image.tile:
        with contextlib.suppress(OSError, ValueError):
            with Path(fsdecode(image.filename)).open("rb") as file:
                head = file.read(26)
            if head[24:] in (
                b"\x10\x02",
                b"\x10\x04",
                b"\x10\x06",
            ):  # bits and colour type
                problem = "Pillow has loaded it, and kept only 8 of its 16 bits"
                raise InputError(name_of(image), problem, "give the file itself")
    if (
        not isinstance(image, ImageFile.ImageFile)
        or image.format not in FORMATS
        or not image.tile
    ):
        return image
    if not image.fp or image.fp.closed:
        raise InputError(
            name_of(image),
            "a PIL image that was closed before it was loaded",
            "open it again",
        )
    with quiet():
        again = Image.open(image.fp, formats=FORMATS)
    return again if again.size == image.size else image


def _check_frames(image: Image.Image, subject: str) -> None:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.tag_v2.next:  # counting them would read them all
            raise InputError(subject, "has several pages", "save each page as a file")
        return
    # Of a phone's multi-picture JPEG the first is the picture, the others are helpers.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(subject, f"has {frames} frames", "save each frame as a file")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back Python's warnings."""
    with PROCESS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
