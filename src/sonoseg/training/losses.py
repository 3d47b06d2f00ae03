"""The losses the paper names, and their sums."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": lambda logits, truth: F.binary_cross_entropy_with_logits(logits, truth),
    "dice": lambda logits, truth: soft_dice(logits, truth),
    "bce+dice": lambda logits, truth: F.binary_cross_entropy_with_logits(logits, truth) + soft_dice(logits, truth),
    "0.4bce+0.6dice": lambda logits, truth: (
        0.4 * F.binary_cross_entropy_with_logits(logits, truth) + 0.6 * soft_dice(logits, truth)
    ),
    "bce+image-dice": lambda logits, truth: (
        F.binary_cross_entropy_with_logits(logits, truth) + soft_dice(logits, truth, (1, 2, 3))
    ),
}
"""Name → loss of logits and truth, both (N, 1, H, W), truth of 0 and 1."""


def soft_dice(logits: Tensor, truth: Tensor, over: tuple[int, ...] = (0, 1, 2, 3), smooth: float = 1.0) -> Tensor:
    """1 − Dice of probabilities (Milletari et al. 2016, without the squares).

    Args:
        logits: (N, 1, H, W).
        truth: (N, 1, H, W) of 0 and 1.
        over: the axes one Dice is taken over. All of them: the batch is one large image, so that images without a
            lesion count as background, and small lesions for little. (1, 2, 3): the mean over the images.
        smooth: added above and below; where there is no lesion, the pixels that may be taken for one almost free.

    Returns:
        a scalar in 0..1.
    """
    probability = logits.float().sigmoid()
    overlap = (probability * truth).sum(over)
    return (1 - (2 * overlap + smooth) / (probability.sum(over) + truth.sum(over) + smooth)).mean()
