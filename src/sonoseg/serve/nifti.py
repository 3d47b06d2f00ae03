"""Reads single pictures in NIfTI-1 files, https://nifti.nimh.nih.gov/nifti-1: gray or RGB, plain or with gzip."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sonoseg.errors import InputError
from sonoseg.serve.volume import (
    HINT,
    SAMPLE_BYTES,
    Geometry,
    Vector,
    Volume,
    as_picture,
    check_sizes,
    damaged,
    inflated,
    numbers_in,
)

_GZIP = b"\x1f\x8b"
_MAGIC = b"n+1\0"
_HEAD = 348
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
}
_RGB24 = 128


def is_nifti(content: bytes) -> bool:
    """Whether a file is NIfTI-1, perhaps with gzip; told by its first bytes."""
    if content.startswith(_GZIP):
        content = inflated(content, _HEAD)
    return content[344:348] == _MAGIC


def read_nifti(content: bytes, most_pixels: int) -> Volume:
    """The picture in a NIfTI file.

    Args:
        content: of the file.
        most_pixels: that it may have.

    Raises:
        InputError: damaged, too large, several slices, or of a kind that is not read.
    """
    if content.startswith(_GZIP):
        content = inflated(content, most_pixels * SAMPLE_BYTES + (1 << 16))
    if len(content) < _HEAD or content[344:348] != _MAGIC:
        raise damaged()
    order = "<" if content[:4] == struct.pack("<i", _HEAD) else ">"
    sizes = struct.unpack(f"{order}8h", content[40:56])
    (code,) = struct.unpack(f"{order}h", content[70:72])
    offset, slope, shift = struct.unpack(f"{order}3f", content[108:120])
    count = sizes[0]
    if not 2 <= count <= 7:
        raise damaged()
    width, height, *others = sizes[1 : count + 1]
    channels = 3 if code == _RGB24 else 1
    is_planar = len(others) == 3 and others[2] == 3
    if is_planar:
        others, channels = others[:2], 3
    check_sizes(width, height, others, most_pixels)
    name = "u1" if code == _RGB24 else _TYPES.get(code)
    if name is None:
        raise InputError("image", f"has numbers of NIfTI's type {code}", HINT)
    if not _HEAD <= offset <= len(content):
        raise damaged()
    shape = (channels, height, width) if is_planar else (height, width, channels)
    numbers = numbers_in(content[int(offset) :], order + name, shape)
    pixels = np.moveaxis(numbers, 0, 2) if is_planar else numbers
    if slope not in (0.0, 1.0) or shift:
        pixels = pixels * slope + shift
    return Volume(as_picture(pixels), _geometry(content, order))


def _geometry(content: bytes, order: str) -> Geometry:
    qform, sform = struct.unpack(f"{order}2h", content[252:256])
    steps = struct.unpack(f"{order}8f", content[76:108])
    if sform > 0:
        rows = np.array(struct.unpack(f"{order}12f", content[280:328])).reshape(3, 4)
        # NIfTI counts to the right and to the front.
        rows[:2] *= -1
        column, row, through, origin = (_vector(rows[:, place]) for place in range(4))
        return Geometry(column, row, through, origin)
    if qform > 0:
        problem = "is a NIfTI file with a qform and without an sform"
        raise InputError("image", problem, "save it with ITK, as 3D Slicer does")
    return Geometry((steps[1], 0.0, 0.0), (0.0, steps[2], 0.0))


def _vector(numbers: NDArray[np.float64]) -> Vector:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
