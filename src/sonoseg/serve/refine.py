"""What a client of POST /api/refine corrects: a mask to begin with, points, and a box."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.mask import read_mask
from sonoseg.errors import InputError
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve import grow
from sonoseg.serve.answer import read_upload
from sonoseg.serve.edits import check_box
from sonoseg.serve.limits import Limits

Mask = NDArray[np.bool_]
Points = tuple[tuple[int, int], ...]
_MOST_POINTS = 50
_POINT = re.compile(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*")
_BOX = re.compile(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})")


@dataclass(frozen=True)
class Corrections:
    """Corrections of one image; places are pixels (x, y) of the whole image, or of the whole frame of DICOM.

    Attributes:
        begin: (H, W) bool, the mask to begin with; None begins with the network's own.
        added: points where a lesion is missing.
        removed: points whose part of the mask is no lesion.
        box: (left, top, width, height) around a missing lesion; None if there is none.
    """

    begin: Mask | None = None
    added: Points = ()
    removed: Points = ()
    box: grow.Box | None = None

    def check(self, shape: tuple[int, int]) -> None:
        """Raises InputError if something does not fit an image of `shape` (H, W)."""
        height, width = shape
        if self.begin is not None and self.begin.shape != shape:
            size = f"{self.begin.shape[1]} × {self.begin.shape[0]}"
            problem = f"the mask is {size} pixels, the image {width} × {height}"
            raise InputError("mask", problem, "send a mask of the image's size")
        for name, points in (("add", self.added), ("remove", self.removed)):
            for x, y in points:
                if x >= width or y >= height:
                    problem = f"the point {x},{y} is outside of the image"
                    raise InputError(name, problem, "send a pixel of it")
        if self.box is not None:
            check_box(*self.box, shape)

    def apply(self, result: SegmentationResult, mask: Mask) -> Mask:
        """The corrected mask (h, w): parts are taken away first, then lesions are added.

        Args:
            result: of the image.
            mask: (h, w) bool, the network's own at the threshold that the client wants.
        """
        mask = mask.copy() if self.begin is None else self.begin.copy()
        pixels = result.image
        for x, y in self.removed:
            mask &= ~grow.part_at(mask, y, x)
        for x, y in self.added:
            mask |= grow.grow_at(pixels, result.probability, x, y)
        if self.box is not None:
            mask |= grow.grow_in(pixels, result.probability, self.box)
        return mask

    def cut(self, left: int, top: int, width: int, height: int) -> Corrections:
        """What of the corrections is about a rectangle of the image, with places in that rectangle."""
        begin = self.begin
        if begin is not None:
            begin = begin[top : top + height, left : left + width]

        def inside(points: Points) -> Points:
            moved = [(x - left, y - top) for x, y in points]
            return tuple((x, y) for x, y in moved if 0 <= x < width and 0 <= y < height)

        box = self.box
        if box is not None:
            x, y = box[0] - left, box[1] - top
            is_inside = 0 <= x <= width - box[2] and 0 <= y <= height - box[3]
            box = (x, y, box[2], box[3]) if is_inside else None
        return replace(
            self,
            begin=begin,
            added=inside(self.added),
            removed=inside(self.removed),
            box=box,
        )


def parse_corrections(
    limits: Limits, begin: bytes | None, add: str, remove: str, box: str
) -> Corrections:
    """The corrections in the fields of a request.

    Args:
        limits: on the mask.
        begin: content of the mask's file; None if there is none.
        add, remove: points as x,y;x,y.
        box: as x,y,width,height; "" if there is none.

    Raises:
        InputError: a field cannot be read.
    """
    mask = None if begin is None else _mask(limits, begin)
    added, removed = _points("add", add), _points("remove", remove)
    return Corrections(mask, added, removed, _box(box) if box else None)


def _mask(limits: Limits, content: bytes) -> Mask:
    try:
        read_upload(content, limits)
        return read_mask(content).pixels
    except InputError as error:
        raise InputError("mask", error.problem, error.hint) from error


def _points(name: str, text: str) -> Points:
    points = []
    for word in filter(None, text.split(";")):
        numbers = _POINT.fullmatch(word)
        if numbers is None:
            raise InputError(name, "is not a list of points", "send points as x,y;x,y")
        points.append((int(numbers[1]), int(numbers[2])))
    if len(points) > _MOST_POINTS:
        problem = f"holds {len(points)} points"
        raise InputError(name, problem, f"send at most {_MOST_POINTS}")
    return tuple(points)


def _box(text: str) -> grow.Box:
    numbers = _BOX.fullmatch(text)
    if numbers is None:
        raise InputError("box", "is not x,y,width,height", "send four whole numbers")
    left, top, width, height = map(int, numbers.groups())
    return left, top, width, height
