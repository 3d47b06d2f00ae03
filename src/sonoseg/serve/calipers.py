"""Calipers that a reader put down: two lines across a lesion, which replace the diameters that were worked out."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sonoseg.core.image import parse_spacing
from sonoseg.core.measure import Diameter, Lesion, Spacing, find_lesions
from sonoseg.describe.lesion import DescribedLesion
from sonoseg.errors import InputError
from sonoseg.reader.result import SegmentationResult, measure_lesions
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import Finding
from sonoseg.serve.refusal import SEE_AGAIN, Refused

if TYPE_CHECKING:
    from sonoseg.dicom.read import DicomFile

Line = tuple[float, float, float, float]
"""x and y of one end, then of the other, in pixels of the image."""
Box = tuple[int, int, int, int]
"""x, y, width and height, in pixels."""
_Any = TypeVar("_Any", bound=Lesion)
_SAME = 1e-4
"""Relative difference up to which a typed size of a pixel is that of the file, which is shown in six digits."""
_ALIKE = 0.8
"""Share of box and of area that a lesion keeps while its calipers count: a corrected edge keeps more."""
_MOST = 50
_FARTHEST = 1e5


@dataclass(frozen=True)
class Calipers:
    """Two lines that a reader put down on one lesion.

    Attributes:
        lines: the two.
        box: of the lesion as it was then.
        pixels: how many the lesion had.
        is_old: whether the lesion has changed much since. Then they never count again, except that the change is
            undone: what looks like the same lesion later may be another one.
    """

    lines: tuple[Line, Line]
    box: Box
    pixels: int
    is_old: bool = False


def join_calipers(calipers: Sequence[Calipers]) -> str:
    """Calipers as text, for the journal; "" for none."""
    rows = [astuple(one) for one in calipers]
    return json.dumps(rows, separators=(",", ":")) if rows else ""


def split_calipers(text: str) -> list[Calipers]:
    """What `join_calipers` made `text` of."""
    found = []
    for (first, second), box, pixels, is_old in json.loads(text) if text else []:
        lines = (tuple(first), tuple(second))
        found.append(Calipers(lines, tuple(box), pixels, is_old))
    return found


def put_down(text: str, mask: Mask, box: Box, lines: Sequence[Sequence[float]]) -> str:
    """The calipers after a reader has measured a lesion, or has taken its calipers away.

    Args:
        text: the calipers before, see `join_calipers`.
        mask: (H, W) bool.
        box: of the lesion; without width, the calipers of all lesions are taken away.
        lines: the two; none take those of the lesion away.

    Raises:
        InputError: they are no lines, or too many.
        Refused: status 409, no lesion has this box.
    """
    if not box[2]:
        return ""
    lesions = _lesions_in(mask)
    places = [place for place, lesion in enumerate(lesions) if lesion.box == box]
    if not places:
        raise Refused(409, "lesion", "has another outline now", SEE_AGAIN)
    place = places[0]
    known = split_calipers(text)
    others = [one for one in known if _lesion_of(one, lesions) != place]
    if lines:
        pixels = lesions[place].pixels
        others.append(Calipers(_checked(lines), box, pixels))
    if len(others) > _MOST:
        raise InputError("calipers", "are too many", f"keep at most {_MOST}")
    return join_calipers(others)


def after_change(text: str, mask: Mask) -> str:
    """The calipers `text` after a change of the mask (H, W): those whose lesion is hardly the same are old."""
    if not text:
        return ""
    lesions = _lesions_in(mask)
    calipers = []
    for one in split_calipers(text):
        is_old = one.is_old or _lesion_of(one, lesions) is None
        calipers.append(replace(one, is_old=is_old))
    return join_calipers(calipers)


def note_on(text: str, lesions: Sequence[Lesion], is_by_hand: Sequence[bool]) -> str:
    """A note if there are old calipers on a lesion that the reader did not measure since; else ""."""
    for one in split_calipers(text):
        place = _lesion_of(one, lesions) if one.is_old else None
        if place is not None and not is_by_hand[place]:
            return (
                f"the calipers on lesion {place + 1} do not count: they were put on an outline that has changed since; "
                "measure it again (m)"
            )
    return ""


def measured(
    mask: Mask,
    result: SegmentationResult,
    finding: Finding,
    calipers: str,
    is_judged: bool = False,
) -> tuple[list[DescribedLesion], list[bool]]:
    """The lesions of a mask (H, W), the largest first, and which of them a reader measured.

    The size of a pixel is what the reader typed, or else that of the file. For `calipers` see `join_calipers`.
    Malignancy is judged only if it is asked for: it takes a few milliseconds for each lesion.
    """
    spacing = spacing_of(finding, result.spacing)
    judge = result.judge if is_judged else None
    record = replace(result.record, spacing=spacing)
    lesions = measure_lesions(mask, result.network_map, record, judge)
    return by_hand(lesions, calipers, spacing)


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
    lesions: Sequence[_Any], calipers: str, spacing: Spacing | None
) -> tuple[list[_Any], list[bool]]:
    """The lesions with the reader's diameters, and which of them have these. For `calipers` see `join_calipers`."""
    found, is_by_hand = list(lesions), [False] * len(lesions)
    for one in split_calipers(calipers):
        place = None if one.is_old else _lesion_of(one, lesions)
        if place is None:
            continue
        lines = [Diameter(line[:2], line[2:], spacing) for line in one.lines]
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


