"""How probable it is that an outlined lesion is malignant: a number with its interval, or "cannot say".

This module has the answer, and the features of a lesion: means of the network's own maps over the lesion, its rim and
the tissue behind it. `malignancy_head` makes the answer of them. docs/malignancy.md says what the number means. It is
no diagnosis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Vector = NDArray[np.float32]

CELLS = 4
"""Cells of the region grid on each side of a place of the coarsest map."""
RIM = 0.047
"""Width of the rim on either side of the outline, as a share of the image's side."""


@dataclass(frozen=True)
class Malignancy:
    """What the head says of one lesion.

    Attributes:
        probability: calibrated, that the lesion is malignant in data like the training data; 0 to 1.
        low, high: ends of its 95 % interval over heads that were fitted to resampled patients. It says how much the
            number depends on the patients in the training data, and nothing about other reasons to be wrong.
        withheld: why the number must not be used ("cannot say"), in words; None if nothing speaks against it.
    """

    probability: float
    low: float
    high: float
    withheld: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON. The numbers are null where the answer is withheld."""
        if self.withheld is not None:
            return {"probability": None, "interval": None, "withheld": self.withheld}
        interval = [round(self.low, 4), round(self.high, 4)]
        return {
            "probability": round(self.probability, 4),
            "interval": interval,
            "withheld": None,
        }


def regions(mask: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """The lesion, its rim and the tissue behind it, as shares of the cells of a grid.

    Args:
        mask: (H, W), one lesion.
        side: of the grid.

    Returns:
        (3, side, side), 0 to 1. The rim lies on both sides of the outline. The tissue behind is as wide as the lesion,
        and as deep as the lesion is high.
    """
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    small = picture.resize((side, side), Image.Resampling.BOX)
    lesion: NDArray[np.float32] = np.asarray(small, np.float32) / np.float32(255)
    width = max(1, round(RIM * side))
    rim = _grown(lesion, width) - (1 - _grown(1 - lesion, width))
    behind = np.zeros_like(lesion)
    core = lesion >= min(0.5, lesion.max())
    rows = np.arange(side)[:, None]
    lowest = np.where(core, rows, -1).max(0)
    bottom, top = lowest.max(), int(np.flatnonzero(core.any(1))[0])
    height = max(int(bottom) - top, CELLS)
    behind[(rows > lowest) & (rows <= lowest + height) & (lowest >= 0)] = 1
    return np.stack([lesion, rim, behind])


def _grown(share: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Each cell takes the largest value among its four neighbours, `width` times."""
    for _ in range(width):
        wide = np.pad(share, 1)
        across = np.maximum(wide[1:-1, :-2], wide[1:-1, 2:])
        down = np.maximum(wide[:-2, 1:-1], wide[2:, 1:-1])
        share = np.maximum(share, np.maximum(across, down))
    return share


def pool_maps(
    maps: Sequence[NDArray[np.float32]], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The mean of each channel over the lesion, its rim and the tissue behind it.

    Args:
        maps: of the encoder, each (C, h, w), of any sizes that divide each other.
        mask: (H, W), one lesion of the same image.

    Returns:
        (D,), map by map, in each the three regions one after the other. 0 where a region is outside the image.
    """
    coarsest = min(values.shape[1] for values in maps)
    finest = regions(mask, CELLS * coarsest)
    pooled = []
    for values in maps:
        channels, side = values.shape[0], values.shape[1]
        step = finest.shape[1] // side
        cells = finest.reshape(3, side, step, side, step).mean((2, 4)).reshape(3, -1)
        weights = cells / (cells.sum(1, keepdims=True) + 1e-3)
        flat = values.reshape(channels, -1).astype(np.float32)
        pooled.append((weights @ flat.T).ravel())
    return np.concatenate(pooled)
