"""Reads single pictures in NRRD files, https://teem.sourceforge.net/nrrd/format.html, and writes labels as NRRD."""

from __future__ import annotations

import math
import re

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

_MAGIC = b"NRRD000"
_LONGEST_HEAD = 1 << 16
_VECTORS = ("vector", "RGB-color", "3-color")
_TYPES = {
    ("uchar", "unsigned char", "uint8", "uint8_t"): "u1",
    ("signed char", "int8", "int8_t"): "i1",
    ("short", "short int", "signed short", "int16", "int16_t"): "i2",
    ("ushort", "unsigned short", "uint16", "uint16_t"): "u2",
    ("int", "signed int", "int32", "int32_t"): "i4",
    ("uint", "unsigned int", "uint32", "uint32_t"): "u4",
    ("float",): "f4",
    ("double",): "f8",
}


def is_nrrd(content: bytes) -> bool:
    """Whether a file is NRRD; told by its first bytes."""
    return content.startswith(_MAGIC)


def write_nrrd(label: NDArray[np.bool_], geometry: Geometry, dtype: str) -> bytes:
    """A label (H, W) as a NRRD file of one slice, in which 1 is lesion.

    Args:
        label: the mask.
        geometry: of the picture that it belongs to.
        dtype: uint8 or uint16.
    """
    height, width = label.shape
    names = {"uint8": "unsigned char", "uint16": "unsigned short"}
    vectors = (geometry.column, geometry.row, geometry.slice)
    lines = [
        "NRRD0004",
        f"type: {names[dtype]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {width} {height} 1",
        f"space directions: {' '.join(map(_written, vectors))}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        f"space origin: {_written(geometry.origin)}",
    ]
    head = "\n".join(lines) + "\n\n"
    numbers = label.astype(np.dtype(dtype).newbyteorder("<"))
    return head.encode("ascii") + numbers.tobytes()


def read_nrrd(content: bytes, most_pixels: int) -> Volume:
    """The picture in a NRRD file.

    Args:
        content: of the file.
        most_pixels: that it may have.

    Raises:
        InputError: damaged, too large, several slices, or of a kind that is not read.
    """
    head, blank, data = content[:_LONGEST_HEAD].partition(b"\n\n")
    if not blank:
        raise damaged()
    data = content[len(head) + 2 :]
    fields = _fields(head.decode("utf-8", "replace"))
    kind = fields.get("type", "").lower()
    name = next((n for names, n in _TYPES.items() if kind in names), None)
    if name is None or "data file" in fields or "datafile" in fields:
        raise InputError("image", "is a NRRD file of a kind that is not read", HINT)
    channels, sizes, directions, spacings = _layout(fields)
    width, height, *others = sizes
    check_sizes(width, height, others, most_pixels)
    if fields.get("encoding") in ("gzip", "gz"):
        data = inflated(data, width * height * SAMPLE_BYTES)
    elif fields.get("encoding") != "raw":
        raise InputError("image", "is a NRRD file of a kind that is not read", HINT)
    order = ">" if fields.get("endian") == "big" else "<"
    numbers = numbers_in(data, order + name, (height, width, channels))
    return Volume(as_picture(numbers), _geometry(fields, directions, spacings))


def _layout(fields: dict[str, str]) -> tuple[int, list[int], list[str], list[str]]:
    """Numbers per pixel; width, height and more sizes; and the directions and spacings of these as texts."""
    sizes = [int(word) for word in re.findall(r"\d+", fields.get("sizes", ""))]
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    spacings = fields.get("spacings", "").split()
    kinds = fields.get("kinds", "").split()
    channels = 1
    if len(sizes) > 2 and kinds and kinds[0] in _VECTORS:
        channels, sizes = sizes[0], sizes[1:]
        directions, spacings = directions[1:], spacings[1:]
    if len(sizes) < 2 or channels not in (1, 3):
        raise damaged()
    return channels, sizes, directions, spacings


def _fields(head: str) -> dict[str, str]:
    fields = {}
    for line in head.splitlines()[1:]:
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return fields


def _geometry(
    fields: dict[str, str], directions: list[str], spacings: list[str]
) -> Geometry:
    space = fields.get("space", "left-posterior-superior").lower()
    signs = {
        "left-posterior-superior": (1, 1, 1),
        "lps": (1, 1, 1),
        "right-anterior-superior": (-1, -1, 1),
        "ras": (-1, -1, 1),
    }.get(space)
    if signs is None:
        raise InputError("image", "is a NRRD file in a space that is not read", HINT)
    vectors = [_parsed(text, signs) for text in directions[:3]]
    sizes = [_size(spacings, axis) for axis in range(3)]
    steps = ((sizes[0], 0.0, 0.0), (0.0, sizes[1], 0.0), (0.0, 0.0, sizes[2]))
    column, row, through = (*vectors, *steps[len(vectors) :])
    origin = fields.get("space origin", "(0,0,0)")
    return Geometry(column, row, through, _parsed(origin, signs))


def _size(spacings: list[str], axis: int) -> float:
    """The spacing along an axis of a file without directions; 1 if it is not told (NaN)."""
    if axis >= len(spacings):
        return 1.0
    try:
        size = float(spacings[axis])
    except ValueError:
        raise damaged() from None
    return size if math.isfinite(size) else 1.0


def _parsed(text: str, signs: tuple[int, int, int]) -> Vector:
    try:
        x, y, z = (float(word) for word in text.strip("()").split(","))
    except ValueError:
        raise damaged() from None
    return x * signs[0], y * signs[1], z * signs[2]


def _written(vector: Vector) -> str:
    return f"({','.join(repr(float(number)) for number in vector)})"
