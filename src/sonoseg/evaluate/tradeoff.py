"""What other thresholds would draw: lesions are not to be bought with normal images, nor the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import count
from sonoseg.core.measure import largest_part
from sonoseg.core.metrics import FALSE_LESION_FRACTION, image_scores
from sonoseg.evaluate.predictors import mask_by_rule

THRESHOLDS = tuple(float(value) for value in np.round(np.arange(0.05, 0.96, 0.05), 2))


@dataclass(frozen=True)
class Point:
    """One threshold; each mean is None where there is no such image.

    Attributes:
        threshold: the probability from which a pixel is called lesion.
        lesion_dice: mean Dice over the images with a lesion.
        lesions_missed: share of these in which no pixel of a lesion is found.
        false_lesions: share of the images without lesion on which one is drawn (`metrics.FALSE_LESION_FRACTION`).
    """

    threshold: float
    lesion_dice: float | None
    lesions_missed: float | None
    false_lesions: float | None


class TradeOff:
    """Collects images, and gives a `Point` for each of `THRESHOLDS`.

    Args:
        min_lesion_fraction: connected parts smaller than this share of the image are dropped.
    """

    def __init__(self, min_lesion_fraction: float = 0.0) -> None:
        self._fraction = min_lesion_fraction
        self._dice: list[list[float]] = []
        self._false: list[list[bool]] = []

    def add(self, probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Adds an image: its map (H, W) in 0..1 and its true mask (H, W)."""
        masks = (mask_by_rule(probability, threshold, self._fraction) for threshold in THRESHOLDS)
        if truth.any():
            self._dice.append(
                [float(image_scores(count(mask, truth), "lesion")["dice"][0]) for mask in masks]
            )
        else:
            self._false.append(
                [largest_part(mask) >= FALSE_LESION_FRACTION * mask.size for mask in masks]
            )

    def points(self) -> list[Point]:
        """One a threshold, ascending."""
        dice, false = (np.array(rows) if rows else None for rows in (self._dice, self._false))
        return [
            Point(
                threshold,
                None if dice is None else float(dice[:, column].mean()),
                None if dice is None else float((dice[:, column] == 0).mean()),
                None if false is None else float(false[:, column].mean()),
            )
            for column, threshold in enumerate(THRESHOLDS)
        ]
