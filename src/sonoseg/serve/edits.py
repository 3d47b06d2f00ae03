"""What a reader can do to a mask and its calipers, each as a function from what is before to what is after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sonoseg.core.resize import enlarge
from sonoseg.errors import InputError
from sonoseg.reader.card import Card
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve import grow
from sonoseg.serve.answer import mask_at
from sonoseg.serve.bridge import joined
from sonoseg.serve.calipers import after_change, put_down
from sonoseg.serve.history import History
from sonoseg.serve.patch import Mask, difference, from_text
from sonoseg.serve.records import Event

Tool = Literal[
    "brush",
    "eraser",
    "cut",
    "grow",
    "box",
    "delete",
    "join",
    "calipers",
    "threshold",
    "clear",
    "reset",
    "undo",
    "redo",
]
_STROKES = ("brush", "eraser", "cut")
_SMALLEST_BOX = 4


@dataclass(frozen=True)
class Edit:
    """What a reader does to a mask, or to the calipers on it.

    Attributes:
        key: made by the client, different for each edit.
        after: number of the event that the client saw last.
        tool: see `Tool`.
        x, y, width, height: the rectangle that was drawn, or the point that was clicked. Of join, width and height
            lead from a point in one lesion to one in the other, and may be negative. Of calipers, the box of the
            lesion that is measured; without width, the calipers of all lesions are taken away.
        bits: of brush, eraser and cut: the new pixels of the rectangle, see `patch.to_text`.
        threshold: of threshold.
        lines: of calipers: x and y of one end, then of the other, of both; none take the lesion's away.
    """

    key: str
    after: int
    tool: Tool
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    bits: str = ""
    threshold: float = 0.5
    lines: Sequence[Sequence[float]] = ()


def event_of(
    edit: Edit, history: History, result: SegmentationResult, card: Card
) -> Event:
    """An edit of a mask and its calipers, for the journal.

    Args:
        edit: what the reader does.
        history: of the mask, which is not changed.
        result: what the network says of the image.
        card: of the network.

    Raises:
        InputError: the edit does not fit the image, or the calipers are no lines.
        Refused: status 409, the lesion that is measured is not there.
    """
    if edit.tool in ("undo", "redo"):
        return Event(edit.key, edit.tool, edit.tool)
    mask = edited(history.mask, history.start, result, card, edit)
    if edit.tool == "calipers":
        box = (edit.x, edit.y, edit.width, edit.height)
        calipers = put_down(history.calipers, mask, box, edit.lines)
    else:
        calipers = after_change(history.calipers, mask)
    change = difference(history.mask, mask)
    return Event(edit.key, "patch", edit.tool, change, calipers)


def edited(
    mask: Mask, start: Mask, result: SegmentationResult, card: Card, edit: Edit
) -> Mask:
    """The mask after an edit.

    Args:
        mask: (H, W) bool, as it is; not changed.
        start: (H, W) bool, the network's own.
        result: what the network says of the image.
        card: of the network.
        edit: any but undo and redo, which the history does. Calipers change nothing of the mask.

    Raises:
        InputError: the edit does not fit the image.
    """
    if edit.tool == "clear":
        return np.zeros(mask.shape, bool)
    if edit.tool == "reset":
        return start
    if edit.tool == "calipers":
        return mask
    if edit.tool == "threshold":
        return mask_at(result, edit.threshold, card)
    _check_place(edit, mask)
    after = mask.copy()
    if edit.tool == "delete":
        after &= ~grow.part_at(mask, edit.y, edit.x)
    elif edit.tool == "join":
        other = (edit.x + edit.width, edit.y + edit.height)
        after = joined(mask, (edit.x, edit.y), other)
    elif edit.tool in _STROKES:
        rows = slice(edit.y, edit.y + edit.height)
        columns = slice(edit.x, edit.x + edit.width)
        after[rows, columns] = from_text(edit.bits, edit.height, edit.width)
    else:
        after |= _grown(result, edit)
    return after


def check_box(
    left: int, top: int, width: int, height: int, shape: tuple[int, ...]
) -> None:
    """Raises InputError if a box is too small to hold a lesion or reaches out of an image of `shape` (H, W)."""
    is_inside = (
        left >= 0 and top >= 0 and left + width <= shape[1] and top + height <= shape[0]
    )
    if not is_inside or min(width, height) < _SMALLEST_BOX:
        problem = "is smaller than 4 × 4 pixels or reaches out of the image"
        raise InputError("box", problem, "draw it inside the image")


def _grown(result: SegmentationResult, edit: Edit) -> Mask:
    pixels = result.image
    # Not kept: a map of the image's size would stay in memory for each image that was edited.
    probability = enlarge(result.network_map, pixels.shape)
    if edit.tool == "grow":
        return grow.grow_at(pixels, probability, edit.x, edit.y)
    return grow.grow_in(pixels, probability, (edit.x, edit.y, edit.width, edit.height))


def _check_place(edit: Edit, mask: Mask) -> None:
    """Raises InputError if the rectangle, or the point, is not inside the mask (H, W)."""
    if edit.tool == "box":
        check_box(edit.x, edit.y, edit.width, edit.height, mask.shape)
        return
    width, height = (edit.width, edit.height) if edit.tool in _STROKES else (1, 1)
    corners = [(edit.x, edit.y), (edit.x + width - 1, edit.y + height - 1)]
    if edit.tool == "join":
        corners[1] = (edit.x + edit.width, edit.y + edit.height)
    rows, columns = mask.shape
    is_inside = all(0 <= x < columns and 0 <= y < rows for x, y in corners)
    if min(width, height) < 1 or not is_inside:
        raise InputError(edit.tool, "reaches out of the image", "draw inside of it")
