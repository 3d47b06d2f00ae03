"""Corrects how Pillow reads TIFF files, and refuses the kinds that Pillow reads wrongly."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImagePalette, TiffImagePlugin

from sonoseg.errors import InputError

# Tags of TIFF 6.0 (1992), section 8, and of its supplements.
_WIDTH = 256
_HEIGHT = 257
_BITS = 258
_COMPRESSION = 259
_PHOTOMETRIC = 262
_SAMPLES = 277
_PLANAR = 284
_COLOUR_MAP = 320
_INK_SET = 332
_SAMPLE_FORMAT = 339
_SUBSAMPLING = 530
# Values of these tags.
_UNSIGNED, _SIGNED = 1, 2
_WHITE_IS_ZERO, _PALETTE, _CMYK = 0, 3, 5
_COLOUR_MODES = ("RGB", "RGBA", "RGBX")
_COLOURS = {
    0: "gray with 0 as white",
    1: "gray",
    2: "RGB",
    3: "palette",
    4: "transparency mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELAB",
    9: "ICC LAB",
    10: "ITU LAB",
    32803: "raw camera",
    32844: "LogL",
    32845: "LogLuv",
    34892: "raw camera",
}
_NUMBERS = {
    1: "unsigned",
    2: "signed",
    3: "floating-point",
    4: "untyped",
    5: "complex",
    6: "complex",
}
_NATIVE = {
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
}
"""libtiff returns the bytes in the order of this machine, whatever the order in the file."""
_HINT = "export it as 8- or 16-bit gray or RGB"


def refuse_unknown(file: IO[bytes], subject: object) -> None:
    """Raises InputError with the kind of the TIFF in `file` that Pillow cannot open; returns if it is no TIFF."""
    file.seek(0)
    head = file.read(16)
    if head[:4] not in TiffImagePlugin.PREFIXES:
        return
    if head[:4] == b"MM\0+":
        raise InputError(subject, "a big-endian BigTIFF cannot be read", _HINT)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head if head[2] == 43 else head[:8])
    file.seek(tags.next)
    tags.load(file)
    if _SAMPLES in tags or _BITS in tags or _PHOTOMETRIC in tags:
        raise _unreadable(tags, subject)


def prepare(image: TiffImagePlugin.TiffImageFile, subject: object) -> None:
    """Corrects how Pillow is about to decode a TIFF that it has opened.

    Raises:
        InputError: Pillow would decode it wrongly.
    """
    tags = image.tag_v2
    colour = tags.get(_PHOTOMETRIC)
    if colour is None:
        raise InputError(
            subject, "the TIFF does not say whether 0 is black or white", _HINT
        )
    has_other_inks = colour == _CMYK and tags.get(_INK_SET, 1) != 1
    is_wrong = image.mode == "LAB" or has_other_inks
    if is_wrong or _loses_low_bytes(image) or _mixes_planes(image):
        raise _unreadable(tags, subject)
    if colour == _PALETTE and 0 < max(tags[_COLOUR_MAP]) < 256:
        # The colours have 8 bits, where TIFF asks for 16.
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLOUR_MAP]))
    _decode_natively(image, _codec(image), subject)


def _codec(image: TiffImagePlugin.TiffImageFile) -> str:
    """The name of Pillow's decoder; "" if the image is loaded."""
    return str(image.tile[0][0]) if image.tile else ""


def _has_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    return bool(image.tag_v2.get(_PLANAR, 1) == 2)


def _loses_low_bytes(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether 16-bit colours cannot be had whole: Pillow keeps the high byte alone, and deep.py needs it not loaded."""
    if _bits(image.tag_v2) <= 8:
        return False
    if image.mode == "CMYK":
        return True
    is_loaded = not image.tile
    rawmode = "" if is_loaded else str(image.tile[0][3])
    is_hard = _has_planes(image) or is_loaded or "a;16" in rawmode
    return image.mode in _COLOUR_MODES and is_hard


def _mixes_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether Pillow's own decoder reads the first letter of a raw mode as the name of a plane, which is wrong."""
    tags = image.tag_v2
    is_special = _bits(tags) != 8 or tags[_PHOTOMETRIC] == _WHITE_IS_ZERO
    return _has_planes(image) and _codec(image) == "raw" and is_special


def _decode_natively(
    image: TiffImagePlugin.TiffImageFile, codec: str, subject: object
) -> None:
    """Has libtiff turn YCbCr into RGB, and reads what it returns in the byte order of this machine."""
    tags = image.tag_v2
    subsampled = image.mode == "YCbCr" and tags.get(_SUBSAMPLING, (2, 2)) != (1, 1)
    swapped = (
        tags.prefix == b"MM"
        and tags.get(_COMPRESSION, 1) != 1
        and image.mode in ("I", "F")
    )
    if not codec:
        if subsampled or swapped:
            problem = "Pillow has decoded this TIFF wrongly"
            raise InputError(subject, problem, "give the file itself")
        return
    tile = image.tile[0]
    if subsampled:
        image.use_load_libtiff, image._mode = True, "RGB"
        box = (0, 0, tags[_WIDTH], tags[_HEIGHT])
        image.tile = [type(tile)("libtiff", box, 0, ("RGBX", False, tags.offset))]
    elif codec == "libtiff":
        assert isinstance(tile.args, tuple)
        rawmode, *others = tile.args
        native = _NATIVE.get(rawmode, rawmode)
        image.tile = [tile._replace(args=(native, *others))]


def values(image: TiffImagePlugin.TiffImageFile, pixels: NDArray[Any]) -> NDArray[Any]:
    """`pixels` (H, W) as Pillow decoded them, as the numbers that the TIFF means: signed, or with white as 0."""
    tags = image.tag_v2
    number = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
    if image.mode == "L" and number == _SIGNED:
        return pixels.view(np.int8)
    if image.mode == "I" and number == _UNSIGNED and _bits(tags) == 32:
        return pixels.view(np.uint32)
    if tags[_PHOTOMETRIC] == _WHITE_IS_ZERO and image.mode == "F":
        return -pixels
    if tags[_PHOTOMETRIC] == _WHITE_IS_ZERO and image.mode.startswith("I"):
        return 65535 - pixels
    return pixels


def is_signed(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether its samples are signed whole numbers."""
    return _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ())


def is_lossy(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether the TIFF was compressed as JPEG or WebP."""
    return image.tag_v2.get(_COMPRESSION, 1) in (6, 7, 50001)


def _bits(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    return int(max(tags.get(_BITS, (1,))))


def _unreadable(
    tags: TiffImagePlugin.ImageFileDirectory_v2, subject: object
) -> InputError:
    number = _NUMBERS.get(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0], "unknown")
    colour = _COLOURS.get(tags.get(_PHOTOMETRIC) or 0, "unknown")
    samples = f"{tags.get(_SAMPLES, 1)} × {_bits(tags)}-bit {number} {colour} samples"
    planes = " in separate planes" if tags.get(_PLANAR, 1) == 2 else ""
    problem = f"a TIFF of {samples} per pixel{planes} cannot be read"
    return InputError(subject, problem, _HINT)
