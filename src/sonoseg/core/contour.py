"""Outlines of a mask as polygons that run along the edges of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import connected_runs

Ring = list[list[int]]
"""The corners [x, y] of a closed polygon, in pixels; the last one is joined to the first."""


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


def rings_of(part: NDArray[np.bool_], left: int = 0, top: int = 0) -> list[Ring]:
    """The rings of a part (h, w) whose top left pixel is (left, top) in the image; see `lesion_contours`."""
    stride = part.shape[1] + 1
    leaving = _edges(part, stride)
    moves = (1, stride, -1, -stride)
    rings = []
    while leaving:
        start, directions = next(iter(leaving.items()))
        place, direction = start, directions[0]
        corners = []
        previous = -1
        while True:
            choices = leaving.get(place)
            if choices is None:
                break
            direction = _next_direction(choices, previous)
            choices.remove(direction)
            if not choices:
                del leaving[place]
            if direction != previous:
                corners.append([place % stride + left, place // stride + top])
            place += moves[direction]
            previous = direction
        if len(corners) > 1 and _is_straight(corners[-1], corners[0], corners[1]):
            del corners[0]  # the walk began in the middle of a side
        rings.append(corners)
    return rings


def _next_direction(choices: list[int], previous: int) -> int:
    """Where two pixels touch at a corner the walk turns left, and so goes on around the other pixel."""
    if len(choices) == 1 or previous < 0:
        return choices[0]
    left_turn = (previous + 3) % 4
    return left_turn if left_turn in choices else choices[0]


def _is_straight(before: list[int], at: list[int], after: list[int]) -> bool:
    return before[0] == at[0] == after[0] or before[1] == at[1] == after[1]


def _edges(part: NDArray[np.bool_], stride: int) -> dict[int, list[int]]:
    """The directions in which edges leave each corner of pixels; the part lies on their right hand."""
    padded = np.pad(part, 1)
    inside = padded[1:-1, 1:-1]
    neighbours = (
        padded[:-2, 1:-1],
        padded[1:-1, 2:],
        padded[2:, 1:-1],
        padded[1:-1, :-2],
    )
    begin = (0, 1, stride + 1, stride)
    leaving: dict[int, list[int]] = {}
    for direction, neighbour in enumerate(neighbours):
        rows, columns = np.nonzero(inside & ~neighbour)
        corners = rows * stride + columns + begin[direction]
        for corner in corners.tolist():
            leaving.setdefault(corner, []).append(direction)
    return leaving
