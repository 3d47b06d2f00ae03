"""What a segmentation gives: image, probability, mask and measured lesions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import Lesion, find_lesions
from sonoseg.core.resize import bounds, enlarge


@dataclass(frozen=True)
class SegmentationResult:
    """One segmented image.

    Attributes:
        image: (H, W) uint8, as it was read.
        network_map: (h, w) float32 in 0..1, the same as `probability` at the size of the network's input.
        mask: (H, W) bool, the lesions.
        spacing: mm per pixel, None when it is not known.
        model: name of the network.
        unfamiliarity: how unlike the network's training images this one is, from 0; over 1 it is no image that the
            network knows, such as a photo, a page of text or a CT. None if the network does not tell.
        reading: why the pixels of the image may be wrong, see `sonoseg.core.image.Image`.
        heat_map: (h, w) float32 in 0..1, the same as `heat` at the size of the network's input; None if it was not
            asked for.
    """

    image: NDArray[np.uint8]
    network_map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    spacing: float | None
    model: str
    unfamiliarity: float | None = None
    reading: tuple[str, ...] = ()
    heat_map: NDArray[np.float32] | None = None

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in 0..1, that a pixel belongs to a lesion; worked out when it is first asked for."""
        return enlarge(self.network_map, self.mask.shape)

    @property
    def heat(self) -> NDArray[np.float32] | None:
        """(H, W) float32 in 0..1, where the network looked (see `Segmenter.explain`); None if it was not asked for."""
        return (
            None
            if self.heat_map is None
            else np.clip(enlarge(self.heat_map, self.mask.shape), 0, 1)
        )

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """The connected parts of the mask, largest first; measured when they are first asked for."""
        box = bounds(self.mask)
        near = enlarge(self.network_map, self.mask.shape, box)
        return find_lesions(self.mask[box], near, (box[1].start, box[0].start))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why this result should not be trusted, in words; empty if nothing speaks against it."""
        if self.unfamiliarity is None or self.unfamiliarity <= 1:
            return self.reading
        times = f"{self.unfamiliarity:.1f} times the limit"
        return (*self.reading, f"unlike the images that the network was trained on ({times})")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: size, unit ("mm" when the spacing is known, else "px"), spacing and its source, doubts, lesions.

        In mm, areas are mm²; in px they are numbers of pixels (see `Lesion.to_dict`).
        """
        height, width = self.mask.shape
        known = {"mm_per_pixel": self.spacing, "source": "given by the user"}
        return {
            "width": width,
            "height": height,
            "unit": "px" if self.spacing is None else "mm",
            "spacing": None if self.spacing is None else known,
            "unfamiliarity": None if self.unfamiliarity is None else round(self.unfamiliarity, 4),
            "doubts": list(self.doubts),
            "lesions": [lesion.to_dict(self.spacing) for lesion in self.lesions],
        }

    def overlay(self, truth: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
        """The overlay picture (H', W', 3) uint8, see `sonoseg.reader.overlay.draw_overlay`."""
        from sonoseg.reader.overlay import draw_overlay

        return draw_overlay(self, truth)
