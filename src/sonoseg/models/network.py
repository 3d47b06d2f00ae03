"""What every segmentation network here is: an encoder, a decoder, and layers that can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationNetwork(nn.Module):
    """Image → features and maps → one logit a pixel. Subclasses give `encode`, and `decode` if it is no plain ladder.

    Attributes:
        bottleneck: an identity that `decode` passes the features through, so that Grad-CAM finds them by name.
        dropout: of the features, before the decoder.
        stages: the decoder's, from the deepest up; each returns one map (N, C, h, w).
        head: the last stage's map → logits.
    """

    bottleneck: nn.Module
    dropout: nn.Dropout2d
    stages: nn.ModuleList
    head: nn.Module

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → the deepest features (N, C, h, w), and the other maps, the finest first."""
        raise NotImplementedError

    def decode(
        self, features: Tensor, maps: list[Tensor], size: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """What `encode` gave, for an image of `size` (H, W) → `parts`; here stage by stage, a map to each."""
        return self.head(self.climb(features, maps)), None

    def climb(self, features: Tensor, maps: list[Tensor]) -> Tensor:
        """The features through every stage, each with its map, the coarsest first: the last stage's (N, C, h, w)."""
        x: Tensor = self.dropout(self.bottleneck(features))
        for stage, skip in zip(self.stages, reversed(maps), strict=True):
            x = stage(x, skip)
        return x

    def parts(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits of each pixel (N, 1, H, W), and of presence: (N, 1) an image, (N, 1, h, w) a place, or None."""
        features, maps = self.encode(image)
        return self.decode(features, maps, image.shape[2:])

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1 or 3, H, W) in 0..1, H and W multiples of 32 → logits (N, 1, H, W).

        Where the network judges presence, each logit is the lesser of the pixel's and the presence's: no pixel is more
        probable than that there is a lesion, or that the part it belongs to is one.
        """
        return self.gate(*self.parts(image))

    @staticmethod
    def gate(pixels: Tensor, presence: Tensor | None) -> Tensor:
        """The lesser of the two logits, (N, 1, H, W).

        Args:
            pixels: (N, 1, H, W).
            presence: (N, 1), or a map (N, 1, h, w), which is scaled to the pixels' size; None changes nothing.
        """
        if presence is None:
            return pixels
        if presence.ndim == 2:
            return torch.minimum(pixels, presence[:, :, None, None])
        there = F.interpolate(
            presence, size=tuple(pixels.shape[2:]), mode="bilinear", align_corners=False
        )
        # The gradient is the pixels' own: an explanation tells why the outline was drawn, not why it was kept.
        return pixels + (torch.minimum(pixels, there) - pixels).detach()

    def explain_layers(self) -> dict[str, nn.Module]:
        """The layers that Grad-CAM can look at, by name, from the deepest up."""
        stages = {f"stage{number}": stage for number, stage in enumerate(self.stages, 1)}
        return {"bottleneck": self.bottleneck, **stages}


class NetworkConfig(Protocol):
    """What a network is made of: a frozen dataclass whose fields are its options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def encoders(self) -> tuple[str, ...]:
        """timm's names of the encoders that first weights can be had for; empty if there are none."""

    @property
    def attention(self) -> str:
        """In the decoder, in a word."""

    @property
    def frozen(self) -> bool:
        """The encoders stay as they start."""

    def build(self, dropout: float, pretrained: bool) -> SegmentationNetwork:
        """The network with fresh weights.

        Args:
            dropout: share of the features that training drops.
            pretrained: start the encoders from timm's ImageNet weights.
        """
