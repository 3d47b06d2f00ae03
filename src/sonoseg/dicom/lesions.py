"""The lesions of a DICOM file, frame by frame, followed through a loop and measured in mm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import Diameter, Spacing, connected_runs, find_lesions
from sonoseg.core.resize import bounds
from sonoseg.describe.malignancy import Malignancy

if TYPE_CHECKING:
    from sonoseg.dicom.read import View

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Outline:
    """One lesion on one frame.

    Attributes:
        frame: number of the frame, from 1.
        segment: number of the lesion, from 1; the same on every frame on which it was followed.
        part: (h, w) bool, the lesion in the rectangle around it.
        corner: (x, y) of that rectangle in the whole frame.
        shape: (H, W) of the whole frame.
        spacing: mm between neighbouring (rows, columns); None if it is not known.
        drawn: the two axes that a person put down, the long one first; None measures the outline.
        malignancy: how probable it is that the lesion is malignant; None if the network does not say.
        chosen: the words that a person chose for it, by the name of their descriptor, such as "shape": "oval".
    """

    frame: int
    segment: int
    part: Mask
    corner: tuple[int, int]
    shape: tuple[int, int]
    spacing: Spacing | None
    drawn: tuple[Diameter, Diameter] | None = None
    malignancy: Malignancy | None = None
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def mask(self) -> Mask:
        """(H, W) bool, the lesion in the whole frame."""
        whole = np.zeros(self.shape, np.bool_)
        whole[self._rows, self._columns] = self.part
        return whole

    @property
    def area(self) -> float:
        """In mm², or in pixels if the spacing is not known."""
        row, column = self.spacing or (1.0, 1.0)
        return float(np.count_nonzero(self.part)) * row * column

    def axes(self) -> tuple[Diameter, Diameter]:
        """The longest diameter, and the longest line at right angles to it; ends in pixels of the frame.

        Lengths and right angles are those in mm, if the spacing is known. Those that a person drew come first.
        """
        if self.drawn is not None:
            return self.drawn
        probability = self.part.astype(np.float32)
        (lesion,) = find_lesions(self.part, probability, self.corner, self.spacing)
        return lesion.longest, lesion.across

    def shared_pixels(self, other: Outline) -> int:
        """How many pixels the two outlines have in common, whatever their frames."""
        left, top = np.maximum(self.corner, other.corner)
        right, bottom = np.minimum(self._end, other._end)
        if left >= right or top >= bottom:
            return 0
        mine, its = (one._cut(left, top, right, bottom) for one in (self, other))
        return int(np.count_nonzero(mine & its))

    @property
    def _rows(self) -> slice:
        return slice(self.corner[1], self._end[1])

    @property
    def _columns(self) -> slice:
        return slice(self.corner[0], self._end[0])

    @property
    def _end(self) -> tuple[int, int]:
        return self.corner[0] + self.part.shape[1], self.corner[1] + self.part.shape[0]

    def _cut(self, left: int, top: int, right: int, bottom: int) -> Mask:
        x, y = self.corner
        return self.part[top - y : bottom - y, left - x : right - x]


class Tracker:
    """Gives each lesion of a loop its number: that of the lesion of an earlier frame that it overlaps most.

    Args:
        most_apart: how many frames back the earlier lesion may lie; None for any. In a sweep the probe moves, so the
            place on the screen soon says nothing.
    """

    def __init__(self, most_apart: int | None = None) -> None:
        self._most_apart = most_apart
        self._last: dict[int, Outline] = {}

    def follow(self, view: View, mask: Mask) -> list[Outline]:
        """The lesions of one view, largest first.

        Args:
            view: the region of the frame; frames come in their order.
            mask: (h, w) bool, of the region's size.
        """
        outlines = []
        taken: set[int] = set()
        for part, corner in _parts(mask):
            place = corner[0] + view.region.left, corner[1] + view.region.top
            found = Outline(view.frame, 0, part, place, view.shape, view.region.spacing)
            number = self._number(found, taken)
            taken.add(number)
            outline = Outline(
                view.frame, number, part, place, view.shape, view.region.spacing
            )
            outlines.append(outline)
        for outline in outlines:
            self._last[outline.segment] = outline
        return outlines

    def _number(self, outline: Outline, taken: set[int]) -> int:
        best, most = 0, 0
        for number, last in self._last.items():
            apart = outline.frame - last.frame
            if number in taken or apart == 0:
                continue
            if self._most_apart is not None and apart > self._most_apart:
                continue
            shared = outline.shared_pixels(last)
            if shared > most:
                best, most = number, shared
        return best or 1 + max([0, *self._last, *taken])


def _parts(mask: Mask) -> Iterator[tuple[Mask, tuple[int, int]]]:
    """The 8-connected parts of a mask, largest first, each with its top left corner (x, y)."""
    rows, columns = box = bounds(mask)
    part = mask[box]
    runs = connected_runs(part)
    if not len(runs.row):
        return
    labels = np.zeros(part.shape, np.int64)
    labels[part] = np.repeat(runs.label + 1, runs.stop - runs.start)
    areas = np.bincount(runs.label, runs.stop - runs.start)
    for label in np.argsort(-areas, kind="stable"):
        own = runs.label == label
        top, bottom = int(runs.row[own].min()), int(runs.row[own].max()) + 1
        left, right = int(runs.start[own].min()), int(runs.stop[own].max())
        corner = int(columns.start) + left, int(rows.start) + top
        yield labels[top:bottom, left:right] == label + 1, corner
