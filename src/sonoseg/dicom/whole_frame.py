"""A result of one B-mode region, seen in the whole frame of the file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import find_lesions
from sonoseg.core.resize import bounds
from sonoseg.describe.lesion import DescribedLesion, describe_lesions
from sonoseg.dicom.read import View
from sonoseg.reader.overlay import draw_frame, draw_overlay
from sonoseg.reader.result import SegmentationResult


@dataclass(frozen=True)
class WholeFrameResult(SegmentationResult):
    """The result of one region; all maps have the size (H, W) of the whole frame.

    Coordinates of lesions are pixels of the frame, lengths are measured as in the region. `image.pixels` is black
    outside the region, and so is the overlay: scanners write the patient's name there.

    Attributes:
        part: the result of the region alone, whose maps have its size.
        view: the frame, and where the region lies in it.
    """

    part: SegmentationResult = field(kw_only=True)
    view: View = field(kw_only=True)

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in 0..1, that a pixel belongs to a lesion; 0 outside the region."""
        return self.view.whole(self.part.probability)

    @property
    def heat(self) -> NDArray[np.float32] | None:
        """(H, W) float32 in 0..1, where the network looked, 0 outside the region; None if not asked for."""
        heat = self.part.heat
        return None if heat is None else self.view.whole(heat)

    @cached_property
    def lesions(self) -> tuple[DescribedLesion, ...]:
        """The connected parts of the mask, largest first."""
        rows, columns = box = bounds(self.mask)
        corner = columns.start, rows.start
        found = find_lesions(
            self.mask[box], self.probability[box], corner, self.record.spacing
        )
        # What is beyond the region is black here, but is no shadow.
        origin = self.view.region.left, self.view.region.top
        return describe_lesions(
            found,
            self.part.image,
            self.part.mask,
            origin,
            self.part.judge,
            self.record.stretch,
        )

    def to_dict(self, described: bool = True) -> dict[str, Any]:
        """As that of any result, with the frame and the region as [left, top, width, height]."""
        region = self.view.region
        box = [region.left, region.top, region.width, region.height]
        return super().to_dict(described) | {"frame": self.view.frame, "region": box}

    def overlay(
        self, truth: NDArray[np.bool_] | None = None, malignancy: bool = False
    ) -> NDArray[np.uint8]:
        """The overlay (H, W, 3) uint8 RGB of the frame's size; with a reference mask or malignancy as of others."""
        if truth is not None or malignancy:
            return draw_overlay(self, truth, malignancy)
        return self.view.whole(draw_frame(self.part))


def in_whole_frame(view: View, part: SegmentationResult) -> WholeFrameResult:
    """The result of a region as one of the whole frame."""
    return WholeFrameResult(
        replace(part.record, pixels=view.whole(part.image)),
        part.network_map,
        view.whole(part.mask),
        part.model,
        part.unfamiliarity,
        part.heat_map,
        part=part,
        view=view,
    )
