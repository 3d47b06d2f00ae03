"""All measured features of one lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import Spacing
from sonoseg.describe.gray import Gray, measure_gray
from sonoseg.describe.patch import cut_patch
from sonoseg.describe.rim import Rim, measure_rim
from sonoseg.describe.shape import Shape, measure_shape


@dataclass(frozen=True)
class Features:
    """Numbers without a unit. None depends on the size of a pixel; some are NaN where the image ends too early."""

    shape: Shape
    gray: Gray
    rim: Rim

    def to_dict(self) -> dict[str, float]:
        """All features by name, such as `shape.solidity`."""
        named = {}
        for part, values in vars(self).items():
            for name, value in vars(values).items():
                named[f"{part}.{name}"] = value
        return named


def measure_features(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], spacing: Spacing | None = None
) -> Features:
    """Measures one lesion.

    Args:
        image: (H, W) uint8, gray; rows run from the skin into depth.
        mask: (H, W) bool, one lesion; of several parts the largest has the outline.
        spacing: mm between neighbouring (rows, columns). Only their ratio counts; None takes square pixels.

    Raises:
        InputError: the mask is empty, or has another size than the image.
    """
    patch = cut_patch(image, mask, spacing)
    return Features(measure_shape(patch), measure_gray(patch), measure_rim(patch))
