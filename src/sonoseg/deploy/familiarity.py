"""How different an image is from those that a network was trained on.

`calibrate` fits the distance, `calibration` stores it, `export` puts it into the bundle, and the reader warns where it
is over 1 (`SegmentationResult.doubts`).

A network segments any picture, also a photo or a page of text. Its probabilities mean nothing there, but they look as
usual. The statistics of its first maps do not: they depend on texture and contrast, not on whether there is a lesion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COMPONENTS = 32
"""Principal components of the training images; differences along them are usual."""
MAPS = 3
"""The first maps of the encoders, at strides 2, 4 and 8. Deeper maps depend on the lesion, not on the kind of image."""
QUANTILE, MARGIN = 0.99, 1.4
"""The limit is MARGIN times the distance that this share of held-out images stays under. Chosen on validation images
of BUSI and BUS-BRA against photos, pages of text, CT and MR, noise and blank images (docs/model-card.md)."""
SMALLEST = 1e-6
"""Least deviation and least distance, so that nothing is divided by 0 if a channel never varies."""


class Familiarity(nn.Module):
    """The distance of an image from the training images; over 1, the network should not be trusted on it.

    The mean and the deviation of every channel of the encoders' first `MAPS` maps are scaled to those of the training
    images and projected on their first `COMPONENTS` principal components. The distance is the root mean square of what
    the projection leaves out, divided by a limit. Along the components, training images differ from each other, for
    example in brightness. Such a difference alone makes no image unfamiliar.

    Args:
        features: D, twice the number of channels of the first maps.
        components: at most `COMPONENTS`.
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
        """Fits the components to training images, and the limit to other images of their kind.

        The limit needs images that were not trained on: the components fit the training images too well.

        Args:
            known: `summary` of training images, (M, D), M > 1.
            held_out: of the others, (K, D), K > 0.
        """
        # There are at most as many components as images, and as features.
        images, features = known.shape
        components = min(COMPONENTS, images, features)
        self = cls(features, components)
        known = known.double()
        mean = known.mean(0)
        deviation = known.std(0).clamp(min=SMALLEST)
        directions = torch.linalg.svd(
            (known - mean) / deviation, full_matrices=False
        ).Vh
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.basis.copy_(directions[:components].T)
        usual = self.distance(held_out).quantile(QUANTILE).clamp(min=SMALLEST)
        self.limit.copy_(MARGIN * usual)
        return self

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Familiarity:
        """The familiarity of a stored `state_dict`.

        Raises:
            ValueError: a number is not finite, or the limit is not above 0.
            KeyError, RuntimeError: a tensor is missing or has another shape.
        """
        finite = all(tensor.isfinite().all() for tensor in tensors.values())
        if not finite or not tensors["limit"] > 0:
            raise ValueError(
                "its familiarity holds numbers that are not finite, or no limit"
            )
        features, components = tensors["basis"].shape
        self = cls(features, components)
        self.load_state_dict(dict(tensors))
        return self

    @staticmethod
    def summary(maps: Sequence[Tensor]) -> Tensor:
        """The encoders' maps (N, C, H, W), from stride 2 on → (N, D): all channels' means, then their deviations."""
        first = maps[:MAPS]
        squares = [values * values for values in first]
        mean, mean_of_squares = _means(first), _means(squares)
        variance = (mean_of_squares - mean * mean).clamp(
            min=0
        )  # rounding can make it negative
        return torch.cat([mean, variance.sqrt()], 1)

    def distance(self, summary: Tensor) -> Tensor:
        """(N, D) → (N,) from 0, before it is divided by the limit."""
        features = len(self.basis)
        left_out = torch.eye(features).to(self.basis) - self.basis @ self.basis.T
        # One constant matrix holds all factors: the runtime computes it once, when it loads the graph.
        weight = left_out / (self.deviation[:, None] * features**0.5)
        distance: Tensor = torch.linalg.vector_norm(
            (summary - self.mean) @ weight, dim=1
        )
        return distance

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoders' maps (N, C, H, W), from stride 2 on → (N,), from 0; 1 is the limit."""
        return self.distance(self.summary(maps)) / self.limit


def _means(maps: Sequence[Tensor]) -> Tensor:
    """The mean of each channel of all maps, one map after the other: (N, D / 2)."""
    # ONNX Runtime stores maps in blocks of channels. Pooling works on these; for `mean` it would copy the whole map.
    pooled = [F.avg_pool2d(values, values.shape[2:]) for values in maps]
    return torch.cat(pooled, 1).flatten(1)
