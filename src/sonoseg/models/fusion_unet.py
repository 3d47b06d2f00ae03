"""The paper's network from parts: fused encoders, separable decoder, attention; and what we add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sonoseg.models.blocks import DecoderStage
from sonoseg.models.encoders import Encoders
from sonoseg.models.narrow import narrow
from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.models.presence import PRESENCE


@dataclass(frozen=True)
class FusionUNetConfig:
    """What a `FusionUNet` is made of. The defaults are the paper's Model 7."""

    encoders: tuple[str, ...] = ("resnet18", "densenet121", "efficientnet_b0")
    """Names of `encoders.ENCODERS`, run side by side on the same image."""
    attention: str = "none"
    """After every decoder stage: none, cbam, nonlocal or transformer."""
    frozen: bool = False
    """Keep the encoders as they start."""
    skips: bool = False
    """Join the encoders' maps at strides 16, 8, 4 and 2 to the decoder. The paper's counts leave no room for it."""
    widths: tuple[int, int, int, int] = (512, 256, 128, 64)
    """Channels that leave the four decoder stages, from the deepest up."""
    convolution: str = "separable"
    """In every decoder stage: separable (the paper's), or double (two 3×3 convolutions)."""
    presence: str = "none"
    """A head that may hold down the pixel logits (a name of `presence.PRESENCE`): none, image (it judges the image as a
    whole) or parts (it judges each drawn part by itself)."""
    inner: tuple[int, ...] = ()
    """Channels inside each of the encoders' blocks (`sonoseg slim`), the first block first; empty: as designed."""

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> FusionUNet:
        return FusionUNet(self, dropout, pretrained)


class FusionUNet(SegmentationNetwork):
    """Encoders → bottleneck → four decoder stages → one logit a pixel.

    With the defaults, exactly the network that Table 1's parameter counts give away (see `catalog`).

    Args:
        config: the parts.
        dropout: share of the bottleneck's channels that training drops.
        pretrained: start the encoders from timm's ImageNet weights.
    """

    def __init__(
        self, config: FusionUNetConfig, dropout: float = 0.3, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.encoders = Encoders(config.encoders, config.frozen, pretrained)
        if config.inner:
            narrow(self.encoders, config.inner)
        *skips, bottleneck = self.encoders.channels
        self.skips = config.skips
        self.bottleneck = nn.Identity()  # a place with a name, for Grad-CAM
        self.dropout = nn.Dropout2d(dropout)
        self.stages = nn.ModuleList(
            DecoderStage(
                inputs, skip if config.skips else 0, outputs, config.attention, config.convolution
            )
            for inputs, skip, outputs in zip(
                (bottleneck, *config.widths[:3]), reversed(skips), config.widths, strict=True
            )
        )
        self.head = nn.Conv2d(config.widths[-1], 1, 1)
        head, deep = PRESENCE[config.presence], bottleneck + (skips[-1] if config.skips else 0)
        self.presence = head(deep, config.widths[0], dropout) if head else None

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → the bottleneck (N, C, H/32, W/32) and the maps at strides 2, 4, 8, 16."""
        features, maps = self.encoders(image)
        return features, maps

    def decode(self, features: Tensor, maps: list[Tensor], size: Sequence[int]) -> Output:
        features = self.bottleneck(features)
        x = self.dropout(features)
        skips = maps[::-1] if self.skips else [None] * len(self.stages)
        stages = []
        for stage, skip in zip(self.stages, skips, strict=True):
            x = stage(x, skip)
            stages.append(x)
        coarse = self.head(x)
        pixels = F.interpolate(coarse, size=tuple(size), mode="bilinear", align_corners=False)
        if self.presence is None:
            return Output(pixels)
        skip = maps[-1] if self.skips else None
        return Output(pixels, self.presence(coarse, features, skip, stages[0]))
