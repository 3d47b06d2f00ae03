"""Calibration: how often pixels of a given probability are lesion, the calibration error, and the likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.roc import PixelROC, bin_logits

GROUPS = 15


@dataclass(frozen=True)
class Reliability:
    """The pixels in `GROUPS` equal steps of probability. Groups without a pixel are left out.

    Attributes:
        probability: (K,) mean probability of the group's pixels, 0..1.
        frequency: (K,) share of the group's pixels that are lesion, 0..1.
        share: (K,) the group's share of all pixels, 0..1.
    """

    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1 (Guo et al. 2017, eq. 3, for the probability of lesion)."""
        return float(np.sum(self.share * np.abs(self.probability - self.frequency)))


def reliability(pixels: PixelROC, temperature: float = 1.0) -> Reliability:
    """Groups the pixels that `pixels` has counted. Their logits are divided by `temperature` first."""
    probability = _sigmoid(bin_logits() / temperature)
    group = np.minimum((probability * GROUPS).astype(np.int64), GROUPS - 1)
    count = pixels.lesion + pixels.background
    totals = np.bincount(group, count, GROUPS)
    filled = totals > 0
    probability_sums = np.bincount(group, count * probability, GROUPS)
    lesion_counts = np.bincount(group, pixels.lesion, GROUPS)
    return Reliability(
        probability=probability_sums[filled] / totals[filled],
        frequency=lesion_counts[filled] / totals[filled],
        share=totals[filled] / totals.sum(),
    )


def negative_log_likelihood(pixels: PixelROC, temperature: float = 1.0) -> float:
    """Returns the mean negative log-likelihood over the pixels, in nats."""
    logits = bin_logits() / temperature
    lesion_loss = pixels.lesion @ np.logaddexp(0, -logits)
    background_loss = pixels.background @ np.logaddexp(0, logits)
    pixel_count = pixels.lesion.sum() + pixels.background.sum()
    return float((lesion_loss + background_loss) / pixel_count)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits))
