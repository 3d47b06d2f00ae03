"""What the reader returns for one image: probability, mask and measured lesions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import Image
from sonoseg.core.measure import Spacing, find_lesions
from sonoseg.core.resize import bounds, enlarge
from sonoseg.describe.lesion import DescribedLesion, describe_lesions
from sonoseg.describe.malignancy_head import Judge


@dataclass(frozen=True)
class SegmentationResult:
    """One segmented image of H × W pixels.

    Attributes:
        record: the image as it was read, with its spacing, source and doubts.
        network_map: (h, w) float32 in 0..1, the same as `probability` at the size of the network's input.
        mask: (H, W) bool, the lesions.
        model: name of the network.
        unfamiliarity: how unlike the network's training images this one is, from 0; over 1 the image is of a kind that
            the network does not know, such as a photo, a page of text or a CT. None if the network cannot tell.
        heat_map: (h, w) float32 in 0..1, the same as `heat` at the size of the network's input; None if no
            explanation was asked for.
        judge: judges the malignancy of the lesions; None if the network has no head for it.
    """

    record: Image
    network_map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    model: str
    unfamiliarity: float | None = None
    heat_map: NDArray[np.float32] | None = None
    judge: Judge | None = field(default=None, repr=False)

    @property
    def image(self) -> NDArray[np.uint8]:
        """The gray values of the image, (H, W) uint8."""
        return self.record.pixels

    @property
    def spacing(self) -> Spacing | None:
        """mm between the centres of neighbouring (rows, columns); None if it is not known."""
        return self.record.spacing

    @property
    def unit(self) -> str:
        """Of lengths: "mm" if the spacing is known, otherwise "px"; areas are in mm², or numbers of pixels."""
        return "px" if self.record.spacing is None else "mm"

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in 0..1, that a pixel belongs to a lesion; worked out when it is first asked for."""
        return enlarge(self.network_map, self.mask.shape)

    @property
    def heat(self) -> NDArray[np.float32] | None:
        """(H, W) float32 in 0..1, where the network looked (see `Segmenter.explain`); None if not asked for."""
        if self.heat_map is None:
            return None
        heat = enlarge(self.heat_map, self.mask.shape)
        return np.clip(heat, 0, 1)

    @cached_property
    def lesions(self) -> tuple[DescribedLesion, ...]:
        """The connected parts of the mask, largest first; measured when they are first asked for."""
        return measure_lesions(self.mask, self.network_map, self.record, self.judge)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why this result should not be trusted, in words; empty if nothing speaks against it."""
        doubts = self.record.doubts
        if self.unfamiliarity is None or self.unfamiliarity <= 1:
            return doubts
        # Rounded up: 1.00 would say that the limit is kept.
        times = f"{math.ceil(self.unfamiliarity * 100) / 100:.2f} times the limit"
        return (*doubts, f"unlike the images that the network was trained on ({times})")

    def to_dict(self, described: bool = True) -> dict[str, Any]:
        """For JSON: size, unit, spacing [row, column] and its source, doubts, lesions (see `DescribedLesion.to_dict`).

        Args:
            described: whether the lesions have their descriptors and malignancy, which take a few milliseconds each.
        """
        height, width = self.mask.shape
        spacing = None
        if self.spacing is not None:
            spacing = {
                "mm_per_pixel": list(self.spacing),
                "source": self.record.spacing_source,
            }
        return {
            "width": width,
            "height": height,
            "unit": self.unit,
            "spacing": spacing,
            "unfamiliarity": None
            if self.unfamiliarity is None
            else round(self.unfamiliarity, 4),
            "doubts": list(self.doubts),
            "lesions": [lesion.to_dict(described) for lesion in self.lesions],
        }

    def overlay(
        self, truth: NDArray[np.bool_] | None = None, malignancy: bool = False
    ) -> NDArray[np.uint8]:
        """The overlay picture (H', W', 3) uint8, see `sonoseg.reader.overlay.draw_overlay`."""
        from sonoseg.reader.overlay import draw_overlay

        return draw_overlay(self, truth, malignancy)


def measure_lesions(
    mask: NDArray[np.bool_],
    network_map: NDArray[np.float32],
    record: Image,
    judge: Judge | None = None,
) -> tuple[DescribedLesion, ...]:
    """Measures the connected parts of a mask, the largest first.

    Args:
        mask: (H, W) bool, also one that a reader has drawn.
        network_map: (h, w) float32 in 0..1, see `SegmentationResult`.
        record: the image, (H, W); without a spacing lengths are in pixels.
        judge: of the image, if the network has a malignancy head.
    """
    rows, columns = box = bounds(mask)
    probability = enlarge(network_map, mask.shape, box)
    corner = columns.start, rows.start
    found = find_lesions(mask[box], probability, corner, record.spacing)
    return describe_lesions(
        found, record.pixels, mask, judge=judge, stretch=record.stretch
    )
