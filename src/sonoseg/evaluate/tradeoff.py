"""Lesions and false lesions at other thresholds. A lower threshold finds more lesions and more false ones."""

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
    """The scores at one threshold. A mean is None if there is no such image.

    Attributes:
        threshold: the probability from which a pixel is called lesion.
        lesion_dice: mean Dice over the images with a lesion.
        lesions_missed: share of these images on which no pixel of a lesion is found.
        false_lesions: share of the images without lesion that have a false lesion (`metrics.FALSE_LESION_FRACTION`).
    """

    threshold: float
    lesion_dice: float | None
    lesions_missed: float | None
    false_lesions: float | None


class TradeOff:
    """Collects images and returns one `Point` for each of `THRESHOLDS`.

    Args:
        min_lesion_fraction: connected parts smaller than this share of the image are dropped.
    """

    def __init__(self, min_lesion_fraction: float = 0.0) -> None:
        self._fraction = min_lesion_fraction
        self._dice: list[list[float]] = []
        self._false: list[list[bool]] = []

    def add(self, probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Adds an image: its map (H, W) in 0..1 and its reference mask (H, W)."""
        masks = [
            mask_by_rule(probability, threshold, self._fraction)
            for threshold in THRESHOLDS
        ]
        if truth.any():
            self._dice.append([_dice(mask, truth) for mask in masks])
        else:
            self._false.append([_is_false_lesion(mask) for mask in masks])

    def points(self) -> list[Point]:
        """Returns one point per threshold, ascending."""
        points = []
        for column, threshold in enumerate(THRESHOLDS):
            dice = np.array([row[column] for row in self._dice])
            false = np.array([row[column] for row in self._false])
            point = Point(
                threshold,
                lesion_dice=float(dice.mean()) if dice.size else None,
                lesions_missed=float((dice == 0).mean()) if dice.size else None,
                false_lesions=float(false.mean()) if false.size else None,
            )
            points.append(point)
        return points


def _dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    scores = image_scores(count(mask, truth), "lesion")
    return float(scores["dice"][0])


def _is_false_lesion(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask on an image without lesion is large enough to be called a false lesion."""
    return largest_part(mask) >= FALSE_LESION_FRACTION * mask.size
