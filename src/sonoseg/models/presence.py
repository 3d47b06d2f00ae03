"""Heads that judge whether what is drawn is a lesion: the image as a whole, or each drawn part by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImagePresence(nn.Sequential):
    """One logit an image: is it a lesion, what the pixels point at?

    Args:
        deep: channels of the bottleneck and the skip connection together.
        stage: channels of the first decoder stage, which this head does not see.
        dropout: share of the features that training drops.
    """

    def __init__(self, deep: int, stage: int, dropout: float) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(deep, 1))

    def forward(  # type: ignore[override]  # a chain takes one input
        self, coarse: Tensor, bottleneck: Tensor, skip: Tensor | None, stage: Tensor
    ) -> Tensor:
        """The pixels' logits (N, 1, H/2, W/2) and the deep maps (see `PartPresence`) → logits (N, 1)."""
        maps = [bottleneck] if skip is None else [bottleneck, skip]
        seen = torch.cat([outlined(coarse, each) for each in maps], 1)
        logits: Tensor = super().forward(seen)  # type: ignore[no-untyped-call]
        return logits


def outlined(logits: Tensor, features: Tensor) -> Tensor:
    """The mean of the features over the outline.

    Each place counts by the probability that it is lesion, so that what is judged is what the pixels point at. The
    weights are detached: the presence loss must not change the outline.

    Args:
        logits: (N, 1, H, W), H and W multiples of h and w.
        features: (N, C, h, w).

    Returns:
        (N, C); 0 where the pixels point at nothing.
    """
    weight = F.avg_pool2d(logits.detach().sigmoid(), logits.shape[2] // features.shape[2])
    return (weight * features).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3)


class PartPresence(nn.Module):
    """One logit for each cell of 16 × 16 pixels: is it a lesion, the part that is drawn there?

    It sees the bottleneck, the encoders' map at stride 16 and the first decoder stage. What it finds is averaged over
    each drawn part (`spread`), so that every lesion is judged by itself and as a whole. No gradient goes back to the
    rest of the network: the presence loss must not change the outline.

    Args:
        deep: channels of the bottleneck and the skip connection together.
        stage: channels of the first decoder stage.
        dropout: share of the channels that training drops.
    """

    def __init__(self, deep: int, stage: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.hidden = nn.Conv2d(deep + stage, HIDDEN, 1)
        self.out = nn.Conv2d(HIDDEN, 1, 1)

    def forward(
        self, coarse: Tensor, bottleneck: Tensor, skip: Tensor | None, stage: Tensor
    ) -> Tensor:
        """Judges what is drawn.

        Args:
            coarse: the pixels' logits, (N, 1, H/2, W/2).
            bottleneck: (N, C, H/32, W/32).
            skip: (N, C', H/16, W/16), or None if the network has no skip connections.
            stage: (N, C'', H/16, W/16).

        Returns:
            logits (N, 1, H/16, W/16).
        """
        deep = F.interpolate(bottleneck, scale_factor=2.0, mode="bilinear", align_corners=False)
        maps = [deep, stage] if skip is None else [deep, skip, stage]
        seen = torch.cat([each.detach() for each in maps], 1)
        evidence = self.out(F.relu(self.hidden(self.dropout(seen))))
        drawn = F.avg_pool2d(coarse.detach().sigmoid(), coarse.shape[2] // stage.shape[2])
        return spread(evidence, drawn)


HIDDEN = 64
"""Channels inside `PartPresence`."""
ROUNDS = 8
"""Of `spread`. Each carries evidence 16 pixels further."""
FAINT = 1e-3
"""Weight of a cell in which nothing is drawn."""


def spread(evidence: Tensor, drawn: Tensor) -> Tensor:
    """Averages evidence along what is drawn: each connected part tends to its own mean.

    Args:
        evidence: (N, 1, h, w).
        drawn: (N, 1, h, w), 0 to 1: the share of each cell that is drawn as lesion, its weight in the mean.

    Returns:
        (N, 1, h, w).
    """
    weight = drawn + FAINT
    around = F.avg_pool2d(weight, 3, 1, 1)
    for _ in range(ROUNDS):
        evidence = F.avg_pool2d(weight * evidence, 3, 1, 1) / around
    return evidence


PRESENCE: dict[str, Callable[[int, int, float], nn.Module] | None] = {
    "none": None,
    "image": ImagePresence,
    "parts": PartPresence,
}
"""Name → head, from the channels of the deep maps, those of the first decoder stage, and the dropout."""
