"""Lesions in a mask: its connected parts, their areas and the two diameters a sonographer would measure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""(x, y) in pixels: x runs right, y down, from the image's top left corner."""
Spacing = tuple[float, float]
"""mm between the centres of neighbouring (rows, columns)."""
_ROUNDING = 1e-12
"""Relative difference up to which two squared lengths are equal."""


@dataclass(frozen=True)
class Diameter:
    """A straight line across a lesion. Corners of pixels are counted, so one pixel is 1 wide.

    Attributes:
        start, end: its ends, in pixels.
        spacing: of the image, (row, column) in mm; None if it is not known.
    """

    start: Point
    end: Point
    spacing: Spacing | None = None

    @property
    def length(self) -> float:
        """In mm if the spacing is known, otherwise in pixels, which are then taken as square."""
        row, column = self.spacing or (1.0, 1.0)
        across, down = self.end[0] - self.start[0], self.end[1] - self.start[1]
        return math.hypot(across, down * (row / column)) * column


@dataclass(frozen=True)
class Lesion:
    """One connected part of a mask. Places are in pixels; area and diameters are in mm if the spacing is known.

    Attributes:
        pixels: how many pixels it has.
        box: the smallest upright rectangle around it, in pixels: x, y, width, height.
        centre: its centroid.
        longest: the longest diameter: the two points of its outline that are farthest apart (maximum Feret).
        across: the longest line perpendicular to `longest` inside the convex hull; it may leave a lesion with a dent.
            If several diameters are the longest, `longest` is the one with the longest line across.
        probability: the mean of the network's probability over its pixels, 0..1.
        spacing: of the image, (row, column) in mm; None if it is not known.
    """

    pixels: int
    box: tuple[int, int, int, int]
    centre: Point
    longest: Diameter
    across: Diameter
    probability: float
    spacing: Spacing | None = None

    @property
    def area(self) -> float:
        """In mm² if the spacing is known, otherwise the number of pixels."""
        if self.spacing is None:
            return self.pixels
        row, column = self.spacing
        return self.pixels * (row * column)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: area and diameters in mm² and mm if the spacing is known, else in pixels; places in pixels."""
        x, y, width, height = self.box
        return {
            "area": round(self.area, 4),
            "longest_diameter": round(self.longest.length, 4),
            "perpendicular_diameter": round(self.across.length, 4),
            "mean_probability": round(self.probability, 4),
            "box": {"x": x, "y": y, "width": width, "height": height},
            "centre": _rounded(self.centre),
            "longest_diameter_ends": [
                _rounded(self.longest.start),
                _rounded(self.longest.end),
            ],
            "perpendicular_diameter_ends": [
                _rounded(self.across.start),
                _rounded(self.across.end),
            ],
        }


class Runs(NamedTuple):
    """The True pixels of a mask as R horizontal runs, in reading order; each field (R,) int64.

    A run lies in `row`, from column `start` to before `stop`, in the connected part `label` (0, 1, ... in the
    order in which the parts first appear).
    """

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    label: NDArray[np.int64]


def connected_runs(mask: NDArray[np.bool_], diagonal: bool = True) -> Runs:
    """Finds the 8-connected parts of a mask (H, W): runs of pixels, joined where they touch; else the 4-connected."""
    stride = mask.shape[1] + 1
    # A False between any two rows ends each run in its row.
    flat = np.pad(mask, ((0, 1), (1, 0))).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, stops = edges[::2], edges[1::2]
    row = starts // stride
    # Runs of the next row that touch, diagonals included: they stop at or after my start, start by my stop.
    first = np.searchsorted(stops, starts + stride, "left" if diagonal else "right")
    last = np.searchsorted(starts, stops + stride, "right" if diagonal else "left")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)
    lower = first[upper] + offset
    label = join(len(starts), upper, lower)
    return Runs(row, starts - row * stride, stops - row * stride, label)


def join(
    count: int, one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Groups `count` things of which the pairs (one, other) belong together (union-find).

    Args:
        count: N.
        one, other: (P,) int64 in 0..N-1, the two things of each pair.

    Returns:
        (N,) int64, the group of each: 0, 1, ... in the order in which the groups first appear.
    """
    parent = np.arange(count)
    while True:
        root_of_one, root_of_other = parent[one], parent[other]
        if np.array_equal(root_of_one, root_of_other):
            break
        low = np.minimum(root_of_one, root_of_other)
        high = np.maximum(root_of_one, root_of_other)
        np.minimum.at(parent, high, low)
        while not np.array_equal(parent, root := parent[parent]):
            parent = root
    _, group = np.unique(parent, return_inverse=True)
    return group.astype(np.int64)


def largest_part(mask: NDArray[np.bool_]) -> int:
    """Pixels of the largest 8-connected part of a mask (H, W); 0 if it is empty."""
    runs = connected_runs(mask)
    return int(np.bincount(runs.label, runs.stop - runs.start).max(initial=0))


def drop_small(mask: NDArray[np.bool_], min_area: float) -> NDArray[np.bool_]:
    """The mask (H, W) without its connected parts of under `min_area` pixels."""
    if min_area <= 1:
        return mask
    runs = connected_runs(mask)
    lengths = runs.stop - runs.start
    is_kept = np.bincount(runs.label, lengths) >= min_area
    clean = mask.copy()
    clean[mask] = np.repeat(is_kept[runs.label], lengths)
    return clean


