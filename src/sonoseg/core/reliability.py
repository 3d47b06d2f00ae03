"""Calibration of pixel probabilities: is a probability of 0.7 right in 7 of 10 pixels?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.roc import PixelROC, bin_logits

GROUPS = 15


@dataclass(frozen=True)
class Reliability:
    """Pixels in `GROUPS` equal steps of probability; groups without a pixel are left out.

    Attributes:
        probability: (K,) mean of the group's probabilities.
        frequency: (K,) share of its pixels that are lesion.
        share: (K,) its share of all pixels.
    """

    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1 (Guo et al. 2017, eq. 3, of the lesion's probability)."""
        return float(np.sum(self.share * np.abs(self.probability - self.frequency)))


def reliability(pixels: PixelROC, temperature: float = 1.0) -> Reliability:
    """Groups the pixels that `pixels` has counted, their logits divided by `temperature`."""
    probability = _sigmoid(bin_logits() / temperature)
    group = np.minimum((probability * GROUPS).astype(np.int64), GROUPS - 1)
    count = pixels.lesion + pixels.background
    totals = np.bincount(group, count, GROUPS)
    filled = totals > 0
    probabilities = np.bincount(group, count * probability, GROUPS)
    lesions = np.bincount(group, pixels.lesion, GROUPS)
    return Reliability(
        probability=probabilities[filled] / totals[filled],
        frequency=lesions[filled] / totals[filled],
        share=totals[filled] / totals.sum(),
    )


def negative_log_likelihood(pixels: PixelROC, temperature: float = 1.0) -> float:
    """The mean over the pixels, in nats."""
    logits = bin_logits() / temperature
    loss = pixels.lesion @ np.logaddexp(0, -logits) + pixels.background @ np.logaddexp(0, logits)
    return float(loss / (pixels.lesion.sum() + pixels.background.sum()))


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits))
