"""Lesions in a mask: its connected parts, their areas and the two diameters a sonographer would measure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]


@dataclass(frozen=True)
class Diameter:
    """A straight line across a lesion, from `start` to `end`: (x, y) in pixels, corners of pixels counted."""

    start: Point
    end: Point

    @property
    def length(self) -> float:
        """In pixels."""
        return math.dist(self.start, self.end)


@dataclass(frozen=True)
class Lesion:
    """One connected part of a mask, in pixels of the image; x runs right, y down, from the top left corner.

    Attributes:
        area: number of pixels.
        box: the smallest upright rectangle around it: x, y, width, height.
        centre: (x, y) of its centroid.
        longest: the longest diameter: the two points of its outline that are farthest apart (maximum Feret).
        across: the longest line perpendicular to `longest` inside the convex hull.
        probability: the mean of the network's probability over its pixels, 0..1.
    """

    area: int
    box: tuple[int, int, int, int]
    centre: Point
    longest: Diameter
    across: Diameter
    probability: float

    def to_dict(self, spacing: float | None = None) -> dict[str, Any]:
        """For JSON: area and diameters in mm² and mm when `spacing` (mm per pixel) is known, else in pixels.

        Places (box, centre, end points) are always in pixels.
        """
        scale = 1 if spacing is None else spacing
        return {
            "area": round(self.area * scale**2, 4),
            "longest_diameter": round(self.longest.length * scale, 4),
            "perpendicular_diameter": round(self.across.length * scale, 4),
            "mean_probability": round(self.probability, 4),
            "box": dict(zip(("x", "y", "width", "height"), self.box, strict=True)),
            "centre": _rounded(self.centre),
            "longest_diameter_ends": [_rounded(self.longest.start), _rounded(self.longest.end)],
            "perpendicular_diameter_ends": [_rounded(self.across.start), _rounded(self.across.end)],
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


def connected_runs(mask: NDArray[np.bool_]) -> Runs:
    """Finds the 8-connected parts of a mask (H, W): runs of pixels, joined by union-find where they touch."""
    stride = mask.shape[1] + 1
    flat = np.pad(
        mask, ((0, 1), (1, 0))
    ).ravel()  # a False between any two rows ends each run in its row
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, stops = edges[::2], edges[1::2]
    row = starts // stride
    # Runs of the next row that touch, diagonals included: they stop at or after my start, start by my stop.
    first = np.searchsorted(stops, starts + stride, "left")
    last = np.searchsorted(starts, stops + stride, "right")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)
    label = _join(len(starts), upper, first[upper] + offset)
    return Runs(row, starts - row * stride, stops - row * stride, label)


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
    kept = np.bincount(runs.label, lengths) >= min_area
    clean = mask.copy()
    clean[mask] = np.repeat(kept[runs.label], lengths)
    return clean


def find_lesions(
    mask: NDArray[np.bool_], probability: NDArray[np.float32], corner: tuple[int, int] = (0, 0)
) -> tuple[Lesion, ...]:
    """Measures the connected parts of a mask, largest first.

    Args:
        mask: (H, W) bool.
        probability: (H, W) float32 in 0..1.
        corner: (x, y) of the mask's top left pixel in the image, if it is a part of one; lesions lie in the image.
    """
    runs = connected_runs(mask)
    lengths = runs.stop - runs.start
    areas = np.bincount(runs.label, lengths)
    of_runs = np.add.reduceat(probability[mask], np.cumsum(lengths) - lengths, dtype=np.float64)
    sums = np.bincount(runs.label, of_runs)
    (x, y), (row, start, stop, _) = corner, runs
    runs = runs._replace(row=row + y, start=start + x, stop=stop + x)
    order = np.argsort(runs.label, kind="stable")
    last = np.cumsum(np.bincount(runs.label))
    lesions = []
    for label in sorted(range(len(areas)), key=lambda label: -areas[label]):
        part = order[last[label - 1] if label else 0 : last[label]]
        lesions.append(
            _measure(Runs(*(column[part] for column in runs)), sums[label] / areas[label])
        )
    return tuple(lesions)


def _join(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels 0, 1, ... of `count` things of which the pairs (one, other) belong together."""
    parent = np.arange(count)
    while True:
        a, b = parent[one], parent[other]
        if np.array_equal(a, b):
            break
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(parent, root := parent[parent]):
            parent = root
    return np.unique(parent, return_inverse=True)[1].astype(np.int64)


def _measure(part: Runs, probability: float) -> Lesion:
    row, start, stop, _ = part
    lengths = stop - start
    area = int(lengths.sum())
    x, y = int(start.min()), int(row.min())
    centre = (
        float(((start + stop) / 2 * lengths).sum() / area),
        float(((row + 0.5) * lengths).sum() / area),
    )
    longest, across = _diameters(_hull(part))
    box = (x, y, int(stop.max()) - x, int(row.max()) + 1 - y)
    return Lesion(area, box, centre, longest, across, float(probability))


def _hull(part: Runs) -> NDArray[np.float64]:
    """The convex hull (V, 2) of the corners of all pixels of the runs, vertices (x, y) in order around it."""
    row, start, stop, _ = part
    top = int(row.min())
    left = np.full(row.max() + 2 - top, np.iinfo(np.int64).max)
    right = np.full(len(left), -1)
    for edge in (0, 1):  # each pixel row ends at a line of corners above and one below
        np.minimum.at(left, row - top + edge, start)
        np.maximum.at(right, row - top + edge, stop)
    lines = range(top, top + len(left))
    down = _bend(list(zip(left.tolist(), lines, strict=True)), -1)
    up = _bend(list(zip(right.tolist(), lines, strict=True)), 1)
    return np.array(down + up[::-1], np.float64)


def _bend(points: list[tuple[int, int]], side: int) -> list[tuple[int, int]]:
    """Those of `points`, sorted by y, on the hull's left (side -1) or right (1): Andrew's monotone chain."""
    chain: list[tuple[int, int]] = []
    for x, y in points:
        while len(chain) > 1:
            (x1, y1), (x2, y2) = chain[-2:]
            if ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)) * side > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def _diameters(hull: NDArray[np.float64]) -> tuple[Diameter, Diameter]:
    """The longest diameter of a convex polygon (V, 2), and the longest line across it at right angles."""
    distances = ((hull[:, None] - hull[None]) ** 2).sum(2)
    first, second = np.unravel_index(np.argmax(distances), distances.shape)
    hull = np.roll(hull, -int(first), axis=0)
    far = int(second - first) % len(hull)
    origin, end = hull[0], hull[far]
    along = (end - origin) / math.dist(origin, end)
    normal = np.array([-along[1], along[0]])
    u, v = (hull - origin) @ along, (hull - origin) @ normal
    # Both sides of the hull lead from one end to the other; their distance is greatest above some vertex.
    one = np.interp(u, u[: far + 1], v[: far + 1])
    other = np.interp(u, np.append(u[far:], u[0])[::-1], np.append(v[far:], v[0])[::-1])
    widest = int(np.argmax(np.abs(one - other)))
    foot = origin + u[widest] * along
    across = Diameter(_point(foot + one[widest] * normal), _point(foot + other[widest] * normal))
    return Diameter(_point(origin), _point(end)), across


def _point(xy: NDArray[np.float64]) -> Point:
    return float(xy[0]), float(xy[1])


def _rounded(point: Point) -> list[float]:
    return [round(value, 2) for value in point]