def _lesions_in(mask: Mask) -> Sequence[Lesion]:
    # Only places and pixels are asked for.
    return find_lesions(mask, mask.astype(np.float32))


def _checked(lines: Sequence[Sequence[float]]) -> tuple[Line, Line]:
    """Two lines as they are kept, or InputError."""
    numbers = [number for line in lines for number in line]
    are_two = len(lines) == 2 and all(len(line) == 4 for line in lines)
    # NaN is not within any limits.
    if not are_two or not all(abs(number) <= _FARTHEST for number in numbers):
        raise InputError("calipers", "are no lines", "reload the page")
    x0, y0, x1, y1, x2, y2, x3, y3 = (round(number, 2) for number in numbers)
    if (x0, y0) == (x1, y1) or (x2, y2) == (x3, y3):
        raise InputError("calipers", "have no length", "move one of their ends")
    return (x0, y0, x1, y1), (x2, y2, x3, y3)


def _lesion_of(calipers: Calipers, lesions: Sequence[Lesion]) -> int | None:
    """The place of the lesion on which calipers lie; of those that count, only if it is still nearly the same."""
    is_on = _are_near if calipers.is_old else _are_alike
    on = [place for place, lesion in enumerate(lesions) if is_on(calipers, lesion)]
    shared = [_shared(calipers.box, lesions[place].box) for place in on]
    return on[shared.index(max(shared))] if on else None


def _are_alike(calipers: Calipers, lesion: Lesion) -> bool:
    shared = _shared(calipers.box, lesion.box)
    both = _area(calipers.box) + _area(lesion.box) - shared
    # Of a slanting lesion half can go, or come, without any change of its box.
    fewer, more = sorted((calipers.pixels, lesion.pixels))
    return shared >= _ALIKE * both and fewer >= _ALIKE * more


def _are_near(calipers: Calipers, lesion: Lesion) -> bool:
    """Whether one has at least half of its box in that of the other: a part of it, or it with more around."""
    smaller = min(_area(calipers.box), _area(lesion.box))
    return 2 * _shared(calipers.box, lesion.box) >= smaller


def _shared(one: Box, other: Box) -> int:
    """Pixels in both boxes."""
    left, top, width, height = one
    x, y, wide, high = other
    across = min(left + width, x + wide) - max(left, x)
    down = min(top + height, y + high) - max(top, y)
    return max(0, across) * max(0, down)


def _area(box: Box) -> int:
    return box[2] * box[3]
