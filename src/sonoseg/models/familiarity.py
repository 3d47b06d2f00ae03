"""How far an image lies from those that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

COMPONENTS, MAPS = 32, 3
QUANTILE, MARGIN = 0.99, 1.4
"""The limit is so many times the distance that this share of held-out images stays under. Chosen on validation images
of BUSI and BUS-BRA against photos, pages of text, CT and MR, noise and blank images (docs/model-card.md)."""


class Familiarity(nn.Module):
    """Says of an image how far it is from the training images; over 1, the network should not be trusted on it.

    The mean and the deviation of every channel of the encoders' first `MAPS` maps (strides 2, 4 and 8) are scaled to
    those of the training images and projected on their first `COMPONENTS` principal components; the distance is the
    root mean square of what the projection leaves out, as a share of a limit.
    """

    mean: Tensor
    deviation: Tensor
    basis: Tensor
    limit: Tensor

    def __init__(self, features: int, components: int = COMPONENTS) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("basis", torch.zeros(features, components))
        self.register_buffer("limit", torch.ones(()))

    @classmethod
    def fit(cls, known: Tensor, held_out: Tensor) -> Familiarity:
        """Learns from `summary` of training images (M, D), M > 1, and of others of their kind (K, D), K > 0."""
        components = min(COMPONENTS, *known.shape)
        self = cls(known.shape[1], components)
        known = known.double()
        mean, deviation = known.mean(0), known.std(0).clamp(min=1e-6)
        basis = torch.linalg.svd((known - mean) / deviation, full_matrices=False).Vh[:components].T
        values = {"mean": mean, "deviation": deviation, "basis": basis, "limit": torch.ones(())}
        self.load_state_dict({name: value.float() for name, value in values.items()})
        self.limit.copy_(MARGIN * self.distance(held_out).quantile(QUANTILE).clamp(min=1e-6))
        return self

    @staticmethod
    def summary(maps: Sequence[Tensor]) -> Tensor:
        """The encoders' maps (N, C, H, W), from stride 2 on → (N, D): each channel's mean and deviation."""
        parts = []
        for channels in maps[:MAPS]:
            mean, length = channels.mean((2, 3)), torch.linalg.vector_norm(channels, dim=(2, 3))
            pixels = channels.shape[2] * channels.shape[3]
            parts += [mean, (length.square() / pixels - mean.square()).clamp(min=0).sqrt()]  # two passes, not four
        return torch.cat(parts, 1)

    def distance(self, summary: Tensor) -> Tensor:
        """(N, D) → (N,), before the limit."""
        scaled = (summary - self.mean) / self.deviation
        return (scaled - scaled @ self.basis @ self.basis.T).square().mean(1).sqrt()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoders' maps (N, C, H, W), from stride 2 on → (N,), from 0; 1 is the limit."""
        return self.distance(self.summary(maps)) / self.limit
