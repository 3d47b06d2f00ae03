"""Calipers that a reader put down: two lines across a lesion, which replace the diameters that were worked out."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from sonoseg.core.image import parse_spacing
from sonoseg.core.measure import Diameter, Lesion, Spacing
from sonoseg.describe.lesion import DescribedLesion
from sonoseg.errors import InputError
from sonoseg.reader.result import SegmentationResult, measure_lesions
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import Finding

if TYPE_CHECKING:
    from sonoseg.dicom.read import DicomFile

Line = tuple[float, float, float, float]
"""x and y of one end, then of the other, in pixels of the image."""
Pair = tuple[Line, Line]
"""The two lines of a lesion."""
_Any = TypeVar("_Any", bound=Lesion)
_SAME = 1e-4
"""Relative difference up to which a typed size of a pixel is that of the file, which is shown in six digits."""
_MOST = 50
_FARTHEST = 1e5


def join_calipers(pairs: Sequence[Sequence[Sequence[float]]]) -> str:
    """Pairs of lines as text, for the journal; "" for none.

    Raises:
        InputError: they are no lines, or too many.
    """
    for pair in pairs:
        numbers = [number for line in pair for number in line]
        is_pair = len(pair) == 2 and all(len(line) == 4 for line in pair)
        # NaN is not within any limits.
        if not is_pair or not all(abs(number) <= _FARTHEST for number in numbers):
            raise InputError("calipers", "are no lines", "reload the page")
    if len(pairs) > _MOST:
        raise InputError("calipers", "are too many", f"keep at most {_MOST}")
    rounded = [[[round(one, 2) for one in line] for line in pair] for pair in pairs]
    return json.dumps(rounded, separators=(",", ":")) if rounded else ""


def split_calipers(text: str) -> list[Pair]:
    """What `join_calipers` made `text` of."""
    pairs = json.loads(text) if text else []
    return [(tuple(long), tuple(short)) for long, short in pairs]


def measured(
    mask: Mask, result: SegmentationResult, finding: Finding, is_judged: bool = False
) -> tuple[list[DescribedLesion], list[bool]]:
    """The lesions of a mask (H, W), the largest first, and which of them a reader measured.

    The size of a pixel is what the reader typed, or else that of the file. Malignancy is judged only if it is asked
    for: it takes a few milliseconds for each lesion.
    """
    spacing = spacing_of(finding, result.spacing)
    judge = result.judge if is_judged else None
    lesions = measure_lesions(mask, result.network_map, result.image, spacing, judge)
    return by_hand(lesions, split_calipers(finding.calipers), spacing)


def spacing_text(spacing: Spacing) -> str:
    """A size of a pixel as a reader would type it."""
    row, column = (f"{length:.6g}" for length in spacing)
    return row if row == column else f"{row},{column}"


def spacing_of(finding: Finding, own: Spacing | None) -> Spacing | None:
    """The size of a pixel that counts: what the reader typed, or `own`, that of the file."""
    if not finding.spacing:
        return own
    typed = parse_spacing(finding.spacing)
    return own if own is not None and _are_same(typed, own) else typed


def sized(file: DicomFile, region: int, sizes: Collection[Spacing | None]) -> DicomFile:
    """A file with the sizes of a pixel that count for one region. A doubt says where they differ from the file's own.

    Args:
        file: as it was read.
        region: number of the region, from 1.
        sizes: that count on its frames. If there are several, no size is known for all of the region.
    """
    own = file.layout.regions[region - 1]
    given = [size for size in sizes if size != own.spacing and size is not None]
    if not given:
        return file
    alone = replace(file, layout=replace(file.layout, regions=(own,)))
    layout = alone.with_spacing(given[0]).layout
    (mine,) = layout.regions
    if len(sizes) > 1:
        mine = replace(mine, spacing=None)
    regions = list(file.layout.regions)
    regions[region - 1] = mine
    return replace(file, layout=replace(layout, regions=tuple(regions)))


def by_hand(
    lesions: Sequence[_Any], pairs: Sequence[Pair], spacing: Spacing | None
) -> tuple[list[_Any], list[bool]]:
    """The lesions with the reader's diameters, and which of them have these.

    A pair of lines belongs to the lesion whose box holds the middle of its first line; if there are several, to the
    one whose centre is nearest. Of two pairs the last one counts.
    """
    found, is_by_hand = list(lesions), [False] * len(lesions)
    for pair in pairs:
        place = _lesion_of(pair, lesions)
        if place is None:
            continue
        lines = [Diameter(line[:2], line[2:], spacing) for line in pair]
        longest, across = sorted(lines, key=lambda line: line.length, reverse=True)
        found[place] = replace(found[place], longest=longest, across=across)
        is_by_hand[place] = True
    return found, is_by_hand


def diameters_text(lesions: Sequence[Lesion]) -> str:
    """The diameters of lesions for a table, such as "12.3 x 8.1 mm; 4 x 3.2 mm"."""
    words = []
    for lesion in lesions:
        unit = "px" if lesion.spacing is None else "mm"
        long, short = lesion.longest.length, lesion.across.length
        words.append(f"{long:.4g} x {short:.4g} {unit}")
    return "; ".join(words)


def _are_same(first: Spacing, second: Spacing) -> bool:
    pairs = zip(first, second, strict=True)
    return all(math.isclose(one, other, rel_tol=_SAME) for one, other in pairs)


def _lesion_of(pair: Pair, lesions: Sequence[Lesion]) -> int | None:
    x0, y0, x1, y1 = pair[0]
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    best, nearest = None, math.inf
    for place, lesion in enumerate(lesions):
        left, top, width, height = lesion.box
        is_inside = left <= x <= left + width and top <= y <= top + height
        distance = math.dist((x, y), lesion.centre)
        if is_inside and distance < nearest:
            best, nearest = place, distance
    return best
