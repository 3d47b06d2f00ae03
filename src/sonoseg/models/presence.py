"""Heads that judge whether a drawn outline is a lesion: in the whole image, or for each part of the mask by itself.

A "part" is a connected part of the mask that the pixels' logits draw.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImagePresence(nn.Sequential):
    """One logit per image: is the outlined area a lesion?

    Args:
        deep: channels of the bottleneck and the skip connection together.
        stage: channels of the first decoder stage, which this head does not use.
        dropout: share of the features that training drops.
    """

    def __init__(self, deep: int, stage: int, dropout: float) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(deep, 1))

    def forward(  # type: ignore[override]  # a chain takes one input
        self, coarse: Tensor, bottleneck: Tensor, skip: Tensor | None, stage: Tensor
    ) -> Tensor:
        """The pixels' logits (N, 1, H/2, W/2) and the deep maps (see `PartPresence`) → logits (N, 1)."""
        means = [outlined(coarse, bottleneck)]
        if skip is not None:
            means.append(outlined(coarse, skip))
        logits: Tensor = super().forward(torch.cat(means, 1))  # type: ignore[no-untyped-call]
        return logits


def outlined(logits: Tensor, features: Tensor) -> Tensor:
    """The mean of the features over the outlined area.

    Each place counts by its probability of lesion, so that the head judges that area and nothing else. The weights are
    detached: the presence loss must not change the outline.

    Args:
        logits: (N, 1, H, W), H and W multiples of h and w.
        features: (N, C, h, w).

    Returns:
        (N, C); 0 where nothing is outlined.
    """
    cell = logits.shape[2] // features.shape[2]
    weight = F.avg_pool2d(logits.detach().sigmoid(), cell)
    total = (weight * features).sum((2, 3))
    return total / (weight.sum((2, 3)) + 1e-3)


class PartPresence(nn.Module):
    """One logit for each cell of 16 × 16 pixels: is the part of the mask that is drawn there a lesion?

    Its inputs are the bottleneck, the encoders' map at stride 16 and the first decoder stage. Its evidence is averaged
    over each drawn part (`spread`), so that every lesion is judged by itself and as a whole. No gradient goes back to
    the rest of the network: the presence loss must not change the outline.

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
        """Judges each drawn part.

        Args:
            coarse: the pixels' logits, (N, 1, H/2, W/2).
            bottleneck: (N, C, H/32, W/32).
            skip: (N, C', H/16, W/16), or None if the network has no skip connections.
            stage: (N, C'', H/16, W/16).

        Returns:
            logits (N, 1, H/16, W/16).
        """
        deep = F.interpolate(
            bottleneck, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        maps = [deep, stage] if skip is None else [deep, skip, stage]
        features = torch.cat(maps, 1).detach()
        hidden = F.relu(self.hidden(self.dropout(features)))
        evidence = self.out(hidden)
        cell = coarse.shape[2] // stage.shape[2]
        drawn = F.avg_pool2d(coarse.detach().sigmoid(), cell)
        return spread(evidence, drawn)


HIDDEN = 64
"""Channels inside `PartPresence`."""
ROUNDS = 8
"""Of `spread`. Each carries evidence 16 pixels further."""
FAINT = 1e-3
"""Weight of a cell in which nothing is drawn."""


def spread(evidence: Tensor, drawn: Tensor) -> Tensor:
    """Averages evidence within the drawn parts: the evidence of each connected part approaches its own mean.

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
"""Name → head, made of the channels of the deep maps, those of the first decoder stage, and the dropout. Runs store
these names."""
