"""The sizes of lesions as readers measured them: by their calipers, or where they put none down, by their outlines."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import parse_spacing
from sonoseg.core.measure import Spacing, find_lesions
from sonoseg.core.sizes import Measured, Sizes, place_of_largest
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError, counted

Mask = NDArray[np.bool_]
_LINES = re.compile(r"(\S+) x (\S+) (mm|px)")


@dataclass(frozen=True)
class Row:
    """What the labels.csv of a reader says of one image.

    Attributes:
        file: its name.
        group: the patient, or the name of the file where that is not known.
        spacing: height and width of a pixel in mm; None if not known.
        diameters: the two of each lesion, the one with most pixels first; in mm if `spacing` is known, else in pixels.
    """

    file: str
    group: str
    spacing: Spacing | None
    diameters: tuple[tuple[float, float], ...]


def read_rows(path: Path) -> dict[str, Row]:
    """Reads a labels.csv that `sonoseg serve` wrote, by name of the image file.

    Raises:
        InputError: it cannot be read, or a cell is not as `sonoseg serve` writes it.
    """
    rows = {}
    for cells in read_table(path, ("file", "group", "spacing", "diameters")):
        file = cells["file"]
        try:
            spacing = parse_spacing(cells["spacing"]) if cells["spacing"] else None
            unit = "px" if spacing is None else "mm"
            diameters = _diameters(cells["diameters"], unit)
        except (InputError, ValueError) as error:
            problem = f"has no sizes as sonoseg serve writes them for {file}"
            hint = "accept the image again"
            raise InputError(path, problem, hint) from error
        rows[file] = Row(file, cells["group"] or file, spacing, diameters)
    return rows


def _diameters(text: str, unit: str) -> tuple[tuple[float, float], ...]:
    """The numbers of "12.3 x 8.1 mm; 4 x 3.2 mm"; ValueError if it is not that."""
    found = []
    for words in filter(None, text.split("; ")):
        match = _LINES.fullmatch(words)
        if match is None or match[3] != unit:
            raise ValueError(words)
        found.append((float(match[1]), float(match[2])))
    return tuple(found)


def measured_row(mask: Mask, row: Row) -> Row:
    """What the network's mask (H, W) measures, with the size of a pixel in a reader's row."""
    lesions = find_lesions(mask, mask.astype(np.float32), spacing=row.spacing)
    lines = [(lesion.longest.length, lesion.across.length) for lesion in lesions]
    return replace(row, diameters=tuple(lines))


def compare_sizes(first: tuple[Mask, Row], second: tuple[Mask, Row]) -> Sizes | None:
    """What two judges measured of the largest lesion of the first one, who counts as the reference.

    Args:
        first, second: the mask (H, W) and the row of each.

    Returns:
        None if one has measured in mm and the other in pixels.

    Raises:
        InputError: a mask has not as many lesions as its row has sizes.
    """
    one, other = first[1], second[1]
    if (one.spacing is None) != (other.spacing is None):
        return None
    is_metric = one.spacing is not None
    if not first[0].any():
        return Sizes()
    place = place_of_largest(first[0], second[0])
    outline = None if place is None else _measured(*second, place)
    return Sizes(_measured(*first, 0), outline, is_metric)


def _measured(mask: Mask, row: Row, place: int) -> Measured:
    """The size of one lesion: the diameters of the row, and the area of the outline."""
    lesions = find_lesions(mask, mask.astype(np.float32), spacing=row.spacing)
    if len(lesions) != len(row.diameters):
        lesions_are = counted(len(lesions), "lesion")
        problem = f"its mask has {lesions_are}, labels.csv the diameters of {len(row.diameters)}"
        raise InputError(row.file, problem, "accept the image again")
    return Measured(*row.diameters[place], lesions[place].area)
