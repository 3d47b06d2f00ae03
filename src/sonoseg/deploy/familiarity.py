"""How far an image lies from those that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
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
        """The encoders' maps (N, C, H, W), from stride 2 on → (N, D): all channels' means, then their deviations."""
        # Pooled, since ONNX Runtime keeps its blocks of channels for that; for a mean or a square it copies the map.
        first = maps[:MAPS]
        mean, square = (
            torch.cat([F.avg_pool2d(values, values.shape[2:]) for values in each], 1).flatten(1)
            for each in (first, [channels * channels for channels in first])
        )
        return torch.cat([mean, (square - mean * mean).clamp(min=0).sqrt()], 1)

    def distance(self, summary: Tensor) -> Tensor:
        """(N, D) → (N,), before the limit."""
        features = len(self.basis)
        left_out = torch.eye(features).to(self.basis) - self.basis @ self.basis.T
        # One matrix for everything: the runtime folds it when it loads the graph.
        weight = left_out / (self.deviation[:, None] * features**0.5)
        distance: Tensor = torch.linalg.vector_norm((summary - self.mean) @ weight, dim=1)
        return distance

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoders' maps (N, C, H, W), from stride 2 on → (N,), from 0; 1 is the limit."""
        return self.distance(self.summary(maps)) / self.limit
