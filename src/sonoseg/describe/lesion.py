"""A measured lesion that can be described: its image and mask are kept until they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import Lesion, connected_runs
from sonoseg.describe.descriptors import Descriptors, find_descriptors
from sonoseg.describe.features import Features, measure_features
from sonoseg.describe.malignancy import Malignancy
from sonoseg.describe.malignancy_head import Judge
from sonoseg.describe.questions import fitted


@dataclass(frozen=True, kw_only=True)
class DescribedLesion(Lesion):
    """One connected part of the mask of an image; see `Lesion`.

    Attributes:
        image: (H, W) uint8, gray.
        mask: (H, W) bool, all lesions of the image.
        origin: where the top left pixel of image and mask lies in the coordinates of the lesion, (x, y).
        judge: of the image; None if the network has no malignancy head.
        stretch: height of a pixel by its width, if the spacing is not known.
    """

    image: NDArray[np.uint8] = field(repr=False, compare=False)
    mask: NDArray[np.bool_] = field(repr=False, compare=False)
    origin: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)
    judge: Judge | None = field(default=None, repr=False, compare=False)
    stretch: float = field(default=1.0, repr=False, compare=False)

    @cached_property
    def part(self) -> NDArray[np.bool_]:
        """(H, W) bool, this lesion alone."""
        x, y = self.box[0] - self.origin[0], self.box[1] - self.origin[1]
        width, height = self.box[2:]
        box = slice(y, y + height), slice(x, x + width)
        own = self.mask[box]
        if np.count_nonzero(own) != self.pixels:  # another lesion reaches into the box
            own = _part_of_size(own, self.pixels)
        part = np.zeros(self.mask.shape, np.bool_)
        part[box] = own
        return part

    @cached_property
    def features(self) -> Features:
        """Measured numbers of form, gray values and rim; worked out when they are first asked for."""
        # Only the ratio counts; it says nothing about lengths.
        spacing = self.spacing or (self.stretch, 1.0)
        return measure_features(self.image, self.part, spacing)

    @cached_property
    def descriptors(self) -> Descriptors:
        """The probable words of a radiologist; worked out when they are first asked for. Small lesions have none."""
        if math.sqrt(self.pixels / math.pi) < fitted().smallest:
            return Descriptors()
        return find_descriptors(self.features.to_dict())

    @cached_property
    def malignancy(self) -> Malignancy | None:
        """How probable it is that the lesion is malignant, or why this cannot be said; None without a head.

        It is no diagnosis: see docs/malignancy.md.
        """
        if self.judge is None:
            return None
        return self.judge(self.part, self.probability)

    def to_dict(self, described: bool = True) -> dict[str, Any]:
        """For JSON: as `Lesion.to_dict`, with descriptors and malignancy unless they are not wanted."""
        measured = super().to_dict()
        if described:
            measured["descriptors"] = self.descriptors.to_dict()
            if self.malignancy is not None:
                measured["malignancy"] = self.malignancy.to_dict()
        return measured


def describe_lesions(
    lesions: Iterable[Lesion],
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    origin: tuple[int, int] = (0, 0),
    judge: Judge | None = None,
    stretch: float = 1.0,
) -> tuple[DescribedLesion, ...]:
    """The measured lesions of a mask (H, W) with what is needed to describe them.

    Args:
        lesions: all of the mask.
        image: (H, W) uint8, gray.
        mask: (H, W) bool.
        origin: where their top left pixel lies in the coordinates of the lesions, (x, y).
        judge: of the image, if the network has a malignancy head.
        stretch: height of a pixel by its width, if the spacing of the lesions is not known.
    """
    described = []
    for lesion in lesions:
        known = DescribedLesion(
            **vars(lesion),
            image=image,
            mask=mask,
            origin=origin,
            judge=judge,
            stretch=stretch,
        )
        described.append(known)
    return tuple(described)


def _part_of_size(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The connected part of a mask (h, w) that has so many pixels and reaches all four sides."""
    runs = connected_runs(mask)
    height, width = mask.shape
    sizes = np.bincount(runs.label, runs.stop - runs.start)
    for label in np.flatnonzero(sizes == pixels):
        own = runs.label == label
        row, start, stop = runs.row[own], runs.start[own], runs.stop[own]
        if (row.min(), row.max(), start.min(), stop.max()) == (0, height - 1, 0, width):
            part = np.zeros_like(mask)
            part[mask] = np.repeat(own, runs.stop - runs.start)
            return part
    raise ValueError(f"the mask has no part of {pixels} pixels")
