"""Finds JPEG data that libjpeg decodes with a warning, such as flipped bits leave behind.

Pillow drops libjpeg's warnings, and nothing else in the reader can decode JPEG. But after most flips that libjpeg
notices, the blocks of a scan no longer end where its data ends, and that can be seen with Pillow alone:

- data too short: libjpeg fills the missing blocks with gray. With ones put before every marker, it decodes those
  instead, and the pixels differ.
- data too long: an image without its last bytes can then still be decoded, which it otherwise cannot.

Sound data passes both for certain. Flips that change values and leave the number of blocks as it was pass too; libjpeg
does not notice them either. Data too long before the last marker (progressive files, restart intervals) is not seen.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

FORMATS = ("JPEG", "MPO")
"""Pillow's names; MPO is a phone's file of several JPEG pictures."""
_DOUBT = "its JPEG data is damaged, parts of the image may be wrong"
_ONES = b"\xff\x00" * 9
"""More bits than libjpeg reads ahead; no code of a JPEG is all ones."""
_END, _SCAN = 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
_ALONE = frozenset(_RESTARTS) | {0x01}
"""Markers without a length."""
_BASELINE = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame."""


def content(image: Image.Image) -> bytes | None:
    """The file of a JPEG that is opened and not loaded; None for other images."""
    if (
        not isinstance(image, ImageFile.ImageFile)
        or image.format not in FORMATS
        or not image.tile
    ):
        return None
    assert image.fp is not None
    image.fp.seek(0)
    return image.fp.read()


def doubts(data: bytes) -> tuple[str, ...]:
    """Why not to trust the pixels of a JPEG file that Pillow decodes without an error; empty if its data is sound."""
    ends, is_baseline = _scan_ends(data)
    if not ends:
        return ()
    is_long = is_baseline and _decodes_without_its_end(data, ends[-1])
    if _is_short(data, ends) or is_long or not _restarts_count_up(data, ends):
        return (_DOUBT,)
    return ()


def _is_short(data: bytes, ends: list[int]) -> bool:
    """Whether the pixels change when ones are put before each marker in `ends`."""
    padded, at = bytearray(), 0
    for end in ends:
        padded += data[at:end] + _ONES
        at = end
    padded += data[at:]
    unchanged, with_ones = _decoded(data), _decoded(bytes(padded))
    if unchanged is None or with_ones is None:
        return True
    return not np.array_equal(unchanged, with_ones)


def _decodes_without_its_end(data: bytes, end: int) -> bool:
    """Whether an image whose data ends at `end` can be decoded without its last two bytes."""
    shorter = data[: end - 2].removesuffix(b"\xff")
    return _decoded(shorter) is not None


def _restarts_count_up(data: bytes, ends: list[int]) -> bool:
    number = 0
    for end in ends:
        marker = data[end + 1]
        if marker not in _RESTARTS:
            number = 0
        elif marker == _RESTARTS[number % len(_RESTARTS)]:
            number += 1
        else:
            return False
    return True


def _scan_ends(data: bytes) -> tuple[list[int], bool]:
    """Where the coded data of the first image ends, at each marker; and whether it is one sequential scan."""
    ends: list[int] = []
    at, frame = 2, 0
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 4:
        marker = data[at + 1]
        if marker == _END:
            break
        if marker in (0x00, 0xFF):  # a byte of data, or filling
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        frame = marker if marker in _FRAMES else frame
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            scan = _ends_of_scan(data, at)
            ends += scan
            at = scan[-1]
    if not ends:
        return ends, False
    last_marker = data[ends[-1] + 1 : ends[-1] + 2]
    return ends, frame in _BASELINE and last_marker == bytes([_END])


def _ends_of_scan(data: bytes, at: int) -> list[int]:
    ends = []
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker not in (0x00, 0xFF):
            ends.append(at)
            if marker not in _RESTARTS:
                return ends
        at += 1 if marker == 0xFF else 2
    ends.append(len(data))
    return ends


def _decoded(data: bytes) -> NDArray[np.uint8] | None:
    """The brightness of a JPEG, (H, W) uint8, or its channels; None if it is cut short."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.draft("L", image.size)
            return np.asarray(image)
    except Exception:  # damaged files make Pillow raise nearly anything
        return None
