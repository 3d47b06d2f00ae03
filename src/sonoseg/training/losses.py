"""The losses the paper names, and their sum."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": lambda logits, truth: F.binary_cross_entropy_with_logits(logits, truth),
    "dice": lambda logits, truth: soft_dice(logits, truth),
    "bce+dice": lambda logits, truth: F.binary_cross_entropy_with_logits(logits, truth) + soft_dice(logits, truth),
}
"""Name → loss of logits and truth, both (N, 1, H, W), truth of 0 and 1."""


def soft_dice(logits: Tensor, truth: Tensor, smooth: float = 1.0) -> Tensor:
    """1 − Dice of probabilities over the whole batch, so that images without a lesion count as background.

    (N, 1, H, W) logits and truth of 0 and 1 → a scalar in 0..1 (Milletari et al. 2016, without the squares).
    """
    probability = logits.float().sigmoid()
    overlap = (probability * truth).sum()
    return 1 - (2 * overlap + smooth) / (probability.sum() + truth.sum() + smooth)
