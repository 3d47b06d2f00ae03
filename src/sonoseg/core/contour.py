"""Outlines of a mask as polygons that run along the edges of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import connected_runs

Ring = list[list[int]]
"""The corners [x, y] of a closed polygon, in pixels; the last one is joined to the first."""
JOINED, APART = (3, 0, 1), (1, 0, 3)
"""What a walk along the edges tries first, in quarter turns to the right. To the left, it goes on around the other one
of two pixels that touch at a corner; to the right, it stays with the same one."""


def lesion_contours(mask: NDArray[np.bool_]) -> list[list[Ring]]:
    """The outline of each 8-connected part of a mask (H, W), in the order of `find_lesions`.

    Returns:
        for each part its rings. Those around the part run clockwise on the screen, those around its holes the other
        way. Filled by the even-odd rule they are exactly the pixels of the part.
    """
    runs = connected_runs(mask)
    areas = np.bincount(runs.label, runs.stop - runs.start)
    contours = []
    for label in np.argsort(-areas, kind="stable"):
        own = runs.label == label
        rows, starts, stops = runs.row[own], runs.start[own], runs.stop[own]
        top, left = int(rows.min()), int(starts.min())
        part = np.zeros((int(rows.max()) + 1 - top, int(stops.max()) - left), bool)
        for row, start, stop in zip(
            rows - top, starts - left, stops - left, strict=True
        ):
            part[row, start:stop] = True
        contours.append(rings_of(part, left, top))
    return contours


def rings_of(
    part: NDArray[np.bool_],
    left: int = 0,
    top: int = 0,
    turns: tuple[int, int, int] = JOINED,
) -> list[Ring]:
    """The rings of a part; see `lesion_contours`.

    Args:
        part: (h, w).
        left, top: where its top left pixel lies in the image.
        turns: `JOINED` or `APART`, for pixels that touch at a corner only.
    """
    stride = part.shape[1] + 1
    moves = (1, stride, -1, -stride)
    edges = _edges(part, stride)
    left_over = edges.copy()
    rings = []
    while left_over:
        first = edge = next(iter(left_over))
        corners = []
        previous = -1
        while edge in left_over:
            del left_over[edge]
            place, direction = divmod(edge, 4)
            if direction != previous:
                corners.append([place % stride + left, place // stride + top])
            place += moves[direction]
            for turn in turns:
                edge = 4 * place + (direction + turn) % 4
                if edge in edges:
                    break
            previous = direction
        if previous == first % 4:
            del corners[0]  # the walk began in the middle of a side
        rings.append(corners)
    return rings


def _edges(part: NDArray[np.bool_], stride: int) -> dict[int, None]:
    """The edges of pixels: 4 times the corner where one begins, plus its direction. The part lies on its right hand."""
    padded = np.pad(part, 1)
    inside = padded[1:-1, 1:-1]
    neighbours = (
        padded[:-2, 1:-1],
        padded[1:-1, 2:],
        padded[2:, 1:-1],
        padded[1:-1, :-2],
    )
    begin = (0, 1, stride + 1, stride)
    edges: dict[int, None] = {}  # a set that keeps the order
    for direction, neighbour in enumerate(neighbours):
        rows, columns = np.nonzero(inside & ~neighbour)
        corners = rows * stride + columns + begin[direction]
        edges |= dict.fromkeys((4 * corners + direction).tolist())
    return edges