def find_lesions(
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
    corner: tuple[int, int] = (0, 0),
    spacing: Spacing | None = None,
) -> tuple[Lesion, ...]:
    """Measures the connected parts of a mask, the one with the most pixels first.

    Args:
        mask: (H, W) bool.
        probability: (H, W) float32 in 0..1.
        corner: (x, y) of the mask's top left pixel in the image, if it is a part of one; lesions lie in the image.
        spacing: (row, column) in mm; None measures in pixels, taken as square.
    """
    runs = connected_runs(mask)
    lengths = runs.stop - runs.start
    areas = np.bincount(runs.label, lengths)
    first_pixels = np.cumsum(lengths) - lengths
    sums_of_runs = np.add.reduceat(probability[mask], first_pixels, dtype=np.float64)
    sums = np.bincount(runs.label, sums_of_runs)
    x, y = corner
    in_image = Runs(runs.row + y, runs.start + x, runs.stop + x, runs.label)
    by_label = np.argsort(runs.label, kind="stable")
    ends = np.cumsum(np.bincount(runs.label))
    lesions = []
    for label in np.argsort(-areas, kind="stable"):
        first_run = ends[label - 1] if label else 0
        own = by_label[first_run : ends[label]]
        row, start, stop = in_image.row[own], in_image.start[own], in_image.stop[own]
        part = Runs(row, start, stop, runs.label[own])
        mean_probability = float(sums[label] / areas[label])
        lesions.append(_measure(part, mean_probability, spacing))
    return tuple(lesions)


def _measure(part: Runs, probability: float, spacing: Spacing | None) -> Lesion:
    row, start, stop, _ = part
    lengths = stop - start
    pixels = int(lengths.sum())
    x, y = int(start.min()), int(row.min())
    middle = (start + stop) / 2
    centre_x = float((middle * lengths).sum() / pixels)
    centre_y = float(((row + 0.5) * lengths).sum() / pixels)
    longest, across = _diameters(convex_hull(part), spacing)
    box = (x, y, int(stop.max()) - x, int(row.max()) + 1 - y)
    return Lesion(
        pixels, box, (centre_x, centre_y), longest, across, probability, spacing
    )


def convex_hull(part: Runs) -> NDArray[np.float64]:
    """The convex hull (V, 2) of the corners of all pixels of the runs, vertices (x, y) in order around it."""
    row, start, stop, _ = part
    top = int(row.min())
    left = np.full(row.max() + 2 - top, np.iinfo(np.int64).max)
    right = np.full(len(left), -1)
    for edge in (0, 1):  # each pixel row ends at a line of corners above and one below
        np.minimum.at(left, row - top + edge, start)
        np.maximum.at(right, row - top + edge, stop)
    lines = range(top, top + len(left))
    down = _bend(zip(left.tolist(), lines, strict=True), -1)
    up = _bend(zip(right.tolist(), lines, strict=True), 1)
    return np.array(down + up[::-1], np.float64)


def _bend(points: Iterable[tuple[int, int]], side: int) -> list[tuple[int, int]]:
    """Those of `points`, sorted by y, on the hull's left (side -1) or right (1): Andrew's monotone chain."""
    chain: list[tuple[int, int]] = []
    for x, y in points:
        while len(chain) > 1:
            (x1, y1), (x2, y2) = chain[-2:]
            turn = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
            if turn * side > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def _diameters(
    hull: NDArray[np.float64], spacing: Spacing | None
) -> tuple[Diameter, Diameter]:
    """The longest diameter of a convex polygon (V, 2) in pixels, and the longest line across it at right angles.

    Of several longest diameters the one with the longest line across counts, so that mirrored lesions measure alike.
    """
    row, column = spacing or (1.0, 1.0)
    # Right angles and lengths are those of the body: y is stretched until pixels are square.
    square = np.array([1.0, row / column])
    hull = hull * square
    differences = hull[:, None] - hull[None]
    distances = (differences**2).sum(2)
    is_longest = distances >= distances.max() * (1 - _ROUNDING)
    longest = across = hull[[0, 0]]
    widest = -1.0
    for first, second in np.argwhere(np.triu(is_longest)).tolist():
        line = _across(hull, first, second)
        if math.dist(*line) > widest:
            widest = math.dist(*line)
            longest, across = hull[[first, second]], line
    return _diameter(longest / square, spacing), _diameter(across / square, spacing)


def _across(hull: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    """The ends (2, 2) of the longest line in a convex polygon (V, 2) at right angles to that of two vertices."""
    hull = np.roll(hull, -first, axis=0)
    far = second - first
    origin, end = hull[0], hull[far]
    along = (end - origin) / math.dist(origin, end)
    normal = np.array([-along[1], along[0]])
    u, v = (hull - origin) @ along, (hull - origin) @ normal
    # Both sides of the hull lead from one end to the other; their distance is greatest above some vertex.
    one = np.interp(u, u[: far + 1], v[: far + 1])
    back_u, back_v = np.append(u[far:], u[0]), np.append(v[far:], v[0])
    other = np.interp(u, back_u[::-1], back_v[::-1])
    widest = int(np.argmax(np.abs(one - other)))
    foot = origin + u[widest] * along
    return np.stack([foot + one[widest] * normal, foot + other[widest] * normal])


def _diameter(ends: NDArray[np.float64], spacing: Spacing | None) -> Diameter:
    (x, y), (end_x, end_y) = ends.tolist()
    return Diameter((x, y), (end_x, end_y), spacing)


def _rounded(point: Point) -> list[float]:
    return [round(value, 2) for value in point]
