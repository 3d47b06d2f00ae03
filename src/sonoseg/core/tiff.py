"""What Pillow does not tell about a TIFF: which of its kinds are read rightly, and how the others are called."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImagePalette, TiffImagePlugin

from sonoseg.errors import InputError

# Tags of TIFF 6.0 (1992), section 8, and of its supplements.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = (
    256,
    257,
    258,
    259,
    262,
    277,
    284,
)
_COLOUR_MAP, _INK_SET, _SAMPLE_FORMAT, _SUBSAMPLING = 320, 332, 339, 530
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
        raise InputError(subject, "a big-endian BigTIFF, which cannot be read", _HINT)
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
        raise InputError(subject, "a TIFF that does not say whether 0 is black or white", _HINT)
    codec, rawmode = (image.tile[0][0], str(image.tile[0][3])) if image.tile else ("", "")
    planes, deep = tags.get(_PLANAR, 1) == 2, _bits(tags) > 8
    # Of 16-bit colours Pillow keeps the high byte (see deep.py), and of those it has loaded the low byte is gone.
    lost = deep and image.mode in _COLOUR_MODES and (planes or not codec or "a;16" in rawmode)
    lost |= deep and image.mode == "CMYK"
    # Pillow's own decoder takes the first letter of a raw mode for that of a plane.
    torn = planes and codec == "raw" and (_bits(tags) != 8 or colour == _WHITE_IS_ZERO)
    inks = colour == _CMYK and tags.get(_INK_SET, 1) != 1
    if image.mode == "LAB" or inks or lost or torn:
        raise _unreadable(tags, subject)
    if (
        colour == _PALETTE and 0 < max(tags[_COLOUR_MAP]) < 256
    ):  # 8-bit colours, where TIFF asks for 16
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLOUR_MAP]))
    _decode_natively(image, codec, subject)


def _decode_natively(image: TiffImagePlugin.TiffImageFile, codec: str, subject: object) -> None:
    """Has libtiff turn YCbCr into RGB, and reads what it returns in the byte order of this machine."""
    tags = image.tag_v2
    subsampled = image.mode == "YCbCr" and tags.get(_SUBSAMPLING, (2, 2)) != (1, 1)
    swapped = tags.prefix == b"MM" and tags.get(_COMPRESSION, 1) != 1 and image.mode in ("I", "F")
    if not codec:
        if subsampled or swapped:
            raise InputError(
                subject, "a TIFF that Pillow has decoded wrongly", "give the file itself"
            )
        return
    if subsampled:
        image.use_load_libtiff, image._mode = True, "RGB"
        box = (0, 0, tags[_WIDTH], tags[_HEIGHT])
        image.tile = [type(image.tile[0])("libtiff", box, 0, ("RGBX", False, tags.offset))]
    elif codec == "libtiff":
        args = image.tile[0].args
        assert isinstance(args, tuple)
        image.tile = [image.tile[0]._replace(args=(_NATIVE.get(args[0], args[0]), *args[1:]))]


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


def _unreadable(tags: TiffImagePlugin.ImageFileDirectory_v2, subject: object) -> InputError:
    colour, number = tags.get(_PHOTOMETRIC), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
    kind = f"{_bits(tags)}-bit {_NUMBERS.get(number, 'unknown')} {_COLOURS.get(colour or 0, 'unknown')}"
    planes = " in separate planes" if tags.get(_PLANAR, 1) == 2 else ""
    problem = (
        f"a TIFF of {tags.get(_SAMPLES, 1)} × {kind} samples a pixel{planes}, which cannot be read"
    )
    return InputError(subject, problem, _HINT)
