"""The lesions of a DICOM file, frame by frame, followed through a loop and measured in mm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import Diameter, connected_runs
from sonoseg.dicom.regions import Spacing

if TYPE_CHECKING:
    from sonoseg.dicom.read import View

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]


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
    """

    frame: int
    segment: int
    part: Mask
    corner: tuple[int, int]
    shape: tuple[int, int]
    spacing: Spacing | None

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
        """The longest diameter, and the longest line at right angles to it, with ends in pixels of the frame.

        Right angles and lengths are those in mm, if the spacing is known: rows and columns may differ.
        """
        scale = np.array((self.spacing or (1.0, 1.0))[::-1])
        longest, across = _axes(_hull(_corners(self.part)) * scale)
        return self._in_frame(longest / scale), self._in_frame(across / scale)

    def length(self, diameter: Diameter) -> float:
        """The length of one of the axes in mm, or in pixels if the spacing is not known."""
        row, column = self.spacing or (1.0, 1.0)
        (x1, y1), (x2, y2) = diameter.start, diameter.end
        return math.hypot((x2 - x1) * column, (y2 - y1) * row)

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

    def _in_frame(self, ends: Points) -> Diameter:
        moved = ends + np.array(self.corner)
        (x1, y1), (x2, y2) = moved.tolist()
        return Diameter((x1, y1), (x2, y2))


class Tracker:
    """Gives each lesion of a loop its number: that of the lesion of an earlier frame that it overlaps most."""

    def __init__(self) -> None:
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
            outline = Outline(view.frame, number, part, place, view.shape, view.region.spacing)
            outlines.append(outline)
        for outline in outlines:
            self._last[outline.segment] = outline
        return outlines

    def _number(self, outline: Outline, taken: set[int]) -> int:
        best, most = 0, 0
        for number, last in self._last.items():
            if number in taken or last.frame == outline.frame:
                continue
            shared = outline.shared_pixels(last)
            if shared > most:
                best, most = number, shared
        return best or 1 + max([0, *self._last, *taken])


def _parts(mask: Mask) -> Iterator[tuple[Mask, tuple[int, int]]]:
    """The 8-connected parts of a mask, largest first, each with its top left corner (x, y)."""
    runs = connected_runs(mask)
    if not len(runs.row):
        return
    labels = np.zeros(mask.shape, np.int64)
    labels[mask] = np.repeat(runs.label + 1, runs.stop - runs.start)
    areas = np.bincount(runs.label, runs.stop - runs.start)
    for label in np.argsort(-areas, kind="stable"):
        own = runs.label == label
        top, bottom = int(runs.row[own].min()), int(runs.row[own].max()) + 1
        left, right = int(runs.start[own].min()), int(runs.stop[own].max())
        yield labels[top:bottom, left:right] == label + 1, (left, top)


def _corners(part: Mask) -> Points:
    """The corners (K, 2) of the first and last pixel of each row, as (x, y)."""
    rows = np.flatnonzero(part.any(axis=1))
    first = part.argmax(axis=1)[rows]
    last = part.shape[1] - part[:, ::-1].argmax(axis=1)[rows]
    x = np.concatenate([first, first, last, last])
    y = np.concatenate([rows, rows + 1, rows, rows + 1])
    points = np.stack([x, y], axis=1).astype(np.float64)
    return points[np.lexsort((x, y))]


def _hull(points: Points) -> Points:
    """The convex hull (V, 2) of points that are sorted by y, then x: Andrew's monotone chain.

    It begins at the top left and goes down the left side, as in `sonoseg.core.measure`: of several longest diameters
    both take the same.
    """
    left = _chain(points)
    right = _chain(points[::-1])
    return np.array(left[:-1] + right[:-1])


def _chain(points: Points) -> list[Points]:
    chain: list[Points] = []
    for point in points:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-1] - chain[-2], point - chain[-2]
            if ax * by - ay * bx < 0:
                break
            chain.pop()
        chain.append(point)
    return chain


def _axes(hull: Points) -> tuple[Points, Points]:
    """Ends (2, 2) of the longest diameter of a convex polygon, and of the longest line at right angles to it."""
    distances = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    first, second = np.unravel_index(int(np.argmax(distances)), distances.shape)
    start, end = hull[first], hull[second]
    along = (end - start) / np.linalg.norm(end - start)
    normal = np.array([-along[1], along[0]])
    place = (hull - start) @ along
    # The width of a convex polygon is greatest above one of its vertices.
    widest = (np.zeros(2), np.zeros(2))
    for u in place:
        crossed = _crossings(hull, start, along, normal, float(u))
        if crossed[1] - crossed[0] > np.linalg.norm(widest[1] - widest[0]):
            foot = start + u * along
            widest = foot + crossed[0] * normal, foot + crossed[1] * normal
    return np.stack([start, end]), np.stack(widest)


def _crossings(
    hull: Points, start: Points, along: Points, normal: Points, u: float
) -> tuple[float, float]:
    """How far the line across at `u` reaches on both sides of the longest diameter."""
    places, heights = (hull - start) @ along, (hull - start) @ normal
    following, next_heights = np.roll(places, -1), np.roll(heights, -1)
    low, high = np.minimum(places, following), np.maximum(places, following)
    crossed = (low <= u) & (u <= high) & (high > low)
    if not crossed.any():
        return 0.0, 0.0
    share = (u - places[crossed]) / (following - places)[crossed]
    at = heights[crossed] + share * (next_heights - heights)[crossed]
    return float(at.min()), float(at.max())
