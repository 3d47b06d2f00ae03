"""The sizes of lesions as readers measured them: by their calipers, or where they put none down, by their outlines."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import parse_spacing
from sonoseg.core.measure import Lesion, Spacing, find_lesions
from sonoseg.core.sizes import Measured, Sizes, pair_sizes
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.serve.calipers import diameters_text

Mask = NDArray[np.bool_]
_LINES = re.compile(r"(\S+) x (\S+) (mm|px)")
_LONGEST = 1e6
"""No image is so wide, in mm or in pixels."""
_ROUNDED = 1e-3
"""More than the tables' four digits may differ, relative."""


@dataclass(frozen=True)
class Row:
    """What the labels.csv of a reader says of one image.

    Attributes:
        table: the file.
        file: name of the image.
        group: the patient, or the name of the file where that is not known.
        spacing: height and width of a pixel in mm; None if not known.
        diameters: the two of each lesion, the one with most pixels first; in mm if `spacing` is known, else in pixels.
    """

    table: Path
    file: str
    group: str
    spacing: Spacing | None
    diameters: tuple[tuple[float, float], ...]


def read_rows(path: Path) -> dict[str, Row]:
    """Reads a labels.csv that `sonoseg serve` wrote, by name of the image file.

    Raises:
        InputError: it cannot be read, or a cell is not as `sonoseg serve` writes it.
    """
    rows: dict[str, Row] = {}
    for cells in read_table(path, ("file", "group", "spacing", "diameters")):
        file = cells["file"]
        if file in rows:
            raise InputError(path, f"has two rows for {file}", "remove one of them")
        try:
            spacing = parse_spacing(cells["spacing"]) if cells["spacing"] else None
            diameters = _diameters(cells["diameters"], spacing)
        except (InputError, ValueError) as error:
            problem = f"has no sizes as sonoseg serve writes them for {file}"
            hint = "accept the image again"
            raise InputError(path, problem, hint) from error
        rows[file] = Row(path, file, cells["group"] or file, spacing, diameters)
    return rows


def _diameters(text: str, spacing: Spacing | None) -> tuple[tuple[float, float], ...]:
    """The numbers of "12.3 x 8.1 mm; 4 x 3.2 mm", of px without spacing; ValueError if it is not that."""
    unit = "px" if spacing is None else "mm"
    found = []
    for words in filter(None, text.split("; ")):
        match = _LINES.fullmatch(words)
        if match is None or match[3] != unit:
            raise ValueError(words)
        lengths = float(match[1]), float(match[2])
        if not all(0 < length < _LONGEST for length in lengths):  # false for NaN too
            raise ValueError(words)
        found.append(lengths)
    return tuple(found)


def measured_row(mask: Mask, row: Row) -> Row:
    """What a mask (H, W) measures without calipers, with the pixel size of a reader's row; rounded as in tables."""
    text = diameters_text(_lesions(mask, row))
    return replace(row, diameters=_diameters(text, row.spacing))


def check_row(mask: Mask, row: Row, has_calipers: bool) -> None:
    """Refuses a row that is not of the mask (H, W): one of them was changed after it was accepted.

    Args:
        mask, row: of one image.
        has_calipers: whether the reader put some down; then only the number of lesions can be checked.

    Raises:
        InputError: it is not.
    """
    expected = measured_row(mask, row).diameters
    fits = len(expected) == len(row.diameters)
    if fits and expected and not has_calipers:
        fits = np.allclose(expected, row.diameters, rtol=_ROUNDED, atol=0)
    if not fits:
        problem = (
            f"the diameters of {row.file} are not those of its mask and pixel size"
        )
        raise InputError(row.table, problem, "accept the image again")


def compare_sizes(first: tuple[Mask, Row], second: tuple[Mask, Row]) -> Sizes | None:
    """What two judges measured of the largest lesion of the first one, who counts as the reference.

    Args:
        first, second: the mask (H, W) and the row of each.

    Returns:
        None if they have measured with different sizes of a pixel: this says nothing of how they measure.
    """
    if not _have_one_pixel_size(first[1], second[1]):
        return None
    (mask, row), (other, _) = first, second
    measured = partial(_measured, *first), partial(_measured, *second)
    return pair_sizes(mask, other, *measured, row.spacing is not None)


def _have_one_pixel_size(one: Row, other: Row) -> bool:
    if one.spacing is None or other.spacing is None:
        return one.spacing is other.spacing
    pairs = zip(one.spacing, other.spacing, strict=True)
    return all(math.isclose(*pair, rel_tol=_ROUNDED) for pair in pairs)


def _measured(mask: Mask, row: Row, place: int) -> Measured:
    """The size of one lesion: the diameters of the row, and the area of the outline."""
    return Measured(*row.diameters[place], _lesions(mask, row)[place].area)


def _lesions(mask: Mask, row: Row) -> Sequence[Lesion]:
    return find_lesions(mask, mask.astype(np.float32), spacing=row.spacing)
